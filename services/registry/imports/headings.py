"""Finds the heading of a resident file and its columns. Pure."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from services.registry.imports.columns import COLUMNS, ERROR_COLUMNS, IGNORED_HEADINGS, REQUIRED
from services.registry.imports.faults import FileFault
from services.registry.residents.spelling import drop_invisible

HEADING_ROWS = 10
"""The heading must be in one of the first rows. Titles, dates and names of authors may be above it."""
NAMED = 20
"""Most unknown columns that a message names, and most characters of a heading that it quotes."""

_NOISE = re.compile(r"[\s\u3000*＊:：]|[(（\[【〔][^)）\]】〕]*[)）\]】〕]")
_SEPARATORS = re.compile(r"[;；\t|，、]")
"""Separators that are not the comma, from spreadsheets of other countries and full-width typing."""
_NUMBER = re.compile(r"[0-9０-９]{5}")
_WIDE = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}


def _plain(heading: str) -> str:
    """Return a heading without line breaks, stars, colons and brackets: `身份证号码\\n(18位)*` is 身份证号码."""
    return _NOISE.sub("", drop_invisible(heading).removeprefix("'")).translate(_WIDE).casefold()


_NAMES = {
    _plain(heading): column
    for column, headings in (COLUMNS | {name: (heading,) for name, heading in ERROR_COLUMNS.items()}).items()
    for heading in (column, *headings)
}
_IGNORED = frozenset(map(_plain, IGNORED_HEADINGS))


class Header(NamedTuple):
    """The columns of a file in order: `""` for a column left out, `None` for a column without heading."""

    line: int
    columns: tuple[str | None, ...]
    left_out: tuple[str, ...]
    """The columns left out, with their letters: `A 序号`."""

    def cell(self, column: str, line: int) -> str:
        """Return the name of a cell: `C5`, or "" if the file has no such column."""
        return f"{letters(self.columns.index(column))}{line}" if column in self.columns else ""


def letters(index: int) -> str:
    """Return the spreadsheet name of a column, counted from 0: A … Z, AA …"""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(65 + rest) + name
    return name


def find_header(rows: Sequence[tuple[int, Sequence[str]]]) -> tuple[int, Header]:
    """Return the index of the heading among a file's first rows, and the heading. Raises `FileFault` if it is wrong.

    The heading is the first row with all required headings, or else the first with the most known headings.
    """
    known = [sum(_plain(cell) in _NAMES for cell in row) for _, row in rows]
    best = max(range(len(rows)), key=lambda index: (is_header([rows[index][1]]), known[index]))
    line, row = rows[best]
    if not known[best]:
        if any(_is_separated_otherwise(row) for _, row in rows):
            raise FileFault("separator_wrong")
        raise FileFault("heading_missing", columns=list(REQUIRED), rows=HEADING_ROWS)
    return best, _read_header(line, row)


def is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether one of a sheet's first rows has all required headings of a list of people."""
    return any({_NAMES.get(_plain(cell)) for cell in row}.issuperset(REQUIRED) for row in rows)


def _is_separated_otherwise(row: Sequence[str]) -> bool:
    cells = [cell for cell in row if cell.strip()]
    return len(cells) == 1 and any(_plain(part) in _NAMES for part in _SEPARATORS.split(cells[0]))


def _read_header(line: int, headings: Sequence[str]) -> Header:
    cells = [_plain(heading) for heading in headings]
    while cells and not cells[-1]:
        cells.pop()
    columns = tuple(_NAMES.get(cell, "") if cell else None for cell in cells)
    unknown_indexes = [
        index for index, cell in enumerate(cells) if cell and cell not in _NAMES and cell not in _IGNORED
    ]
    unknown = [_named(index, headings[index]) for index in unknown_indexes[:NAMED]]
    if missing := [column for column in REQUIRED if column not in columns]:
        raise FileFault("column_missing", line=line, columns=missing, unknown=unknown)
    if unknown:
        raise FileFault("column_unknown", line=line, unknown=unknown)
    if twice := {column for column in columns if column and columns.count(column) > 1}:
        repeated = [_named(index, headings[index]) for index, column in enumerate(columns) if column in twice]
        raise FileFault("column_twice", columns=sorted(twice), twice=repeated)
    left_out = [f"{letters(index)} {cell}" for index, cell in enumerate(cells) if cell in _IGNORED]
    return Header(line, columns, tuple(left_out))


def _named(index: int, heading: str) -> str:
    """Return a column's letter and, after a space, its heading. A heading that may be a personal number is left out."""
    heading = " ".join(drop_invisible(heading).split())[:NAMED]
    return letters(index) if _NUMBER.search(heading) else f"{letters(index)} {heading}"
