"""Scans one part of a workbook's archive before its cells are read.

The cell reader returns an empty text for an error, for a formula without a result and for the lower cells of a merged
range. So the scan records their positions. It checks every cell anyway, to refuse a sheet that does not fit in memory.
"""

import re
from array import array
from collections.abc import Iterator
from typing import NamedTuple
from xml.parsers import expat

from services.registry.imports.faults import FileFault

COLUMNS = 32
MEMBERS = 1_000
"""Most parts of an archive, and most sheets."""

_REFERENCE = re.compile(r"([A-Za-z]{1,4})([0-9]{1,9})")
_TEXTS = ("str", "inlineStr")
"""Types of formula cells whose result can be an empty text."""


class Range(NamedTuple):
    """A merged range. Rows and columns count from 1, and the last is included."""

    top: int
    left: int
    bottom: int
    right: int


class Scan:
    """Checks the position of every cell in one part of a workbook."""

    def __init__(self, rows: int) -> None:
        self.errors = array("Q")
        """Packed positions of cells with an error instead of a value, in the order of the part."""
        self.not_calculated = array("Q")
        """Packed positions of cells whose formula has no result."""
        self.sheets: list[tuple[str, str]] = []
        """In `xl/workbook.xml`: each sheet's name and the id of its part."""
        self.targets: dict[str, str] = {}
        """In a relationships part: the path of a part by its id."""
        self.rows = 0
        """Number of rows with content."""
        self._merged = array("Q")
        self._most_rows = rows
        self._row = self._column = self._counted = 0
        self._in_cell = self._formula = self._value = False
        self._type: str | None = None
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, block: bytes, *, last: bool = False) -> None:
        """Parse the next block. Raises `FileFault`."""
        try:
            self._parser.Parse(block, last)
        except expat.ExpatError:
            raise FileFault("not_a_table") from None

    @property
    def is_plain(self) -> bool:
        """Whether the cell reader returns everything that a person sees."""
        return not (self.errors or self.not_calculated or self._merged)

    def merged(self) -> Iterator[Range]:
        """Yield the merged ranges from top to bottom."""
        for packed in sorted(self._merged):
            yield Range(packed >> 40, packed >> 32 & 0xFF, packed >> 8 & 0xFFFFFF, packed & 0xFF)

    def _doctype(self, *_: object) -> None:
        # Entities can expand without limit, and no spreadsheet program writes them.
        raise FileFault("archive_bomb")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name == "c":
            self._cell(attributes.get("r"))
            self._type = attributes.get("t")
            if self._type == "e":
                self._note(self.errors)
        elif name in ("v", "is", "f"):
            # Cells without content only have a format, often down to the last row. The cell reader skips them.
            if self._in_cell:
                self._check()
                self._content(name)
        elif name == "row":
            self._row = _number(attributes["r"]) if "r" in attributes else self._row + 1
            self._column = 0
        elif name in ("mergeCell", "sheet", "Relationship"):
            self._other(name, attributes)

    def _content(self, name: str) -> None:
        if name == "f":
            self._formula, self._value = True, False
        elif self._formula and self._type in _TEXTS:
            self._value = True
        elif self._formula:
            self._parser.CharacterDataHandler = self._characters

    def _other(self, name: str, attributes: dict[str, str]) -> None:
        if name == "mergeCell":
            self._merge(attributes.get("ref", ""))
            return
        if name == "sheet":
            part = next((value for key, value in attributes.items() if key.endswith(":id")), "")
            self.sheets.append((attributes.get("name", ""), part))
        else:
            self.targets[attributes.get("Id", "")] = attributes.get("Target", "")
        if len(self.sheets) + len(self.targets) > MEMBERS:
            raise FileFault("archive_bomb", limit=MEMBERS)

    def _end(self, name: str) -> None:
        if name == "c" or name.endswith(":c"):
            self._in_cell = False
            if self._formula:
                self._parser.CharacterDataHandler = None
                if not self._value and self._type != "e":
                    self._note(self.not_calculated)
                self._formula = False

    def _note(self, broken: "array[int]") -> None:
        if len(broken) >= self._most_rows:
            raise FileFault("too_many_errors", limit=self._most_rows)
        broken.append(pack(self._row, self._column))

    def _characters(self, text: str) -> None:
        self._value = self._value or bool(text.strip())

    def _cell(self, reference: str | None) -> None:
        if self._in_cell:
            raise FileFault("not_a_table")
        self._in_cell = True
        if reference is None:
            self._column += 1
        else:
            self._row, self._column = _cell_of(reference)

    def _check(self) -> None:
        if self._row != self._counted:
            self._counted = self._row
            self.rows += 1
            if self._row > self._most_rows + SPARE_ROWS:
                raise FileFault("too_many_rows", limit=self._most_rows)
        if self._column > COLUMNS:
            raise FileFault("too_many_columns", limit=COLUMNS)

    def _merge(self, reference: str) -> None:
        if len(self._merged) >= self._most_rows:
            raise FileFault("too_many_rows", limit=self._most_rows)
        first, _, last = reference.partition(":")
        (top, left), (bottom, right) = _cell_of(first), _cell_of(last or first)
        if 0 < top <= bottom and 0 < left <= right and left <= COLUMNS:
            self._merged.append(top << 40 | left << 32 | min(bottom, 0xFFFFFF) << 8 | min(right, COLUMNS))


SPARE_ROWS = 11
"""Rows allowed besides the people: the heading, and a title above it."""


def pack(row: int, column: int) -> int:
    """Pack a cell's position into one number that sorts by row."""
    return row << 16 | min(column, 0xFFFF)


def _cell_of(reference: str) -> tuple[int, int]:
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise FileFault("not_a_table")
    return int(match[2]), _column_number(match[1])


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise FileFault("not_a_table")
    return int(text)


def _column_number(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number
