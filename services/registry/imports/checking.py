"""A row of a file: the person it speaks of, or why it is not taken. Pure; knows which people the file named before."""

from collections.abc import Container
from dataclasses import dataclass, field
from datetime import date

from services.registry.imports.columns import CellError, read_date, read_flag, read_sex
from services.registry.imports.reading import RawRow
from services.registry.imports.words import RowProblem
from services.registry.residents.identity import Sex
from services.registry.residents.rules import Person, Said, examine


@dataclass
class Checker:
    """Looks at a file's rows in their order."""

    regions: Container[str]
    """Where somebody may live, within the scope of who sent the file."""
    today: date
    demonstration: bool
    _lines: dict[int | str, int] = field(default_factory=dict)
    """The line that named each document first: a number where it is one, since there may be 300,000."""

    def check(self, row: RawRow) -> Person | list[RowProblem]:
        """The person of a row, or all that is wrong with it."""
        problems = [RowProblem(fault.code, fault.column) for fault in row.faults]
        person = None
        if not problems:
            said = self._read(row.values, problems)
            found = examine(said, today=self.today, demonstration=self.demonstration)
            if isinstance(found, list):
                problems += [RowProblem(*wrong) for wrong in found]
            else:
                person = found
        if row.values["region"] not in self.regions and not any(one.column == "region" for one in problems):
            problems.append(RowProblem("region_unknown", "region"))
        if person is not None:
            first = self._lines.setdefault(_key(person), row.line)
            if first != row.line:
                problems.append(RowProblem("same_person_twice", "document_number", first))
        return person if person is not None and not problems else problems

    def _read(self, values: dict[str, str], problems: list[RowProblem]) -> Said:
        return Said(
            name=values["name"],
            document_type=values["document_type"],
            document_number=values["document_number"],
            phone=values["phone"],
            region=values["region"],
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
