"""Rows of an XLSX workbook, after its archive was found harmless.

The reader of cells (calamine) is fast because it trusts: it unpacks what the archive holds and lays a sheet out as a
full rectangle, so that one cell in the last corner costs gigabytes. Hence the archive is unpacked here first, under
limits, into a plain copy; every cell's place is looked at; and only that copy is given to the reader.
"""

import io
import os
import re
import zipfile
import zlib
from collections.abc import Generator, Iterator
from datetime import date, datetime, time, timedelta
from typing import IO, BinaryIO, TypeAlias
from xml.parsers import expat

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

from services.registry.imports.faults import FileFault

UNPACKED_BYTES = 400 * 1024 * 1024
RATIO = 100
SMALL_BYTES = 1024 * 1024
"""Below this a high ratio harms nobody: a nearly empty sheet compresses as well as a bomb."""
MEMBERS = 1_000
COLUMNS = 32
BLOCK_BYTES = 256 * 1024

Cell: TypeAlias = int | float | str | bool | time | date | datetime | timedelta

_REFERENCE = re.compile(r"([A-Za-z]{1,4})([0-9]{1,9})")
_PARTS = (".xml", ".rels")
EXACT_DIGITS = 15
"""A spreadsheet keeps a number's first fifteen digits (IEEE 754 double, as Excel rounds it)."""


def read_workbook(file: BinaryIO, *, rows: int) -> Generator[tuple[int, list[str]], None, None]:
    """The rows of the first visible sheet as text, each with its row number, from 1."""
    with _in_memory() as copy:
        _copy(file, copy, rows)
        for number, cells in enumerate(_sheet_rows(copy), start=1):
            yield number, [_text(cell) for cell in cells]


def _in_memory() -> BinaryIO:
    """A file that lies in memory only, for what is in it is in clear, and yet has a name for the reader."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("workbook"), "w+b")
    return io.BytesIO()


def _opened(copy: BinaryIO) -> CalamineWorkbook:
    copy.flush()
    copy.seek(0)
    if isinstance(copy, io.BytesIO):
        return CalamineWorkbook.from_filelike(copy)
    return CalamineWorkbook.from_path(f"/proc/self/fd/{copy.fileno()}")


def _sheet_rows(copy: BinaryIO) -> Iterator[list[Cell]]:
    try:
        with _opened(copy) as book:
            sheets = (
                index
                for index, sheet in enumerate(book.sheets_metadata)
                if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
            )
            if (first := next(sheets, None)) is None:
                raise FileFault("not_a_table")
            yield from book.get_sheet_by_index(first).iter_rows()
    except PasswordError:
        raise FileFault("encrypted") from None
    except CalamineError:
        raise FileFault("not_a_table") from None


def _copy(file: BinaryIO, to: BinaryIO, rows: int) -> None:
    """Unpack an archive's XML under the limits into one that is not compressed."""
    try:
        with zipfile.ZipFile(file) as archive, zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as plain:
            _check_members(archive)
            for member in archive.infolist():
                if member.filename.endswith(_PARTS):
                    with archive.open(member) as source, plain.open(member.filename, "w") as target:
                        _copy_part(source, target, _Cells(rows))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError):
        raise FileFault("not_a_table") from None


def _check_members(archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    if len(members) > MEMBERS:
        raise FileFault("archive_bomb", members=len(members), limit=MEMBERS)
    if any(member.flag_bits & 0x1 for member in members):
        raise FileFault("encrypted")
    names = {member.filename for member in members}
    if "xl/workbook.bin" in names:
        raise FileFault("old_format")
    methods = {member.compress_type for member in members}
    if (
        "xl/workbook.xml" not in names
        or len(names) != len(members)
        or methods - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
    ):
        raise FileFault("not_a_table")
    unpacked = sum(member.file_size for member in members)
    if unpacked > UNPACKED_BYTES:
        raise FileFault("archive_bomb", bytes=unpacked, limit=UNPACKED_BYTES)
    packed = sum(member.compress_size for member in members)
    sizes = [(member.file_size, member.compress_size) for member in members] + [(unpacked, packed)]
    if any(size > SMALL_BYTES and size > RATIO * small for size, small in sizes):
        raise FileFault("archive_bomb", limit=RATIO)


def _copy_part(source: IO[bytes], target: IO[bytes], cells: "_Cells") -> None:
    # zipfile gives no more than the size that was declared and checked, and raises where the checksum differs.
    while block := source.read(BLOCK_BYTES):
        cells.feed(block)
        target.write(block)
    cells.feed(b"", last=True)


class _Cells:
    """Looks at every cell's place in one part of a workbook, and refuses what the reader could not hold."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._row = self._column = 0
        self._in_cell = False
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, block: bytes, *, last: bool = False) -> None:
        try:
            self._parser.Parse(block, last)
        except expat.ExpatError:
            raise FileFault("not_a_table") from None

    def _doctype(self, *_: object) -> None:
        # Entities could grow without end; no program writes them into a workbook.
        raise FileFault("archive_bomb")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name == "c":
            self._place(attributes.get("r"))
        elif name in ("v", "is", "f"):
            # A cell without content is only a format, often down to the last row, and the reader leaves it out.
            if self._in_cell:
                self._check()
        elif name == "row":
            self._row = _number(attributes["r"]) if "r" in attributes else self._row + 1
            self._column = 0

    def _end(self, name: str) -> None:
        if name == "c" or name.endswith(":c"):
            self._in_cell = False

    def _place(self, reference: str | None) -> None:
        if self._in_cell:
            raise FileFault("not_a_table")
        self._in_cell = True
        if reference is None:
            self._column += 1
        elif match := _REFERENCE.fullmatch(reference):
            self._column = _column_number(match[1])
            self._row = int(match[2])
        else:
            raise FileFault("not_a_table")

    def _check(self) -> None:
        if self._row > self._rows + 1:
            raise FileFault("too_many_rows", limit=self._rows)
        if self._column > COLUMNS:
            raise FileFault("too_many_columns", limit=COLUMNS)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise FileFault("not_a_table")
    return int(text)


def _column_number(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number


def _text(cell: Cell) -> str:
    """A cell as a person would have typed it; a number that lost digits in the style in which the CSV would show it."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "1" if cell else "0"
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time() else cell.isoformat(" ")
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, int | float):
        if abs(cell) >= 10**EXACT_DIGITS:
            return f"{cell:.5E}"
        return str(int(cell)) if float(cell).is_integer() else str(cell)
    return str(cell)
