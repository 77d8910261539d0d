"""Writes the files for people's spreadsheets: the failed rows to correct and send again, and the template."""

import csv
import io
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence

from services.registry.imports.columns import COLUMNS, ERROR_COLUMNS, REQUIRED, neutralise
from services.registry.imports.guide import GUIDE, HINTS, guide_rows
from services.registry.imports.messages import RowProblem, describe, is_duplicate
from services.registry.imports.reading import RawRow
from services.registry.imports.workbook_writer import BookWriter, Column
from shared.problems import Language

BOM = "\ufeff"
"""Without it Excel reads UTF-8 in the local encoding, and Chinese text is garbled."""

BLOCK_CHARACTERS = 64 * 1024

EXAMPLE = {
    "name": "张三丰",
    "document_type": "10",
    "document_number": "003582199003070019",
    "phone": "15412345678",
    "region": "350582005001",
    "address": "沙塘社区1区5号",
    "household": "H1",
    "pregnant": "否",
    "dependent": "否",
    "birth_date": "1990-03-07",
    "sex": "男",
}
"""A person who cannot exist: province digits 00. Production refuses this row if it is left in the file."""

CHOICES = {"pregnant": ("是", "否"), "dependent": ("是", "否"), "sex": ("男", "女")}
PEOPLE = {"zh-CN": "人员", "en": "People"}
DUPLICATES = {"zh-CN": "重复行", "en": "Duplicates"}

Refusal = tuple[RawRow, list[RowProblem]]
"""A failed row and its problems."""


def write_template(language: Language) -> bytes:
    """Return the template as CSV: all headings in the reader's language, and one example row."""
    text = io.StringIO()
    text.write(BOM)
    writer = csv.writer(text)
    writer.writerow([_heading(column, language) for column in COLUMNS])
    writer.writerow([EXAMPLE[column] for column in COLUMNS])
    return text.getvalue().encode()


def write_template_book(language: Language) -> bytes:
    """Return the template as a workbook, with a sheet that explains each column."""
    book = BookWriter([PEOPLE[language], GUIDE[language]])
    book.begin_sheet(_columns(language))
    book.write_rows([[EXAMPLE[column] for column in COLUMNS]])
    book.end_sheet()
    _write_guide(book, language)
    return book.close()


def write_errors(rows: Iterable[Refusal], language: Language) -> Iterator[bytes]:
    """Write the failed rows as CSV: all columns, the line in the file sent, and the error in words.

    UTF-8 with BOM. A cell that a spreadsheet would run as a formula gets an apostrophe, which is removed on reading.
    """
    text = io.StringIO()
    text.write(BOM)
    writer = csv.writer(text)
    writer.writerow([headings[0] for headings in COLUMNS.values()] + list(ERROR_COLUMNS.values()))
    for row in rows:
        writer.writerow(_error_cells(row, language))
        if text.tell() >= BLOCK_CHARACTERS:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


async def write_error_book(
    pages: Callable[[], AsyncIterable[Sequence[Refusal]]], language: Language
) -> AsyncIterator[bytes]:
    """Write the failed rows as a workbook: rows to correct, instructions, and a last sheet with duplicate rows.

    The last sheet is ignored when the file is sent again. The pages are read twice, so that no sheet is held in memory.
    """
    book = BookWriter([PEOPLE[language], GUIDE[language], DUPLICATES[language]])
    columns = [*_columns("zh-CN"), *(Column(heading, width=40) for heading in ERROR_COLUMNS.values())]
    for are_duplicates in (False, True):
        book.begin_sheet(columns)
        async for page in pages():
            rows = [row for row in page if is_duplicate(row[1]) == are_duplicates]
            book.write_rows(_error_cells(row, language) for row in rows)
            if piece := book.take():
                yield piece
        book.end_sheet()
        if not are_duplicates:
            _write_guide(book, language)
    yield book.close()


def _error_cells(refusal: Refusal, language: Language) -> list[str]:
    row, problems = refusal
    cells = (row.values.get(column, "") for column in COLUMNS)
    return [*map(neutralise, cells), str(row.line), neutralise(describe(problems, language))]


def _heading(column: str, language: Language) -> str:
    return COLUMNS[column][0] if language == "zh-CN" else column


def _columns(language: Language) -> list[Column]:
    return [
        Column(
            _heading(column, language),
            hint=HINTS[column].render(language),
            choices=CHOICES.get(column, ()),
            width=24 if column in ("document_number", "address") else 16,
        )
        for column in COLUMNS
    ]


def _write_guide(book: BookWriter, language: Language) -> None:
    titles = ("列", "填写说明", "必填") if language == "zh-CN" else ("column", "how to fill it in", "required")
    book.begin_sheet([Column(titles[0]), Column(titles[1], width=90), Column(titles[2], width=10)])
    book.write_rows(guide_rows(language, [(_heading(column, language), column in REQUIRED) for column in COLUMNS]))
    book.end_sheet()
