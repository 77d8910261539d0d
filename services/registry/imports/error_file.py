"""Files for people's spreadsheets: the rows that were not taken, to correct and send again; and the template."""

import csv
import io
from collections.abc import Iterable, Iterator

from services.registry.imports.columns import COLUMNS, ERROR_COLUMNS, neutralise
from services.registry.imports.reading import RawRow
from shared.problems import Language

BOM = "\ufeff"
"""Without it Excel takes UTF-8 for the local encoding, and shows Chinese as nonsense."""

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
"""Somebody who can be nobody: province digits 00. In production the row is refused if it is left in."""


def write_template(language: Language) -> bytes:
    """An empty file of people, with all headings in the reader's language and one row to show how it is filled in."""
    text = io.StringIO()
    text.write(BOM)
    writer = csv.writer(text)
    writer.writerow([headings[0] if language == "zh-CN" else column for column, headings in COLUMNS.items()])
    writer.writerow([EXAMPLE[column] for column in COLUMNS])
    return text.getvalue().encode()


def write_errors(rows: Iterable[tuple[RawRow, str]]) -> Iterator[bytes]:
    """The rows with what is wrong with each, in words: all columns, the line in the file sent, the error.

    UTF-8 with BOM. A cell that a spreadsheet would run as a formula gets an apostrophe before it, which reading takes
    away again.
    """
    text = io.StringIO()
    text.write(BOM)
    writer = csv.writer(text)
    writer.writerow([headings[0] for headings in COLUMNS.values()] + list(ERROR_COLUMNS.values()))
    for row, error in rows:
        cells = [row.values.get(column, "") for column in COLUMNS]
        writer.writerow([*map(neutralise, cells), row.line, neutralise(error)])
        if text.tell() >= BLOCK_CHARACTERS:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()
