"""What can be wrong with an uploaded file or with one of its rows. The use case says it in people's language."""

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


class FileFault(Exception):  # noqa: N818 - the house calls faults what people can mend themselves
    """A file that cannot be read as a whole: a stable code, and the values that a message about it needs."""

    def __init__(self, code: FileCode, **values: Value) -> None:
        super().__init__(code, values)
        self.code: FileCode = code
        self.values = values


class RowFault(NamedTuple):
    """What is wrong with one row; `column` is empty where it is the row itself."""

    code: RowCode
    column: str
    cell: str = ""
    """Where people find it: `C5`, or a range such as `E2:E5`."""
