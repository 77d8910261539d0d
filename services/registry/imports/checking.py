"""A row of a file: the person it speaks of, or why it is not taken. Pure; knows which people the file named before."""

import re
from dataclasses import dataclass, field
from datetime import date

from services.registry.imports.columns import CellError, read_date, read_document_type, read_flag, read_sex
from services.registry.imports.homes import Homes, NoHome
from services.registry.imports.reading import RawRow
from services.registry.imports.words import RowProblem
from services.registry.residents.identity import Sex
from services.registry.residents.rules import Person, Said, examine

_BRACKETS = re.compile(r"[(（\[【]")


@dataclass
class Checker:
    """Looks at a file's rows in their order."""

    homes: Homes
    """Where somebody may live, within the scope of who sent the file."""
    today: date
    demonstration: bool
    _lines: dict[int | str, int] = field(default_factory=dict)
    """The line that named each document first: a number where it is one, since there may be 300,000."""

    def check(self, row: RawRow) -> Person | list[RowProblem]:
        """The person of a row, or all that is wrong with it."""
        values = row.values
        problems = [RowProblem(fault.code, fault.column, value=fault.cell) for fault in row.faults]
        home = self._home(values["region"], problems)
        if row.faults:
            return problems
        found = examine(self._read(values, home, problems), today=self.today, demonstration=self.demonstration)
        if isinstance(found, list):
            named = {one.column for one in problems}
            return problems + [RowProblem(*wrong) for wrong in found if wrong.field not in named]
        first = self._lines.setdefault(_key(found), row.line)
        if first != row.line:
            return [RowProblem("same_person_twice", "", first)]
        return problems or found

    def _home(self, cell: str, problems: list[RowProblem]) -> str:
        home = self.homes.find(cell)
        if not isinstance(home, NoHome):
            return home
        if any(one.column == "region" for one in problems):
            pass
        elif not cell:
            problems.append(RowProblem("region_missing", "region", value=home.example))
        elif home.codes:
            problems.append(RowProblem("region_ambiguous", "region", value=", ".join(home.codes)))
        else:
            problems.append(RowProblem("home_unknown", "region", value=home.example))
        return cell

    def _read(self, values: dict[str, str], home: str, problems: list[RowProblem]) -> Said:
        name = values["name"]
        if not name.isalpha() and _BRACKETS.search(name):
            problems.append(RowProblem("name_brackets", "name"))
        number = values["document_number"]
        return Said(
            name=name,
            document_type=read_document_type(values["document_type"]),
            document_number=number if number.isalnum() else "".join(number.split()),
            phone=values["phone"],
            region=home,
            address=values["address"],
            household=values["household"],
            birth_date=self._date(values, problems),
            sex=self._sex(values, problems),
            pregnant=self._flag("pregnant", values, problems),
            dependent=self._flag("dependent", values, problems),
        )

    @staticmethod
    def _flag(column: str, values: dict[str, str], problems: list[RowProblem]) -> bool | None:
        cell = values[column]
        try:
            return read_flag(cell) if cell else None
        except CellError as error:
            problems.append(RowProblem(error.code, column))
            return None

    @staticmethod
    def _date(values: dict[str, str], problems: list[RowProblem]) -> date | None:
        try:
            return read_date(values["birth_date"])
        except CellError as error:
            problems.append(RowProblem(error.code, "birth_date"))
            return None

    @staticmethod
    def _sex(values: dict[str, str], problems: list[RowProblem]) -> Sex | None:
        try:
            return read_sex(values["sex"])
        except CellError as error:
            problems.append(RowProblem(error.code, "sex"))
            return None


def _key(person: Person) -> int | str:
    number = person.document_number
    # Seventeen digits and a check digit that follows from them.
    return int(number[:17]) if person.document_type == 10 else person.document
