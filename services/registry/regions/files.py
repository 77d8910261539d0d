"""Reads files of regions, one region a line. Faults name their line. Pure.

The shipped lists and the files of operators have the same form, CSV with a heading:

    code,name[,level][,valid_from,valid_until]

`code` has 2, 4, 6, 9, 12, 14 or 16 digits, and is a prefix of the codes below it. `level` is optional and only checked,
because it follows from the number of digits. A date is a day or a year. A year starts on 1 January and ends on
31 December.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files

from shared.core.regions import LEVELS, Level, level_of, parent_of

GBT2260 = "gbt2260.csv"
"""Provinces, cities and counties of the whole country, with the codes withdrawn since 1980."""
SAMPLE = "jinjiang.csv"
"""The townships and communities of Jinjiang, for the demonstration."""

HEADINGS = {
    "code": ("代码", "区划代码"),
    "name": ("名称", "区划名称"),
    "level": ("级别",),
    "valid_from": ("生效日期",),
    "valid_until": ("失效日期",),
}
REQUIRED = ("code", "name")
LONGEST_NAME = 100
MOST_FAULTS = 20
DIGITS = ", ".join(map(str, LEVELS))
_SCIENTIFIC = re.compile(r"[0-9.]+[eE]\+?[0-9]+|[0-9]+\.0+")
_YEAR = re.compile(r"[0-9]{4}")


class FileFault(Exception):  # noqa: N818 (a fault of the input, not of the program)
    """The faults of a file of regions: at most MOST_FAULTS sentences, each with its line."""

    def __init__(self, faults: Sequence[str], count: int | None = None) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)
        self.count = len(faults) if count is None else count


@dataclass(frozen=True, slots=True)
class Line:
    """One region of a file."""

    number: int
    code: str
    name: str
    valid_from: date | None = None
    valid_until: date | None = None

    @property
    def level(self) -> Level:
        """The level, which follows from the code."""
        level = level_of(self.code)
        assert level is not None, "the code was checked when the line was read"
        return level

    @property
    def parent(self) -> str | None:
        """The code of the region directly above."""
        return parent_of(self.code)


@dataclass(frozen=True, slots=True)
class Lines:
    """The regions of a file, parents before children."""

    regions: tuple[Line, ...]
    has_dates: bool
    """Whether the file has dates of validity."""


@cache
def shipped(name: str) -> Lines:
    """Return a list that comes with the program."""
    return read(content_of(name))


def content_of(name: str) -> bytes:
    """Return the bytes of a list that comes with the program."""
    return (files(__package__) / name).read_bytes()


def read(content: bytes) -> Lines:
    """Read the regions of a file in UTF-8 or GB18030. Raises FileFault with the lines of the faults."""
    rows = csv.reader(io.StringIO(_text(content), newline=""))
    columns = _columns(next(rows, []))
    faults: list[str] = []
    regions: dict[str, Line] = {}
    for number, row in _filled(rows):
        cells = {name: row[index].strip() if index < len(row) else "" for name, index in columns.items()}
        line = _line(number, cells, faults)
        if line is None:
            continue
        if line.code in regions:
            faults.append(f"line {number}: {line.code} is already in line {regions[line.code].number}")
            continue
        regions[line.code] = line
    if faults:
        raise FileFault(faults[:MOST_FAULTS], len(faults))
    if not regions:
        raise FileFault(["the file has no regions"])
    ordered = sorted(regions.values(), key=lambda line: (len(line.code), line.code))
    return Lines(tuple(ordered), "valid_until" in columns or "valid_from" in columns)


def _text(content: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise FileFault(["the file is neither UTF-8 nor GB18030: save it as CSV UTF-8"])


def _columns(heading: Sequence[str]) -> dict[str, int]:
    """Return the index of each column."""
    names = {other: name for name, others in HEADINGS.items() for other in (name, *others)}
    columns: dict[str, int] = {}
    for index, cell in enumerate(heading):
        name = names.get(cell.strip().lower())
        if name is None or name in columns:
            what = "appears twice" if name else "is unknown"
            raise FileFault([f"line 1: the column {cell.strip()!r} {what}: the columns are {', '.join(HEADINGS)}"])
        columns[name] = index
    if missing := [name for name in REQUIRED if name not in columns]:
        raise FileFault([f"line 1: the column {missing[0]} is missing: the columns are {', '.join(HEADINGS)}"])
    return columns


def _filled(rows: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    try:
        for number, row in enumerate(rows, 2):
            if any(cell.strip() for cell in row):
                yield number, row
    except csv.Error as error:
        raise FileFault([f"the file is not a CSV: {error}"]) from None


def _line(number: int, cells: dict[str, str], faults: list[str]) -> Line | None:
    code, name = cells["code"], cells["name"]
    before = len(faults)
    if _SCIENTIFIC.fullmatch(code):
        faults.append(f"line {number}: a spreadsheet changed the code to a number ({code}): format the column as text")
    elif level_of(code) is None:
        faults.append(f"line {number}: the code {code[:20]!r} must have {DIGITS} digits")
    elif cells.get("level", "") not in {"", level_of(code)}:
        faults.append(f"line {number}: {code} has the digits of a {level_of(code)}, not of a {cells['level'][:20]!r}")
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        faults.append(f"line {number}: the name must have 1 to {LONGEST_NAME} characters in one line")
    try:
        first, last = _date(cells.get("valid_from", ""), 1, 1), _date(cells.get("valid_until", ""), 12, 31)
        if first and last and first > last:
            faults.append(f"line {number}: {code} ends before it starts")
    except ValueError:
        faults.append(f"line {number}: a date must be a year or a day, such as 2021 or 2021-01-20")
        return None
    return Line(number, code, name, first, last) if len(faults) == before else None


def _date(cell: str, month: int, day: int) -> date | None:
    if not cell:
        return None
    return date(int(cell), month, day) if _YEAR.fullmatch(cell) else date.fromisoformat(cell)
