"""The heading of a resident file: where it is, and which column is which. Pure."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from services.registry.imports.columns import COLUMNS, ERROR_COLUMNS, IGNORED_HEADINGS, REQUIRED
from services.registry.imports.faults import FileFault
from services.registry.residents.spelling import drop_invisible

HEADING_ROWS = 10
"""Rows in which the heading may be: titles, dates and who filled in the list stand above it."""
NAMED = 20
"""Unknown columns that are named at most, and characters of a heading that are quoted."""

_NOISE = re.compile(r"[\s\u3000*＊:：]|[(（\[【〔][^)）\]】〕]*[)）\]】〕]")
_SEPARATORS = re.compile(r"[;；\t|，、]")
"""What stands between cells where it is not a comma: other countries' spreadsheets, and full-width typing."""
_NUMBER = re.compile(r"[0-9０-９]{5}")
_WIDE = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}


def _plain(heading: str) -> str:
    """A heading without breaks, stars, colons and what is in brackets: `身份证号码\\n(18位)*` is 身份证号码."""
    return _NOISE.sub("", drop_invisible(heading).removeprefix("'")).translate(_WIDE).casefold()


_NAMES = {
    _plain(heading): column
    for column, headings in (COLUMNS | {name: (heading,) for name, heading in ERROR_COLUMNS.items()}).items()
    for heading in (column, *headings)
}
_IGNORED = frozenset(map(_plain, IGNORED_HEADINGS))


class Header(NamedTuple):
    """The columns of a file in its order: `""` for one that is left out, `None` for one without a heading."""

    line: int
    columns: tuple[str | None, ...]
    left_out: tuple[str, ...]
    """The columns that are left out, as people find them: `A 序号`."""

    def cell(self, column: str, line: int) -> str:
        """Where people find a cell: `C5`; empty where the file has no such column."""
        return f"{letters(self.columns.index(column))}{line}" if column in self.columns else ""


def letters(index: int) -> str:
    """What a spreadsheet calls its nth column, from 0: A … Z, AA …"""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(65 + rest) + name
    return name


def find_header(rows: Sequence[tuple[int, Sequence[str]]]) -> tuple[int, Header]:
    """The heading among a file's first rows and its place among them, or a `FileFault` that says what is wrong with it.

    It is the row that has all headings that are required, or the most of the template; of several, the first.
    """
    known = [sum(_plain(cell) in _NAMES for cell in row) for _, row in rows]
    best = max(range(len(rows)), key=lambda place: (is_header([rows[place][1]]), known[place]))
    line, row = rows[best]
    if not known[best]:
        if any(_is_separated_otherwise(row) for _, row in rows):
            raise FileFault("separator_wrong")
        raise FileFault("heading_missing", columns=list(REQUIRED), rows=HEADING_ROWS)
    return best, _read_header(line, row)


def is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether one of a sheet's first rows has the headings that a list of people must have."""
    return any({_NAMES.get(_plain(cell)) for cell in row}.issuperset(REQUIRED) for row in rows)


def _is_separated_otherwise(row: Sequence[str]) -> bool:
    cells = [cell for cell in row if cell.strip()]
    return len(cells) == 1 and any(_plain(part) in _NAMES for part in _SEPARATORS.split(cells[0]))


def _read_header(line: int, headings: Sequence[str]) -> Header:
    cells = [_plain(heading) for heading in headings]
    while cells and not cells[-1]:
        cells.pop()
    columns = tuple(_NAMES.get(cell, "") if cell else None for cell in cells)
    strange = [place for place, cell in enumerate(cells) if cell and cell not in _NAMES and cell not in _IGNORED]
    unknown = [_named(place, headings[place]) for place in strange[:NAMED]]
    if missing := [column for column in REQUIRED if column not in columns]:
        raise FileFault("column_missing", line=line, columns=missing, unknown=unknown)
    if strange:
        raise FileFault("column_unknown", line=line, unknown=unknown)
    if twice := {column for column in columns if column and columns.count(column) > 1}:
        places = [_named(place, headings[place]) for place, column in enumerate(columns) if column in twice]
        raise FileFault("column_twice", columns=sorted(twice), twice=places)
    left_out = [f"{letters(place)} {cell}" for place, cell in enumerate(cells) if cell in _IGNORED]
    return Header(line, columns, tuple(left_out))


def _named(place: int, heading: str) -> str:
    """A column by its letter and, after a space, its heading; without it where the cell may be somebody's number."""
    heading = " ".join(drop_invisible(heading).split())[:NAMED]
    return letters(place) if _NUMBER.search(heading) else f"{letters(place)} {heading}"
