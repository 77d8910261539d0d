"""The columns of a resident file, their headings, and how their cells are read. Pure.

One row is one person. `household` is a key within the community: people of one community with the same key live
together. An empty `document_type` means 10 (resident ID). Only other documents need a birth date and a sex.
"""

import re
from datetime import date
from typing import Literal, TypeAlias

from services.registry.imports.faults import RowFault
from services.registry.residents.identity import Sex, check_digit
from services.registry.residents.spelling import drop_invisible, is_placeholder

COLUMNS: dict[str, tuple[str, ...]] = {
    "name": ("姓名", "名字", "居民姓名", "人员姓名"),
    "document_type": ("证件类型", "证件种类", "证件类别"),
    "document_number": (
        "证件号码",
        "证件号",
        "身份证号",
        "身份证号码",
        "身份证",
        "公民身份号码",
        "公民身份证号码",
        "居民身份证号",
        "居民身份证号码",
        "身份号码",
    ),
    "phone": ("手机号", "手机号码", "手机", "联系电话", "联系方式", "电话", "电话号码", "移动电话", "本人电话"),
    "region": ("网格编码", "片区编码", "社区编码", "网格", "片区", "社区", "村", "村居", "所属网格", "所属社区"),
    "address": ("住址", "现住址", "地址", "家庭住址", "家庭地址", "居住地址", "详细地址", "现居住地", "居住地"),
    "household": ("户号", "户编号", "家庭编号", "家庭户号"),
    "pregnant": ("孕产妇", "是否孕产妇", "孕妇"),
    "dependent": ("半自理/无自理", "半自理无自理", "半自理、无自理", "是否半自理/无自理", "自理能力"),
    "birth_date": ("出生日期", "出生年月日", "生日"),
    "sex": ("性别",),
}
"""The Chinese headings of each column by its English name. Templates use the first; the others are accepted too."""

IGNORED_HEADINGS = (  # noqa: SIM905
    "序号 序 no no. 备注 备注栏 说明 年龄 周岁 填表人 登记人 填表日期 登记日期 签名 签字 remark remarks note notes age"
).split()
"""Columns of people's own lists that are ignored. The result of the import names the columns left out."""

REQUIRED = ("name", "document_number", "region")
ERROR_COLUMNS = {"line": "行号", "error": "错误"}
"""The columns that an error file adds. A corrected file may still have them."""

NUMBER_COLUMNS = frozenset({"document_type", "document_number", "phone", "region", "household"})
"""Columns whose cells a spreadsheet may convert to numbers. White space around them is ignored."""

FLAG_COLUMNS = frozenset({"pregnant", "dependent"})

CELL_CHARACTERS = 1_000

# A spreadsheet runs a cell that starts with one of these (OWASP, CSV injection). With Chinese settings the full-width
# signs do the same.
FORMULA_SIGNS = "=+-@\t\r＝＋－＠"
_FORMULA = re.compile(f"'*[{re.escape(FORMULA_SIGNS)}]")
# People write ="0035" in a CSV so that a spreadsheet keeps all zeros and digits.
_QUOTED = re.compile(r'="([^"]*)"')
_TEXT_SPACE = " \u3000\xa0\n\r"
# A spreadsheet writes a number of which it kept only 15 digits as 3.50582E+17.
_SCIENTIFIC = re.compile(r"[0-9](?:\.[0-9]+)?[Ee]\+[0-9]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

ERROR_TEXT = "#错误"
"""The text of a workbook's cell that has an error instead of a value."""
NOT_CALCULATED = "#未计算"
"""The text of a cell whose formula has no result in the file."""
_ERRORS = re.compile(
    r"#(?:错误|N/A|REF!|VALUE!|NAME\?|DIV/0!|NUM!|NULL!|SPILL!|CALC!|FIELD!|GETTING_DATA)", re.IGNORECASE
)
_HASHES = re.compile(r"#{3,}")
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
# A spreadsheet turns 3-12 into one of these, depending on its language and on the current year.
_MADE_A_DATE = re.compile(
    r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}(?: [0-9:]+)?|(?:[0-9]{4}年)?[0-9]{1,2}月(?:[0-9]{1,2}日)?"
    rf"|[0-9]{{4}}年[0-9]{{1,2}}月|[0-9]{{1,2}}-(?:{_MONTHS})(?:-[0-9]{{2,4}})?|(?:{_MONTHS})-[0-9]{{2}}",
    re.IGNORECASE,
)
_DATED_COLUMNS = ("household", "address")
_DATES_BEGIN = frozenset("0123456789JFMASONDjfmasond")


def read_cell(column: str, cell: str) -> str:
    """Return the cleaned text of a cell: without outer white space and without a spreadsheet's text mark.

    Invisible characters from copied text are removed. A placeholder such as 无 or / becomes empty; in a flag column it
    means no.
    """
    cell = drop_invisible(cell)
    cell = cell.strip() if column in NUMBER_COLUMNS else cell.strip(_TEXT_SPACE)
    if quoted := _QUOTED.fullmatch(cell):
        cell = quoted[1].strip()
    if cell.startswith("'") and (column in NUMBER_COLUMNS or _FORMULA.match(cell)):
        return cell[1:]
    return "" if column not in FLAG_COLUMNS and is_placeholder(cell) else cell


def neutralise(cell: str) -> str:
    """Put an apostrophe before a cell that a spreadsheet would run as a formula. `read_cell` removes it."""
    return "'" + cell if _FORMULA.match(cell) else cell


def cell_faults(values: dict[str, str]) -> list[RowFault]:
    """Return the faults of a row's cells that do not depend on their meaning: length, control characters, formulas,
    lost digits."""
    faults = []
    for column, cell in values.items():
        if len(cell) > CELL_CHARACTERS:
            faults.append(RowFault("cell_too_long", column))
        elif _CONTROLS.search(cell):
            faults.append(RowFault("control_character", column))
        elif cell == NOT_CALCULATED:
            faults.append(RowFault("formula_not_calculated", column))
        elif _ERRORS.fullmatch(cell):
            faults.append(RowFault("error_cell", column))
        elif _HASHES.fullmatch(cell):
            faults.append(RowFault("column_narrow", column))
        elif cell[:1] in FORMULA_SIGNS and cell and not _may_begin_so(column, cell):
            faults.append(RowFault("formula", column))
        elif column in NUMBER_COLUMNS and digits_lost(column, cell):
            faults.append(RowFault("number_lost_digits", column))
    return faults


def _may_begin_so(column: str, cell: str) -> bool:
    return is_placeholder(cell) or (column == "phone" and cell[0] in "+＋")


def digits_lost(column: str, cell: str) -> bool:
    """Return whether a spreadsheet converted the cell to a number and lost the digits after the fifteenth."""
    if _SCIENTIFIC.fullmatch(cell):
        return True
    # A wrong check digit alone is a typing error. With three zeros at the end it is the work of a spreadsheet.
    rounded = column == "document_number" and len(cell) == 18 and cell.endswith("000")
    return rounded and cell.isascii() and cell.isdigit() and check_digit(cell[:17]) != "0"


def dated_columns(values: dict[str, str]) -> list[str]:
    """Return the columns in which a spreadsheet converted the input to a date: a household 3-12, an address 2-7."""
    return [
        column
        for column in _DATED_COLUMNS
        if (cell := values[column]) and cell[0] in _DATES_BEGIN and _MADE_A_DATE.fullmatch(cell)
    ]


CellFault: TypeAlias = Literal["flag_form", "date_form", "sex_form"]
_YES = frozenset(
    "是 1 true yes y 有 √ ✓ ✔ ☑ 对 半自理 无自理 不能自理 完全不能自理 部分自理 半自理/无自理 失能 半失能"  # noqa: SIM905
    " 孕妇 产妇 孕产妇 怀孕".split()
)
_NO = frozenset(
    "否 0 false no n 无 没有 不是 × ✗ ✘ ☐ x 自理 能自理 可自理 完全自理 全自理 生活自理 正常"  # noqa: SIM905
    " 未怀孕".split()
) | {""}
_SEXES: dict[str, Sex] = {
    "男": "male",
    "男性": "male",
    "1": "male",
    "m": "male",
    "male": "male",
    "女": "female",
    "女性": "female",
    "2": "female",
    "f": "female",
    "female": "female",
}
_DOCUMENT_NAMES = {
    "10": "居民身份证 身份证 二代身份证 第二代居民身份证 港澳台居民居住证",
    "14": "港澳居民来往内地通行证 港澳通行证 回乡证",
    "15": "台湾居民来往大陆通行证 台胞证",
    "20": "护照 外国护照",
    "34": "外国人永久居留身份证 外国人永久居留证",
    "99": "其他 其它",
}
_DOCUMENTS = {name: code for code, names in _DOCUMENT_NAMES.items() for name in names.split()}
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE = re.compile(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?|([0-9]{4})([0-9]{2})([0-9]{2})")


class CellError(ValueError):
    """A cell that cannot be read. `code` names the expected form."""

    def __init__(self, code: CellFault) -> None:
        super().__init__(code)
        self.code: CellFault = code


def read_flag(cell: str) -> bool:
    """Read a yes or no: 是/否, 1/0, √/×, true/false, or a level of self-care. Empty means no."""
    word = cell.casefold()
    if word in _YES:
        return True
    if word in _NO or is_placeholder(cell):
        return False
    raise CellError("flag_form")


def read_sex(cell: str) -> Sex | None:
    """Read a sex: 男/女, 1/2 (GB/T 2261.1), male/female. Empty means unknown."""
    if not cell:
        return None
    try:
        return _SEXES[cell.casefold()]
    except KeyError:
        raise CellError("sex_form") from None


def read_document_type(cell: str) -> str:
    """Return the code of a document type given by its code or its name."""
    return _DOCUMENTS.get(cell, cell)


def read_date(cell: str) -> date | None:
    """Read a day: 1990-01-31, 1990/1/31, 1990.1.31, 1990年1月31日 or 19900131. Empty means unknown."""
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
