"""Rows of an uploaded resident file, CSV or XLSX, one at a time and in bounded memory.

A file is what its bytes say, whatever its name. What spoils the whole file raises a `FileFault`; what spoils one row is
named in that row's `faults`, so that the others can be taken and this one sent again.
"""

import codecs
import csv
import io
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import BinaryIO, NamedTuple

from services.registry.imports.columns import CELL_CHARACTERS, COLUMNS, Header, cell_faults, read_cell, read_header
from services.registry.imports.faults import FileFault, RowFault
from services.registry.imports.workbook import read_workbook

FILE_BYTES = 200 * 1024 * 1024
ROWS = 300_000
BLOCK_BYTES = 64 * 1024
RECORD_LINES = 100
"""A quoted cell may hold line breaks; a record of more lines is a quote that was never closed."""

_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r"))
_SUSPICIOUS = ("=", "+", "@", "'", ",-", " ,", ", ", "000,", "＝", "＋", "－", "＠")


class RawRow(NamedTuple):
    """One person as the file has it: every column's text (empty where the file has none), and what is wrong with it."""

    line: int
    """Where a person finds it in their editor: a CSV's line, a sheet's row, both from 1."""
    values: dict[str, str]
    faults: tuple[RowFault, ...] = ()


def read_rows(file: BinaryIO) -> Iterator[RawRow]:
    """The rows of an uploaded file in its order, blank ones left out. The file must be seekable, and is left open.

    The header is checked when the first row is asked for. Limits: 200 MiB, 300,000 rows.
    """
    size = file.seek(0, io.SEEK_END)
    if size > FILE_BYTES:
        raise FileFault("too_large", bytes=size, limit=FILE_BYTES)
    if size == 0:
        raise FileFault("empty")
    file.seek(0)
    magic = file.read(8)
    if magic == _OLE:
        raise FileFault("encrypted" if _is_encrypted(file) else "old_format")
    records = read_workbook(file, rows=ROWS) if magic.startswith(_ZIP) else _records(file, _encoding(file))
    # Closed at once, not when the garbage is collected: the file is still open then.
    with closing(records):
        yield from _rows(records)


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


def _records(file: BinaryIO, encoding: str) -> Generator[tuple[int, list[str]], None, None]:
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
            yield begins, record
            begins = reader.line_num + 1
            pending = 0
    except csv.Error:
        raise FileFault("quote_wrong", line=begins) from None
    finally:
        if not file.closed:
            text.detach()


def _rows(records: Iterator[tuple[int, list[str]]]) -> Iterator[RawRow]:
    for _, record in records:
        if any(map(str.strip, record)):
            yield from _persons(read_header(record), records)
            return
    raise FileFault("empty")


def _persons(header: Header, records: Iterator[tuple[int, list[str]]]) -> Iterator[RawRow]:
    width = len(header)
    absent = {column: "" for column in COLUMNS if column not in header}
    ignored = [column for column in header if column not in COLUMNS]
    count = 0
    for line, record in records:
        while len(record) > width and not record[-1].strip():
            record.pop()
        if not any(map(str.strip, record)):
            continue
        count += 1
        if count > ROWS:
            raise FileFault("too_many_rows", limit=ROWS)
        values = dict(zip(header, record, strict=False))
        for column in ignored:
            values.pop(column, None)
        if absent:
            values |= absent
        if len(record) == width and _is_plain(",".join(record)):
            yield RawRow(line, values)
        else:
            faults = () if len(record) == width else (RowFault("row_length", ""),)
            yield _careful_row(line, values, faults)


def _is_plain(joined: str) -> bool:
    """Whether a row surely needs neither cleaning nor a closer look. Nearly all are; this is what makes them cheap."""
    if len(joined) > CELL_CHARACTERS or not joined.isprintable():
        return False
    joined = f",{joined},"
    return not any(mark in joined for mark in _SUSPICIOUS)


def _careful_row(line: int, record: dict[str, str], faults: tuple[RowFault, ...]) -> RawRow:
    values = {column: read_cell(column, record.get(column, "")) for column in COLUMNS}
    faults += tuple(cell_faults(values))
    return RawRow(line, {column: cell[:CELL_CHARACTERS] for column, cell in values.items()}, faults)
