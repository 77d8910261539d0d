"""The rows that were not taken, as a CSV that can be corrected in a spreadsheet and sent again as it is."""

import csv
import io
from collections.abc import Iterable, Iterator

from services.registry.imports.columns import COLUMNS, ERROR_COLUMNS, neutralise
from services.registry.imports.reading import RawRow

BOM = "\ufeff"
"""Without it Excel takes UTF-8 for the local encoding, and shows Chinese as nonsense."""

BLOCK_CHARACTERS = 64 * 1024


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
