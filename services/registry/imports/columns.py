"""What the columns of a resident file are called, and how their cells are read. Pure.

One row is one person. `household` is a key that holds within the file's community: rows of one community with the
same key live together. `document_type` is 10 (resident ID) where it is empty; only other documents need a birth date
and sex.
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
"""Each column's English name, its Chinese heading as templates and error files write it, and what else is accepted."""

IGNORED_HEADINGS = (  # noqa: SIM905
    "序号 序 no no. 备注 备注栏 说明 年龄 周岁 填表人 登记人 填表日期 登记日期 签名 签字 remark remarks note notes age"
).split()
"""Columns of people's own lists that are not kept. The result of the import says that they were left out."""

REQUIRED = ("name", "document_number", "region")
ERROR_COLUMNS = {"line": "行号", "error": "错误"}
"""What an error file adds, and a file sent again may still carry."""

NUMBER_COLUMNS = frozenset({"document_type", "document_number", "phone", "region", "household"})
"""Cells that a spreadsheet may take for numbers. White space around them means nothing."""

FLAG_COLUMNS = frozenset({"pregnant", "dependent"})

CELL_CHARACTERS = 1_000

# A spreadsheet runs what begins so (OWASP, CSV injection); the full-width signs do the same under Chinese settings.
FORMULA_SIGNS = "=+-@\t\r＝＋－＠"
_FORMULA = re.compile(f"'*[{re.escape(FORMULA_SIGNS)}]")
# ="0035" is how people keep the zeros and the digits of a number in a CSV that a spreadsheet opens.
_QUOTED = re.compile(r'="([^"]*)"')
_TEXT_SPACE = " \u3000\xa0\n\r"
# "3.50582E+17" is how a spreadsheet writes a number of which it kept 15 digits.
_SCIENTIFIC = re.compile(r"[0-9](?:\.[0-9]+)?[Ee]\+[0-9]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

ERROR_TEXT = "#错误"
"""What stands in a workbook's cell that has an error in the place of a value."""
NOT_CALCULATED = "#未计算"
"""What stands in a cell whose formula has no result in the file."""
_ERRORS = re.compile(
    r"#(?:错误|N/A|REF!|VALUE!|NAME\?|DIV/0!|NUM!|NULL!|SPILL!|CALC!|FIELD!|GETTING_DATA)", re.IGNORECASE
)
_HASHES = re.compile(r"#{3,}")
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
# 3-12 becomes one of these; which one depends on the spreadsheet's language and on the year in which it is typed.
_MADE_A_DATE = re.compile(
    r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}(?: [0-9:]+)?|(?:[0-9]{4}年)?[0-9]{1,2}月(?:[0-9]{1,2}日)?"
    rf"|[0-9]{{4}}年[0-9]{{1,2}}月|[0-9]{{1,2}}-(?:{_MONTHS})(?:-[0-9]{{2,4}})?|(?:{_MONTHS})-[0-9]{{2}}",
    re.IGNORECASE,
)
_DATED_COLUMNS = ("household", "address")
_DATES_BEGIN = frozenset("0123456789JFMASONDjfmasond")


def read_cell(column: str, cell: str) -> str:
    """A cell as it is kept: without white space around it, and without what spreadsheets put before a text.

    Invisible characters, which come with numbers copied from chats and web pages, are dropped. A cell that only says
    that there is nothing, such as 无 or /, is empty; as a flag, it is a no.
    """
    cell = drop_invisible(cell)
    cell = cell.strip() if column in NUMBER_COLUMNS else cell.strip(_TEXT_SPACE)
    if quoted := _QUOTED.fullmatch(cell):
        cell = quoted[1].strip()
    if cell.startswith("'") and (column in NUMBER_COLUMNS or _FORMULA.match(cell)):
        return cell[1:]
    return "" if column not in FLAG_COLUMNS and is_placeholder(cell) else cell


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
    """Whether a spreadsheet took the cell for a number and dropped what lies beyond its 15 digits."""
    if _SCIENTIFIC.fullmatch(cell):
        return True
    # A wrong check digit alone is a slip of the pen; together with three zeros at the end it is a spreadsheet.
    rounded = column == "document_number" and len(cell) == 18 and cell.endswith("000")
    return rounded and cell.isascii() and cell.isdigit() and check_digit(cell[:17]) != "0"


def dated_columns(values: dict[str, str]) -> list[str]:
    """The columns in which a spreadsheet made a date of what was typed: a household 3-12, an address 2-7."""
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
    """A cell that cannot be read; `code` says what it should have been."""

    def __init__(self, code: CellFault) -> None:
        super().__init__(code)
        self.code: CellFault = code


def read_flag(cell: str) -> bool:
    """Yes or no: 是/否, 1/0, √/×, true/false, or how somebody cares for themselves; empty is no."""
    word = cell.casefold()
    if word in _YES:
        return True
    if word in _NO or is_placeholder(cell):
        return False
    raise CellError("flag_form")


def read_sex(cell: str) -> Sex | None:
    """男/女, 1/2 (GB/T 2261.1), male/female; empty is unknown."""
    if not cell:
        return None
    try:
        return _SEXES[cell.casefold()]
    except KeyError:
        raise CellError("sex_form") from None


def read_document_type(cell: str) -> str:
    """A document's code, of the code or of the document's name."""
    return _DOCUMENTS.get(cell, cell)


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
