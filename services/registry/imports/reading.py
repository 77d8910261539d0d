"""Reads the rows of an uploaded resident file, CSV or XLSX, one at a time and in bounded memory.

The bytes decide the format, not the name. A fault of the whole file raises `FileFault`. A fault of one row is in that
row's `faults`, so that the other rows are imported and this one can be corrected and sent again.
"""

import codecs
import csv
import io
import itertools
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from typing import BinaryIO, NamedTuple

from services.registry.imports.columns import CELL_CHARACTERS, COLUMNS, cell_faults, dated_columns, read_cell
from services.registry.imports.faults import FileFault, RowFault
from services.registry.imports.headings import HEADING_ROWS, Header, find_header, is_header, letters
from services.registry.imports.workbook import NOT_MERGED, Merged, Notes, Record, read_workbook
from services.registry.residents.spelling import PLACEHOLDERS

FILE_BYTES = 200 * 1024 * 1024
ROWS = 300_000
BLOCK_BYTES = 64 * 1024
RECORD_LINES = 100
"""Most lines of one record. A quoted cell may have line breaks, but a longer record means an unclosed quote."""

_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r"))
_SUSPICIOUS = ("=", "+", "@", "'", ",-", " ,", ", ", "000,", ",#", "＝", "＋", "－", "＠")
_WEB_PAGE = (b"<html", b"<!doctype", b"<table", b"<?xml", b"<meta", b"<head")
"""The start of files that web systems name .xls but that are HTML, or XML of Excel 2003."""

FILLED_DOWN = frozenset({"region", "address", "household", "phone", "document_type"})
"""Columns in which a merged cell applies to all its rows. In other columns it would mix up people."""

DUPLICATE_MARKS = ("重复行", "Duplicate row")
"""The start of the column 错误 in a row that repeats the person of an earlier row. Such a row comes back with a
corrected error file, and must not overwrite that person."""


class RawRow(NamedTuple):
    """One row of the file: the text of every column (empty if the file has no such column), and its faults."""

    line: int
    """The line of a CSV or the row of a sheet, counted from 1, as an editor shows it."""
    values: dict[str, str]
    faults: tuple[RowFault, ...] = ()
    is_ignored: bool = False
    """True if an error file marked the row as a repetition of another row's person."""


def read_rows(file: BinaryIO, notes: Notes | None = None) -> Iterator[RawRow]:
    """Yield the rows of an uploaded file in order, without blank rows. The file must be seekable and stays open.

    The header is checked before the first row. `notes` then has what is left out of the file on purpose.
    Limits: 200 MiB, 300,000 rows. Raises `FileFault`.
    """
    notes = notes if notes is not None else Notes()
    size = file.seek(0, io.SEEK_END)
    if size > FILE_BYTES:
        raise FileFault("too_large", bytes=size, limit=FILE_BYTES)
    if size == 0:
        raise FileFault("empty")
    file.seek(0)
    head = file.read(512)
    magic = head[:8]
    if magic == _OLE:
        raise FileFault("encrypted") if _is_encrypted(file) else FileFault("old_format", format="XLS / ET")
    if head.removeprefix(codecs.BOM_UTF8).lstrip().lower().startswith(_WEB_PAGE):
        raise FileFault("old_format", format="HTML / XML")
    records = read_workbook(file, rows=ROWS, notes=notes) if magic.startswith(_ZIP) else _records(file, _encoding(file))
    # Close the generator now. The garbage collector would close it later, when the file may be closed already.
    with closing(records):
        yield from _rows(records, notes)


def _is_encrypted(file: BinaryIO) -> bool:
    # A workbook with a password is an OLE container with a stream named EncryptedPackage.
    mark = "EncryptedPackage".encode("utf-16-le")
    tail = b""
    for block in _blocks(file):
        if mark in tail + block:
            return True
        tail = block[-len(mark) :]
    return False


def _encoding(file: BinaryIO) -> str:
    """Return UTF-8 or GB18030 by decoding the whole file. Raises `FileFault` for other encodings and binary data."""
    file.seek(0)
    if file.read(2) in _UTF16:
        raise FileFault("wrong_encoding")
    _check_bytes(file)
    broken = _broken_block(file, "utf-8")
    if broken is None:
        return "utf-8-sig"
    # UTF-8 with a few broken bytes is often also valid GB18030, and would be imported as garbled text.
    if not _mostly_utf8(broken) and _broken_block(file, "gb18030") is None:
        return "gb18030"
    raise FileFault("wrong_encoding")


def _check_bytes(file: BinaryIO) -> None:
    lines = 1
    for block in _blocks(file):
        if len(block.translate(None, _CONTROLS)) != len(block):
            raise FileFault("control_character", line=lines + _newlines_before_control(block))
        newlines = block.count(b"\n")
        # If every full block has a line end, no line is longer than two blocks.
        if not newlines and len(block) == BLOCK_BYTES and b"\r" not in block:
            raise FileFault("line_too_long", line=lines, limit=BLOCK_BYTES)
        lines += newlines


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(BLOCK_BYTES):
        yield block


def _newlines_before_control(block: bytes) -> int:
    controls = frozenset(_CONTROLS)
    at = next(index for index, byte in enumerate(block) if byte in controls)
    return block.count(b"\n", 0, at)


def _broken_block(file: BinaryIO, encoding: str) -> bytes | None:
    """Return the first block that cannot be decoded, or None if the whole file can."""
    decoder = codecs.getincrementaldecoder(encoding)()
    block = b""
    try:
        for block in _blocks(file):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return block
    return None


def _mostly_utf8(block: bytes) -> bool:
    """Return whether most non-ASCII characters are valid UTF-8. In GB18030 about one in seven is by chance."""
    text = block.decode("utf-8", errors="replace")
    wrong = text.count("\ufffd")
    return sum(not character.isascii() for character in text) - wrong > wrong


def is_workbook(file: BinaryIO) -> bool:
    """Return whether the file is a workbook."""
    file.seek(0)
    return file.read(len(_ZIP)) == _ZIP


def _records(file: BinaryIO, encoding: str) -> Generator[Record, None, None]:
    """Yield the records of a CSV, each with its first line."""
    file.seek(0)
    text = io.TextIOWrapper(file, encoding=encoding, newline="")
    pending = 0

    def lines() -> Iterator[str]:
        nonlocal pending
        for line in text:
            pending += 1
            if pending > RECORD_LINES:
                raise FileFault("quote_wrong", line=begins)
            yield line

    begins = 1
    try:
        for record in (reader := csv.reader(lines(), strict=True)):
            yield begins, record, NOT_MERGED
            begins = reader.line_num + 1
            pending = 0
    except csv.Error:
        raise FileFault("quote_wrong", line=begins) from None
    finally:
        if not file.closed:
            text.detach()


def _rows(records: Iterator[Record], notes: Notes) -> Iterator[RawRow]:
    filled = (record for record in records if any(map(str.strip, record[1])))
    first: list[Record] = []
    while len(first) < HEADING_ROWS and not (first and is_header([first[-1][1]])):
        if (record := next(filled, None)) is None:
            break
        first.append(record)
    if not first:
        raise FileFault("empty")
    index, header = find_header([(line, record) for line, record, _ in first])
    notes.heading_line, notes.columns = header.line, list(header.left_out)
    yield from _persons(header, itertools.chain(first[index + 1 :], filled))


def _persons(header: Header, records: Iterator[Record]) -> Iterator[RawRow]:
    width = len(header.columns)
    keys = [column or "" for column in header.columns]
    absent = {column: "" for column in COLUMNS if column not in keys}
    dropped = {key for key in keys if key not in COLUMNS}
    marked = "error" in keys
    nameless = [index for index, column in enumerate(header.columns) if column is None]
    for count, (line, record, merged) in enumerate(records, start=1):
        while len(record) > width and not record[-1].strip():
            record.pop()
        if count > ROWS:
            raise FileFault("too_many_rows", limit=ROWS)
        faults = _fill_down(header, record, merged, line) if merged else ()
        values = dict(zip(keys, record, strict=False))
        is_ignored = marked and values.get("error", "").lstrip().startswith(DUPLICATE_MARKS)
        for key in dropped:
            values.pop(key, None)
        if absent:
            values |= absent
        if nameless:
            faults += tuple(_nameless(record, nameless, line))
        plain = len(record) == width and not faults and PLACEHOLDERS.isdisjoint(record)
        if plain and _is_plain(",".join(record)):
            yield RawRow(line, values, _dated(header, values, line), is_ignored)
        else:
            if len(record) != width:
                faults += (RowFault("row_length", ""),)
            yield _careful_row(header, line, values, faults)._replace(is_ignored=is_ignored)


def _fill_down(header: Header, record: list[str], merged: Mapping[int, Merged], line: int) -> tuple[RowFault, ...]:
    """Fill a row's merged cells with the text of their range. Returns the ambiguous ones as faults."""
    width = len(header.columns)
    record += [""] * (width - len(record))
    faults = []
    for index, cell in sorted(merged.items()):
        column = header.columns[index] if index < width else ""
        if column not in COLUMNS:
            continue
        if cell.is_wide or column not in FILLED_DOWN:
            faults.append(RowFault("merged_cells", column, cell.range))
        else:
            record[index] = cell.text
    return tuple(faults)


def _nameless(record: list[str], indexes: list[int], line: int) -> Iterator[RowFault]:
    for index in indexes:
        if index < len(record) and record[index].strip():
            yield RowFault("heading_empty", "", f"{letters(index)}{line}")


def _dated(header: Header, values: dict[str, str], line: int) -> tuple[RowFault, ...]:
    columns = dated_columns(values)
    return tuple(RowFault("made_a_date", column, header.cell(column, line)) for column in columns) if columns else ()


def _is_plain(joined: str) -> bool:
    """Return whether a row certainly needs no cleaning and no further checks. Nearly all rows are plain."""
    if len(joined) > CELL_CHARACTERS or not joined.isprintable():
        return False
    joined = f",{joined},"
    return not any(mark in joined for mark in _SUSPICIOUS)


def _careful_row(header: Header, line: int, record: dict[str, str], faults: tuple[RowFault, ...]) -> RawRow:
    values = {column: read_cell(column, record.get(column, "")) for column in COLUMNS}
    of_cells = [fault._replace(cell=header.cell(fault.column, line)) for fault in cell_faults(values)]
    faults = (*faults, *of_cells, *_dated(header, values, line))
    return RawRow(line, {column: cell[:CELL_CHARACTERS] for column, cell in values.items()}, faults)
