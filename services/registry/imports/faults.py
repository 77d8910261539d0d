"""The faults of an uploaded file and of its rows. `words.py` has their texts."""

from typing import Literal, NamedTuple, TypeAlias, get_args

FileCode: TypeAlias = Literal[
    "archive_bomb",
    "column_missing",
    "column_twice",
    "column_unknown",
    "control_character",
    "empty",
    "encrypted",
    "heading_missing",
    "line_too_long",
    "not_a_table",
    "old_format",
    "quote_wrong",
    "separator_wrong",
    "several_sheets",
    "too_large",
    "too_many_columns",
    "too_many_errors",
    "too_many_rows",
    "wrong_encoding",
]

FILE_CODES: tuple[FileCode, ...] = get_args(FileCode)

RowCode: TypeAlias = Literal[
    "cell_too_long",
    "column_narrow",
    "control_character",
    "error_cell",
    "formula",
    "formula_not_calculated",
    "heading_empty",
    "made_a_date",
    "merged_cells",
    "number_lost_digits",
    "row_length",
]

ROW_CODES: tuple[RowCode, ...] = get_args(RowCode)

Value: TypeAlias = int | str | list[str]


class FileFault(Exception):  # noqa: N818 - a fault is something that the sender can correct
    """A file that cannot be read at all: a stable code, and the values for its message."""

    def __init__(self, code: FileCode, **values: Value) -> None:
        super().__init__(code, values)
        self.code: FileCode = code
        self.values = values


class RowFault(NamedTuple):
    """A fault of one row. `column` is empty if the fault is in the row as a whole."""

    code: RowCode
    column: str
    cell: str = ""
    """The cell as a spreadsheet names it: `C5`, or a range such as `E2:E5`."""
