"""Checks the rows of a file: each becomes a person or a list of problems. Pure, but remembers the earlier rows."""

import re
from dataclasses import dataclass, field
from datetime import date

from services.registry.imports.columns import CellError, read_date, read_document_type, read_flag, read_sex
from services.registry.imports.homes import Homes, NoHome
from services.registry.imports.messages import RowProblem
from services.registry.imports.reading import RawRow
from services.registry.residents.identity import Sex
from services.registry.residents.rules import Person, PersonInput, examine

_BRACKETS = re.compile(r"[(（\[【]")


@dataclass
class Checker:
    """Checks the rows of one file in their order."""

    homes: Homes
    """The regions where people can live, within the scope of the sender."""
    today: date
    demonstration: bool
    _lines: dict[int | str, int] = field(default_factory=dict)
    """The first line of each document. Numeric documents are ints, because there can be 300,000 of them."""

    def check(self, row: RawRow) -> Person | list[RowProblem]:
        """Return the person of a row, or all its problems."""
        values = row.values
        problems = [RowProblem(fault.code, fault.column, value=fault.cell) for fault in row.faults]
        home = self._home(values["region"], problems)
        if row.faults:
            return problems
        person = examine(self._read(values, home, problems), today=self.today, demonstration=self.demonstration)
        if isinstance(person, list):
            reported = {one.column for one in problems}
            return problems + [RowProblem(*wrong) for wrong in person if wrong.field not in reported]
        first = self._lines.setdefault(_key(person), row.line)
        if first != row.line:
            return [RowProblem("same_person_twice", "", first)]
        return problems or person

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

    def _read(self, values: dict[str, str], home: str, problems: list[RowProblem]) -> PersonInput:
        name = values["name"]
        if not name.isalpha() and _BRACKETS.search(name):
            problems.append(RowProblem("name_brackets", "name"))
        number = values["document_number"]
        return PersonInput(
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
    # The check digit follows from the first seventeen digits.
    return int(number[:17]) if person.document_type == 10 else person.document
