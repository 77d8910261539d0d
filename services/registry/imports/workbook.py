"""Reads the rows of an XLSX workbook after a check of its archive.

The cell reader (calamine) is fast because it trusts the file: it unpacks the whole archive and allocates a sheet as a
full rectangle, so that one cell in the last corner costs gigabytes. So the archive is first unpacked under limits into
an uncompressed copy, the position of every cell is checked, and only that copy is given to the reader.
"""

import io
import itertools
import os
import posixpath
import zipfile
import zlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import IO, BinaryIO, NamedTuple, TypeAlias

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from services.registry.imports.columns import ERROR_TEXT, NOT_CALCULATED
from services.registry.imports.faults import FileFault
from services.registry.imports.headings import HEADING_ROWS, NAMED, is_header, letters
from services.registry.imports.workbook_scan import COLUMNS, MEMBERS, Range, Scan, pack

UNPACKED_BYTES = 400 * 1024 * 1024
RATIO = 100
SMALL_BYTES = 1024 * 1024
"""Below this size the compression ratio is not checked, because a nearly empty sheet compresses as well as a bomb."""
BLOCK_BYTES = 256 * 1024

OWN_SHEETS = frozenset({"说明", "重复行", "Instructions", "Duplicates"})
"""Sheets of the template and of error files without people to import."""

Cell: TypeAlias = int | float | str | bool | time | date | datetime | timedelta


class Merged(NamedTuple):
    """The meaning of a cell in a merged range: the text of the first cell, and the range."""

    text: str
    range: str
    is_wide: bool
    """True if the range has several columns, so that the column of the text is not known."""


Record: TypeAlias = tuple[int, list[str], Mapping[int, Merged]]
"""A row: its number, its cells as text, and its cells that are the lower part of a merged range."""
NOT_MERGED: Mapping[int, Merged] = {}

_PARTS = (".xml", ".rels")
_WORKBOOK, _RELATIONS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
EXACT_DIGITS = 15
"""A spreadsheet keeps the first fifteen digits of a number (IEEE 754 double, as Excel rounds it)."""


@dataclass
class Notes:
    """The columns and sheets of a file that are left out on purpose."""

    heading_line: int = 0
    columns: list[str] = field(default_factory=list)
    sheets: list[int] = field(default_factory=list)
    """Other visible sheets with content, by their position in the workbook, from 1."""


def read_workbook(file: BinaryIO, *, rows: int, notes: Notes) -> Generator[Record, None, None]:
    """Yield the rows of the visible sheet with people, as text. Several such sheets are refused."""
    with _in_memory() as copy:
        scans = _copy(file, copy, rows)
        yield from _sheet_rows(copy, scans, notes)


def _in_memory() -> BinaryIO:
    """Return a file in memory. It holds unencrypted data, so it must not be on disk, but the reader needs a path."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("workbook"), "w+b")
    return io.BytesIO()


def _opened(copy: BinaryIO) -> CalamineWorkbook:
    copy.flush()
    copy.seek(0)
    if isinstance(copy, io.BytesIO):
        return CalamineWorkbook.from_filelike(copy)
    return CalamineWorkbook.from_path(f"/proc/self/fd/{copy.fileno()}")


def _sheet_rows(copy: BinaryIO, scans: Mapping[str, Scan], notes: Notes) -> Iterator[Record]:
    try:
        with _opened(copy) as book:
            index = _sheet_of_people(book, scans, notes)
            scan = _scan_of(book.sheet_names[index], scans)
            yield from _rows(book.get_sheet_by_index(index), scan)
    except PasswordError:
        raise FileFault("encrypted") from None
    except CalamineError:
        raise FileFault("not_a_table") from None


def _scan_of(name: str, scans: Mapping[str, Scan]) -> Scan:
    """Return the scan of a sheet's part."""
    id_ = dict(scans[_WORKBOOK].sheets).get(name, "")
    relations = scans.get(_RELATIONS)
    target = relations.targets.get(id_, "") if relations else ""
    path = posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")
    if path not in scans:
        raise FileFault("not_a_table")
    return scans[path]


def _sheet_of_people(book: CalamineWorkbook, scans: Mapping[str, Scan], notes: Notes) -> int:
    """Return the index of the only visible sheet with people, or of the first visible one if none has the headings."""
    visible = [
        index
        for index, sheet in enumerate(book.sheets_metadata)
        if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
    ]
    if not visible:
        raise FileFault("not_a_table")
    others = [index for index in visible if book.sheet_names[index] not in OWN_SHEETS]
    filled = [index for index in others if _scan_of(book.sheet_names[index], scans).rows]
    if len(filled) < 2:
        return (filled or others or visible)[0]
    people = [index for index in filled if _has_people(book.get_sheet_by_index(index))]
    with_rows = [index for index in people if _scan_of(book.sheet_names[index], scans).rows > 1]
    if len(with_rows) > 1:
        raise FileFault("several_sheets", sheets=[book.sheet_names[index] for index in with_rows[:NAMED]])
    chosen = (with_rows or people or filled)[0]
    notes.sheets = [index + 1 for index in filled if index != chosen]
    return chosen


def _has_people(sheet: CalamineSheet) -> bool:
    return is_header([[_text(cell) for cell in row] for row in itertools.islice(sheet.iter_rows(), HEADING_ROWS)])


def _rows(sheet: CalamineSheet, scan: Scan) -> Iterator[Record]:
    """Yield a sheet's rows from column A on. The reader starts at the first column with content."""
    before = [""] * (sheet.start[1] if sheet.start else 0)
    texts = ([_text(cell) for cell in cells] for cells in sheet.iter_rows())
    if scan.is_plain:
        for number, row in enumerate(texts, start=1):
            yield number, before + row if before else row, NOT_MERGED
        return
    repair = _Repair(scan)
    for number, row in enumerate(texts, start=1):
        full = before + row
        yield number, full, repair.row(number, full)


class _Repair:
    """Adds to the rows what the cell reader leaves out: errors, missing results and merged cells."""

    def __init__(self, scan: Scan) -> None:
        self._broken = deque(
            sorted(
                [(position, ERROR_TEXT) for position in scan.errors]
                + [(position, NOT_CALCULATED) for position in scan.not_calculated]
            )
        )
        self._coming = scan.merged()
        self._next = next(self._coming, None)
        self._open: dict[int, tuple[Range, Merged]] = {}
        """The merged range that covers a column in the current row, by the index of the column."""

    def row(self, number: int, cells: list[str]) -> Mapping[int, Merged]:
        """Put errors into a row's cells. Returns its cells that are in merged ranges."""
        while self._broken and self._broken[0][0] < pack(number + 1, 0):
            position, text = self._broken.popleft()
            column = (position & 0xFFFF) - 1
            if position >= pack(number, 0) and column < COLUMNS:
                cells += [""] * (column + 1 - len(cells))
                cells[column] = text
        while self._next is not None and self._next.top <= number:
            self._begin(self._next, cells)
            self._next = next(self._coming, None)
        for column in [column for column, (range_, _) in self._open.items() if range_.bottom < number]:
            del self._open[column]
        return {
            column: merged for column, (range_, merged) in self._open.items() if merged.is_wide or range_.top < number
        }

    def _begin(self, range_: Range, cells: Sequence[str]) -> None:
        name = f"{letters(range_.left - 1)}{range_.top}:{letters(range_.right - 1)}{range_.bottom}"
        text = cells[range_.left - 1] if range_.left <= len(cells) else ""
        merged = Merged(text, name, range_.right > range_.left)
        for column in range(range_.left - 1, range_.right):
            self._open[column] = (range_, merged)


def _copy(file: BinaryIO, to: BinaryIO, rows: int) -> dict[str, Scan]:
    """Copy an archive's XML under the limits into an uncompressed archive. Returns the scan of each part."""
    scans: dict[str, Scan] = {}
    try:
        with zipfile.ZipFile(file) as archive, zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as plain:
            _check_members(archive)
            for member in archive.infolist():
                if member.filename.endswith(_PARTS):
                    scans[member.filename] = scan = Scan(rows)
                    with archive.open(member) as source, plain.open(member.filename, "w") as target:
                        _copy_part(source, target, scan)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError):
        raise FileFault("not_a_table") from None
    return scans


def _check_members(archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    if len(members) > MEMBERS:
        raise FileFault("archive_bomb", members=len(members), limit=MEMBERS)
    if any(member.flag_bits & 0x1 for member in members):
        raise FileFault("encrypted")
    names = {member.filename for member in members}
    if "xl/workbook.bin" in names:
        raise FileFault("old_format", format="XLSB")
    if "content.xml" in names and "mimetype" in names:
        raise FileFault("old_format", format="ODS")
    if "Index/Document.iwa" in names:
        raise FileFault("old_format", format="Numbers")
    methods = {member.compress_type for member in members}
    if _WORKBOOK not in names or len(names) != len(members) or methods - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise FileFault("not_a_table")
    unpacked = sum(member.file_size for member in members)
    if unpacked > UNPACKED_BYTES:
        raise FileFault("archive_bomb", bytes=unpacked, limit=UNPACKED_BYTES)
    packed = sum(member.compress_size for member in members)
    sizes = [(member.file_size, member.compress_size) for member in members] + [(unpacked, packed)]
    if any(size > SMALL_BYTES and size > RATIO * small for size, small in sizes):
        raise FileFault("archive_bomb", limit=RATIO)


def _copy_part(source: IO[bytes], target: IO[bytes], scan: Scan) -> None:
    # zipfile returns at most the declared size, which was checked, and raises if the checksum differs.
    while block := source.read(BLOCK_BYTES):
        scan.feed(block)
        target.write(block)
    scan.feed(b"", last=True)


def _text(cell: Cell) -> str:
    """Return a cell as a person would type it. A number that lost digits has the E+ form, as in a CSV."""
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
