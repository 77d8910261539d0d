"""What the columns of a resident file are called, in Chinese and English, and how their cells are read. Pure.

One row is one person. `household` is a key that holds within the file's community: rows of one community with the
same key live together. `document_type` is 10 (resident ID) where it is empty; only other documents need a birth date
and sex.
"""

import re
from collections.abc import Sequence
from datetime import date
from typing import Literal, TypeAlias

from services.registry.imports.faults import FileFault, RowFault
from services.registry.residents.identity import Sex, check_digit

COLUMNS: dict[str, tuple[str, ...]] = {
    "name": ("姓名",),
    "document_type": ("证件类型",),
    "document_number": ("证件号码", "证件号", "身份证号", "身份证号码"),
    "phone": ("手机号", "手机号码", "联系电话", "电话"),
    "region": ("网格编码", "片区编码", "社区编码"),
    "address": ("住址", "现住址", "地址"),
    "household": ("户号",),
    "pregnant": ("孕产妇",),
    "dependent": ("半自理/无自理", "半自理无自理"),
    "birth_date": ("出生日期",),
    "sex": ("性别",),
}
"""Each column's English name, its Chinese heading as templates and error files write it, and what else is accepted."""

REQUIRED = ("name", "document_number", "region")
ERROR_COLUMNS = {"line": "行号", "error": "错误"}
"""What an error file adds, and a file sent again may still carry."""

NUMBER_COLUMNS = frozenset({"document_type", "document_number", "phone", "region", "household"})
"""Cells that a spreadsheet may take for numbers. White space around them means nothing."""

CELL_CHARACTERS = 1_000

_NAMES = {
    heading.casefold(): column
    for column, headings in (COLUMNS | {name: (heading,) for name, heading in ERROR_COLUMNS.items()}).items()
    for heading in (column, *headings)
}
_SEPARATORS = re.compile(r"[;；\t|，、]")
"""What stands between cells where it is not a comma: other countries' spreadsheets, and full-width typing."""
_HEADING_NOISE = re.compile(r"[\s\ufeff\u3000*＊]")

# A spreadsheet runs what begins so (OWASP, CSV injection); the full-width signs do the same under Chinese settings.
FORMULA_SIGNS = "=+-@\t\r＝＋－＠"
_FORMULA = re.compile(f"'*[{re.escape(FORMULA_SIGNS)}]")
_TEXT_SPACE = " \u3000\xa0\n"
# "3.50582E+17" is how a spreadsheet writes a number of which it kept 15 digits.
_SCIENTIFIC = re.compile(r"[0-9](?:\.[0-9]+)?[Ee]\+[0-9]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

Header: TypeAlias = tuple[str, ...]


def read_header(headings: Sequence[str]) -> Header:
    """The columns of a file in its order, or a `FileFault` that names the heading that is unknown, twice or missing."""
    cells = [_HEADING_NOISE.sub("", heading.removeprefix("'")).casefold() for heading in headings]
    while cells and not cells[-1]:
        cells.pop()
    strange = [place for place, cell in enumerate(cells) if cell not in _NAMES]
    unknown = [headings[place].strip()[:50] for place in strange[:20]]
    known = [_NAMES[cell] for cell in cells if cell in _NAMES]
    if missing := [column for column in REQUIRED if column not in known]:
        if len(cells) == 1 and _SEPARATORS.search(headings[0]):
            raise FileFault("separator_wrong")
        raise FileFault("column_missing", columns=missing, found=unknown)
    if strange:
        places = ", ".join(str(place + 1) for place in strange[:20])
        raise FileFault("column_unknown", columns=unknown, places=places)
    if twice := sorted({column for column in known if known.count(column) > 1}):
        raise FileFault("column_twice", columns=twice)
    return tuple(known)


def read_cell(column: str, cell: str) -> str:
    """A cell as it is kept: without white space around it, and without the apostrophe an error file put before it."""
    cell = cell.strip() if column in NUMBER_COLUMNS else cell.strip(_TEXT_SPACE)
    if cell.startswith("'") and (column in NUMBER_COLUMNS or _FORMULA.match(cell)):
        return cell[1:]
    return cell


def neutralise(cell: str) -> str:
    """A cell that no spreadsheet runs: an apostrophe before what looks like a formula. `read_cell` takes it away."""
    return "'" + cell if _FORMULA.match(cell) else cell


def cell_faults(values: dict[str, str]) -> list[RowFault]:
    """What is wrong with a row's cells, whatever they mean: too long, control characters, formulas, lost digits."""
    faults = []
    for column, cell in values.items():
        if len(cell) > CELL_CHARACTERS:
            faults.append(RowFault("cell_too_long", column))
        elif _CONTROLS.search(cell):
            faults.append(RowFault("control_character", column))
        elif cell[:1] in FORMULA_SIGNS and cell and not (column == "phone" and cell[0] in "+＋"):
            faults.append(RowFault("formula", column))
        elif column in NUMBER_COLUMNS and digits_lost(column, cell):
            faults.append(RowFault("number_lost_digits", column))
    return faults


def digits_lost(column: str, cell: str) -> bool:
    """Whether a spreadsheet took the cell for a number and dropped what lies beyond its 15 digits."""
    if _SCIENTIFIC.fullmatch(cell):
        return True
    # A wrong check digit alone is a slip of the pen; together with three zeros at the end it is a spreadsheet.
    rounded = column == "document_number" and len(cell) == 18 and cell.endswith("000")
    return rounded and cell.isascii() and cell.isdigit() and check_digit(cell[:17]) != "0"


CellFault: TypeAlias = Literal["flag_form", "date_form", "sex_form"]
_YES = frozenset({"是", "1", "true", "yes", "y", "有"})
_NO = frozenset({"", "否", "0", "false", "no", "n", "无"})
_SEXES: dict[str, Sex] = {"男": "male", "1": "male", "male": "male", "女": "female", "2": "female", "female": "female"}
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE = re.compile(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?|([0-9]{4})([0-9]{2})([0-9]{2})")


class CellError(ValueError):
    """A cell that cannot be read; `code` says what it should have been."""

    def __init__(self, code: CellFault) -> None:
        super().__init__(code)
        self.code: CellFault = code


def read_flag(cell: str) -> bool:
    """Yes or no: 是/否, 1/0, true/false; empty is no."""
    word = cell.casefold()
    if word not in _YES and word not in _NO:
        raise CellError("flag_form")
    return word in _YES


def read_sex(cell: str) -> Sex | None:
    """男/女, 1/2 (GB/T 2261.1), male/female; empty is unknown."""
    if not cell:
        return None
    try:
        return _SEXES[cell.casefold()]
    except KeyError:
        raise CellError("sex_form") from None


def read_date(cell: str) -> date | None:
    """A day: 1990-01-31, 1990/1/31, 1990.1.31, 1990年1月31日 or 19900131; empty is unknown."""
    if not cell:
        return None
    try:
        if _ISO_DATE.fullmatch(cell):
            return date.fromisoformat(cell)
        match = _DATE.fullmatch(cell)
        year, month, day = (int(part) for part in match.groups() if part) if match else (0, 0, 0)
        return date(year, month, day)
    except ValueError:
        raise CellError("date_form") from None
