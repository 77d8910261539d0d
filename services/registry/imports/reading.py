"""Rows of an uploaded resident file, CSV or XLSX, one at a time and in bounded memory.

A file is what its bytes say, whatever its name. What spoils the whole file raises a `FileFault`; what spoils one row is
named in that row's `faults`, so that the others can be taken and this one sent again.
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
"""A quoted cell may hold line breaks; a record of more lines is a quote that was never closed."""

_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r"))
_SUSPICIOUS = ("=", "+", "@", "'", ",-", " ,", ", ", "000,", ",#", "＝", "＋", "－", "＠")
_WEB_PAGE = (b"<html", b"<!doctype", b"<table", b"<?xml", b"<meta", b"<head")
"""How a file begins that a web system calls .xls and that is a page of HTML, or XML of 2003."""

FILLED_DOWN = frozenset({"region", "address", "household", "phone", "document_type"})
"""Columns in which a merged cell speaks for all of its rows. In others it would make one person of several."""

DUPLICATE_MARKS = ("重复行", "Duplicate row")
"""How the 错误 of a row begins that names a person whom an earlier row names: such a row is sent again with the rest
of an error file, and must not overwrite that person."""


class RawRow(NamedTuple):
    """One person as the file has it: every column's text (empty where the file has none), and what is wrong with it."""

    line: int
    """Where a person finds it in their editor: a CSV's line, a sheet's row, both from 1."""
    values: dict[str, str]
    faults: tuple[RowFault, ...] = ()
    is_ignored: bool = False
    """Marked in an error file as one that repeats a person of another row."""


def read_rows(file: BinaryIO, notes: Notes | None = None) -> Iterator[RawRow]:
    """The rows of an uploaded file in its order, blank ones left out. The file must be seekable, and is left open.

    The header is checked when the first row is asked for; `notes` then say what is left out of the file on purpose.
    Limits: 200 MiB, 300,000 rows.
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
    # Closed at once, not when the garbage is collected: the file is still open then.
    with closing(records):
        yield from _rows(records, notes)


def _is_encrypted(file: BinaryIO) -> bool:
    # A workbook with a password is an OLE container whose directory names a stream of the encrypted package.
    mark = "EncryptedPackage".encode("utf-16-le")
    tail = b""
    for block in _blocks(file):
        if mark in tail + block:
            return True
        tail = block[-len(mark) :]
    return False


def _encoding(file: BinaryIO) -> str:
    """UTF-8 or GB18030, by trying all of it; nothing else is guessed at. Also refuses what no text file holds."""
    file.seek(0)
    if file.read(2) in _UTF16:
        raise FileFault("wrong_encoding")
    _check_bytes(file)
    broken = _broken_block(file, "utf-8")
    if broken is None:
        return "utf-8-sig"
    # UTF-8 with a few broken bytes is often "valid" GB18030 as well, and would come in as nonsense.
    if not _mostly_utf8(broken) and _broken_block(file, "gb18030") is None:
        return "gb18030"
    raise FileFault("wrong_encoding")


def _check_bytes(file: BinaryIO) -> None:
    lines = 1
    for block in _blocks(file):
        if len(block.translate(None, _CONTROLS)) != len(block):
            raise FileFault("control_character", line=lines + _newlines_before_control(block))
        newlines = block.count(b"\n")
        # Two blocks' length bounds every line, as long as no whole block is without an end of line.
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
    """The first block that is not in an encoding, or None if all of the file is."""
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
    """Whether most of what is not ASCII is good UTF-8 all the same. Of GB18030 about one character in seven is."""
    text = block.decode("utf-8", errors="replace")
    wrong = text.count("\ufffd")
    return sum(not character.isascii() for character in text) - wrong > wrong


def is_workbook(file: BinaryIO) -> bool:
    """Whether it is a workbook, and no CSV."""
    file.seek(0)
    return file.read(len(_ZIP)) == _ZIP


def _records(file: BinaryIO, encoding: str) -> Generator[Record, None, None]:
    """A CSV's records, each with the line it begins on."""
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
    place, header = find_header([(line, record) for line, record, _ in first])
    notes.heading_line, notes.columns = header.line, list(header.left_out)
    yield from _persons(header, itertools.chain(first[place + 1 :], filled))


def _persons(header: Header, records: Iterator[Record]) -> Iterator[RawRow]:
    width = len(header.columns)
    keys = [column or "" for column in header.columns]
    absent = {column: "" for column in COLUMNS if column not in keys}
    dropped = {key for key in keys if key not in COLUMNS}
    marked = "error" in keys
    nameless = [place for place, column in enumerate(header.columns) if column is None]
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
    """Write into a row what its merged cells stand for; those that cannot be told apart as faults."""
    width = len(header.columns)
    record += [""] * (width - len(record))
    faults = []
    for place, cell in sorted(merged.items()):
        column = header.columns[place] if place < width else ""
        if column not in COLUMNS:
            continue
        if cell.is_wide or column not in FILLED_DOWN:
            faults.append(RowFault("merged_cells", column, cell.range))
        else:
            record[place] = cell.text
    return tuple(faults)


def _nameless(record: list[str], places: list[int], line: int) -> Iterator[RowFault]:
    for place in places:
        if place < len(record) and record[place].strip():
            yield RowFault("heading_empty", "", f"{letters(place)}{line}")


def _dated(header: Header, values: dict[str, str], line: int) -> tuple[RowFault, ...]:
    columns = dated_columns(values)
    return tuple(RowFault("made_a_date", column, header.cell(column, line)) for column in columns) if columns else ()


def _is_plain(joined: str) -> bool:
    """Whether a row surely needs neither cleaning nor a closer look. Nearly all are; this is what makes them cheap."""
    if len(joined) > CELL_CHARACTERS or not joined.isprintable():
        return False
    joined = f",{joined},"
    return not any(mark in joined for mark in _SUSPICIOUS)


def _careful_row(header: Header, line: int, record: dict[str, str], faults: tuple[RowFault, ...]) -> RawRow:
    values = {column: read_cell(column, record.get(column, "")) for column in COLUMNS}
    found = [fault._replace(cell=header.cell(fault.column, line)) for fault in cell_faults(values)]
    faults = (*faults, *found, *_dated(header, values, line))
    return RawRow(line, {column: cell[:CELL_CHARACTERS] for column, cell in values.items()}, faults)
