"""The lists that people keep themselves: read as they are meant, or refused with the cell and the reason."""

import csv
import io
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.worksheet.worksheet import Worksheet

from services.registry.imports import reading, workbook_scan
from services.registry.imports.checking import Checker
from services.registry.imports.columns import COLUMNS
from services.registry.imports.faults import FileFault
from services.registry.imports.homes import Homes
from services.registry.imports.messages import RowProblem, describe, problem_of
from services.registry.imports.reading import read_rows
from services.registry.imports.workbook import Notes
from services.registry.residents.rules import Person, household_of
from services.registry.residents.spelling import is_placeholder
from tests.registry.people import HOUKU, SHATANG, number, table
from tests.registry.test_workbooks import archive, book, sheet_of
from tests.registry.uploads import faults_of, given_values, read

TODAY = date(2026, 11, 30)
PATCH, OTHER_PATCH = SHATANG + "01", HOUKU + "01"
REGIONS = [
    (SHATANG, "沙塘社区居委会"),
    (HOUKU, "后库社区居委会"),
    (PATCH, "第一网格"),
    (OTHER_PATCH, "第一网格"),
    (SHATANG + "0101", "一号楼"),
]
HEADINGS = ("姓名", "证件号码", "网格编码", "手机号", "住址", "户号")
PHONE = "15412345678"


def row_of(place: int, **values: str) -> list[str]:
    """A row below `HEADINGS`."""
    cells = {"name": "张三", "document_number": number(place), "region": SHATANG, "phone": PHONE} | values
    return [cells.get(column, "") for column in ("name", "document_number", "region", "phone", "address", "household")]


def looked_at(content: bytes) -> tuple[list[Person | list[RowProblem]], Notes]:
    """Each row's person or what is wrong with it, and what was left out."""
    notes = Notes()
    checker = Checker(Homes(REGIONS), TODAY, demonstration=True)
    return [checker.check(row) for row in read_rows(io.BytesIO(content), notes)], notes


def people_of(content: bytes) -> list[Person]:
    found, _ = looked_at(content)
    assert all(isinstance(one, Person) for one in found), found
    return [one for one in found if isinstance(one, Person)]


def person_of(**values: str) -> Person:
    (one,) = people_of(table([{"name": "张三", "document_number": number(), "region": SHATANG} | values]))
    return one


def refusal_of(**values: str) -> str:
    """What a row is told that has these cells."""
    (found,), _ = looked_at(table([{"name": "张三", "document_number": number(), "region": SHATANG} | values]))
    assert isinstance(found, list), found
    return describe(found, "zh-CN")


def fault_of(content: bytes) -> str:
    with pytest.raises(FileFault) as caught:
        looked_at(content)
    return problem_of(caught.value).detail("zh-CN")


def on_sheet(act: Callable[[Worksheet], object]) -> Callable[[openpyxl.Workbook], None]:
    return lambda made: void(act(made.worksheets[0]))


def void(_: object) -> None:
    """Forget what openpyxl answers."""


def test_a_merged_cell_speaks_for_all_rows_of_a_family() -> None:
    family = [
        row_of(place, address="2区8号" if place == 1 else "", household="M8" if place == 1 else "")
        for place in range(1, 5)
    ]
    merge = on_sheet(lambda sheet: [sheet.merge_cells(f"{column}2:{column}5") for column in "EF"])
    people = people_of(book(HEADINGS, *family, row_of(5), before=merge))
    home = household_of(SHATANG, "M8")
    assert [one.household_id for one in people] == [home] * 4 + [None]
    assert [one.address for one in people] == ["2区8号"] * 4 + [None]


def test_a_blank_row_within_a_merged_range_is_no_person() -> None:
    merge = on_sheet(lambda sheet: sheet.merge_cells("F2:F4"))
    rows = read(book(HEADINGS, row_of(1, household="M8"), [], row_of(2), before=merge))
    assert [(row.line, row.values["household"]) for row in rows] == [(2, "M8"), (4, "M8")]


@pytest.mark.parametrize(("range_", "column"), [("A2:A3", "name"), ("B2:B3", "document_number"), ("E2:F3", "address")])
def test_a_merged_cell_that_would_mix_people_up_is_named(range_: str, column: str) -> None:
    merge = on_sheet(lambda sheet: sheet.merge_cells(range_))
    found, _ = looked_at(book(HEADINGS, row_of(1), row_of(2), row_of(3), before=merge))
    assert isinstance(found[1], list)
    assert f"{COLUMNS[column][0]}：{range_} 是合并单元格" in describe(found[1], "zh-CN")
    assert isinstance(found[2], Person)


def test_a_sheet_that_begins_in_another_column_keeps_its_merged_cells() -> None:
    merge = on_sheet(lambda sheet: sheet.merge_cells("H3:H4"))
    rows = [["", "", *HEADINGS], ["", "", *row_of(1, household="M8")], ["", "", *row_of(2)]]
    content = book([], *([cell or None for cell in row] for row in rows), before=merge)
    assert [row.values["household"] for row in read(content)] == ["M8", "M8"]


def test_merged_ranges_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ROWS", 3)
    merge = on_sheet(lambda sheet: [sheet.merge_cells(f"E{row}:F{row}") for row in range(10, 15)])
    with pytest.raises(FileFault, match="too_many_rows"):
        read(book(HEADINGS, row_of(1), before=merge))


def text_cell(reference: str, text: str) -> str:
    return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'


def row_cells(line: int, cells: Iterable[str]) -> str:
    """The cells of a row of a sheet, without the row's end."""
    texts = (text_cell(f"{letter}{line}", cell) for letter, cell in zip("ABCDEF", cells, strict=False) if cell)
    return f"<row>{''.join(texts)}"


def sheet_with(household: str) -> bytes:
    """A workbook of one person whose cell F2 is written as given."""
    person = row_cells(2, row_of(1, address="2区8号"))
    return archive(sheet_of(f"{row_cells(1, HEADINGS)}</row>{person}{household}</row>"))


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ('<c r="F2" t="e"><f>VLOOKUP(B2,X!A:C,3,0)</f><v>#N/A</v></c>', "error_cell"),
        ('<c r="F2" t="e"><v>#REF!</v></c>', "error_cell"),
        ('<c r="F2"><f>CONCATENATE("F","0")</f><v></v></c>', "formula_not_calculated"),
        ('<c r="F2"><f>CONCATENATE("F","0")</f></c>', "formula_not_calculated"),
        ('<c r="F2" t="str"><f>CONCATENATE("F","0")</f></c>', "formula_not_calculated"),
        ('<c r="F2" t="str"><f>IF(A2="","F0","")</f><v></v></c>', None),
        ('<c r="F2" t="str"><f>CONCATENATE("F","0")</f><v>F0</v></c>', None),
        ('<c r="F2"><f>10+2</f><v>12</v></c>', None),
    ],
)
def test_what_a_formula_leaves_behind_is_no_empty_cell(cell: str, code: str | None) -> None:
    (row,) = read(sheet_with(cell))
    assert faults_of(row) == ([(code, "household")] if code else [])
    if code:
        assert row.faults[0].cell == "F2"
        assert row.values["household"], "an error file shows it, and a cell that is sent again is refused again"


def test_broken_cells_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ROWS", 3)
    errors = "".join(f'<c r="{letter}1" t="e"><v>#N/A</v></c>' for letter in "GHIJ")
    with pytest.raises(FileFault, match="too_many_errors"):
        read(archive(sheet_of(f"<row>{errors}</row>")))
    assert workbook_scan.SPARE_ROWS > 10


@pytest.mark.parametrize("text", ["#N/A", "#REF!", "#VALUE!", "#div/0!", "#NAME?"])
def test_an_error_that_a_csv_shows_as_text_is_one(text: str) -> None:
    assert refusal_of(household=text) == "户号：G2 单元格是错误值（如 #N/A），请改正公式或直接填写"


def test_a_column_too_narrow_for_its_numbers_is_named() -> None:
    assert "G2 单元格只显示 ####" in refusal_of(household="########")


@pytest.mark.parametrize(
    "key", ["无", "没有", "/", "／", "0", "０", "00", "-", "--", "—", "不详", "暂无", "N/A", "？", "."]
)
def test_a_placeholder_is_no_household(key: str) -> None:
    assert household_of(SHATANG, key) is None
    assert person_of(household=key).household_id is None


@pytest.mark.parametrize("key", ["１２０１", " 1201 ", "1201\u200b", "\u202d1201\u202c"])
def test_one_flat_in_several_spellings_is_one_household(key: str) -> None:
    assert household_of(SHATANG, key) == household_of(SHATANG, "1201")
    assert person_of(household=key).household_id == household_of(SHATANG, "1201")


@pytest.mark.parametrize(("one", "other"), [("12", "0012"), ("3-12", "312"), ("10", "1"), ("无名路1", "1")])
def test_different_keys_stay_different(one: str, other: str) -> None:
    assert None is not household_of(SHATANG, one) != household_of(SHATANG, other) is not None


def test_dashes_of_a_key_are_one_dash() -> None:
    assert {household_of(SHATANG, f"3{dash}12") for dash in "-－–—−"} == {household_of(SHATANG, "3-12")}


@pytest.mark.parametrize("cell", ["12月1日", "2021-12-01", "2021/12/1", "1-Dec", "Dec-12", "2021年12月1日", "3月12日"])
def test_a_household_that_became_a_date_is_named(cell: str) -> None:
    assert "G2 单元格被表格软件变成了日期" in refusal_of(household=cell)
    assert "F2 单元格被表格软件变成了日期" in refusal_of(address=cell)


def test_a_household_that_is_a_date_in_a_workbook_is_named() -> None:
    (row,) = read(book(HEADINGS, [*row_of(1)[:5], date(2021, 12, 1)]))
    assert faults_of(row) == [("made_a_date", "household")]


@pytest.mark.parametrize("format_", [*range(27, 37), *range(50, 59), 14, 22])
def test_dates_in_the_formats_of_a_chinese_spreadsheet(format_: int) -> None:
    styles = (
        '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs count="2">'
        f'<xf numFmtId="0"/><xf numFmtId="{format_}" applyNumberFormat="1"/></cellXfs></styleSheet>'
    )
    heading, person = row_cells(1, (*HEADINGS[:3], "出生日期")), row_cells(2, row_of(1)[:3])
    content = sheet_of(f'{heading}</row>{person}<c r="D2" s="1"><v>32939</v></c></row>')
    (found,) = read(archive(content | {"xl/styles.xml": styles.encode()}))
    assert (found.values["birth_date"], found.faults) == ("1990-03-07", ())


def test_the_heading_may_stand_below_a_title() -> None:
    title = ["沙塘社区居民信息登记表（第一网格）"]
    found, notes = looked_at(book(title, ["填表人：", "李某", "联系电话：0595"], [], HEADINGS, row_of(1)))
    assert isinstance(found[0], Person)
    assert notes.heading_line == 4
    csv = "沙塘社区登记表,,\n姓名,证件号码,网格编码\n" + f"张三,{number()},{SHATANG}\n"
    assert len(people_of(csv.encode())) == 1


def test_a_file_without_a_heading_says_so() -> None:
    said = fault_of(f"张三,{number()},{SHATANG}\n".encode())
    assert said.startswith("前 10 行中没有表头，表头应包含：姓名、证件号码、网格编码")
    assert number() not in said


def test_columns_that_are_not_kept_are_left_out_and_named() -> None:
    headings = ("序号", *HEADINGS, "备注", "年龄")
    found, notes = looked_at(book(headings, ["1", *row_of(1), "=外地", "36"]))
    assert isinstance(found[0], Person)
    assert notes.columns == ["A 序号", "H 备注", "I 年龄"]


def test_unknown_and_missing_columns_are_named_together() -> None:
    said = fault_of("序号,姓名,号码,血型,网格编码\n".encode())
    assert said.startswith("第 1 行表头中未找到：证件号码；无法识别：C 列“号码”、D 列“血型”")


def test_a_column_without_a_heading_may_be_empty_and_no_more() -> None:
    found, _ = looked_at(
        f"姓名,,证件号码,网格编码\n张三,,{number()},{SHATANG}\n李四,x,{number(2)},{SHATANG}\n".encode()
    )
    assert isinstance(found[0], Person)
    assert isinstance(found[1], list)
    assert describe(found[1], "zh-CN") == "B3 单元格有内容，但该列没有表头，请补上表头或删除该列"


@pytest.mark.parametrize(
    ("heading", "column"),
    [
        ("身份证号码\n(18位)", "document_number"),
        ("*身 份 证 号", "document_number"),
        ("公民身份号码：", "document_number"),
        ("证件号（必填）", "document_number"),
        ("\ufeff证件号", "document_number"),
        ("姓名\u3000（中文）", "name"),
        ("联系电话", "phone"),
        ("手机", "phone"),
        ("家庭住址", "address"),
        ("现住址", "address"),
        ("所属网格", "region"),
        ("ＮＡＭＥ", "name"),
    ],
)
def test_headings_as_people_write_them(heading: str, column: str) -> None:
    others = {"name": "张三", "document_number": number(), "region": SHATANG}
    cells = {heading: others.pop(column, PHONE)} | {COLUMNS[name][0]: cell for name, cell in others.items()}
    (row,) = read(book(cells.keys(), cells.values()))
    assert row.values[column] == cells[heading]


def test_other_sheets_are_named_and_two_lists_refused() -> None:
    def add(*rows: Iterable[str], name: str = "二组") -> Callable[[openpyxl.Workbook], None]:
        def act(made: openpyxl.Workbook) -> None:
            sheet = made.create_sheet(name)
            for row in rows:
                sheet.append(list(row))

        return act

    _, notes = looked_at(book(HEADINGS, row_of(1), before=add(["代码", "名称"], ["1", "2"])))
    assert notes.sheets == [2]
    _, notes = looked_at(book(HEADINGS, row_of(1), before=add(["列", "填写说明"], name="说明")))
    assert notes.sheets == []
    assert len(people_of(book(["封面"], before=add(HEADINGS, row_of(1))))) == 1
    said = fault_of(book(HEADINGS, row_of(1), before=add(HEADINGS, row_of(2))))
    assert said.startswith("这些工作表都含有人员：Sheet、二组。请合并到一张工作表")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "XLS / ET"),
        (archive({"xl/workbook.bin": b"1"}), "XLSB"),
        (archive({"content.xml": b"<a/>", "mimetype": b"application/vnd.oasis.opendocument.spreadsheet"}), "ODS"),
        ("\ufeff\n<HTML><table>".encode(), "HTML / XML"),
        (b'<?xml version="1.0"?><Workbook/>', "HTML / XML"),
    ],
)
def test_other_formats_are_named(content: bytes, kind: str) -> None:
    assert fault_of(content) == f"不支持 {kind} 格式的文件。请另存为 CSV（UTF-8）或 XLSX 后重新上传。"


CELLS: list[tuple[dict[str, str], str, Any]] = [
    ({"document_number": f" {number()[:6]} {number()[6:14]} {number()[14:]}"}, "document_number", number()),
    ({"document_number": f'="{number()}"'}, "document_number", number()),
    ({"document_number": f"\u200b{number()}\u202c"}, "document_number", number()),
    ({"document_number": f"{number()[:6]}\xa0{number()[6:]}"}, "document_number", number()),
    ({"document_number": f"'{number()}"}, "document_number", number()),
    ({"document_type": "身份证"}, "document_type", 10),
    (
        {"document_type": "护照", "document_number": "E1234567", "sex": "男", "birth_date": "1990.3.7"},
        "document_type",
        20,
    ),
    ({"phone": "无"}, "phone", None),
    ({"phone": "没有"}, "phone", None),
    ({"phone": "-"}, "phone", None),
    ({"phone": "\u202d15412345678\u202c"}, "phone", PHONE),
    ({"phone": "154 1234 5678"}, "phone", PHONE),
    ({"address": "/"}, "address", None),
    ({"address": "沙塘社区\n1区5号"}, "address", "沙塘社区1区5号"),
    ({"address": "No. 5\nSea Road"}, "address", "No. 5 Sea Road"),
    ({"address": "Tower A\nSea Road"}, "address", "Tower A Sea Road"),
    ({"pregnant": "√"}, "pregnant", True),
    ({"pregnant": "✓"}, "pregnant", True),
    ({"pregnant": "有"}, "pregnant", True),
    ({"pregnant": "1"}, "pregnant", True),
    ({"pregnant": "/"}, "pregnant", False),
    ({"pregnant": ""}, "pregnant", None),
    ({"dependent": "半自理"}, "dependent", True),
    ({"dependent": "无自理"}, "dependent", True),
    ({"dependent": "能自理"}, "dependent", False),
    ({"dependent": "无"}, "dependent", False),
    ({"name": "高　杰华"}, "name", "高杰华"),
    ({"name": "黄 建刚"}, "name", "黄建刚"),
    ({"name": "Ｊｏｈｎ  Ｓｍｉｔｈ"}, "name", "John Smith"),
    ({"name": "阿依古丽·买买提"}, "name", "阿依古丽·买买提"),
    ({"name": "张\u200b三\xad"}, "name", "张三"),
    ({"region": "沙塘社区居委会"}, "region", SHATANG),
    ({"region": "沙塘社区"}, "region", SHATANG),
    ({"region": "沙塘"}, "region", SHATANG),
    ({"region": "一号楼"}, "region", SHATANG + "0101"),
    ({"region": "沙塘社区第一网格"}, "region", PATCH),
    ({"birth_date": "1990年3月7日"}, "birth_date", date(1990, 3, 7)),
]


@pytest.mark.parametrize(("cells", "column", "value"), CELLS)
def test_cells_as_people_write_them(cells: dict[str, str], column: str, value: object) -> None:
    assert getattr(person_of(**cells), column) == value


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"document_number": ""}, "证件号码：证件号码必填"),
        ({"document_number": "无"}, "证件号码：证件号码必填"),
        ({"document_number": "003582900307001"}, "证件号码：这是 15 位旧号码，请填写 18 位身份证号码"),
        ({"phone": "15412345678/15412345679"}, "手机号：每格只能填写一个号码"),
        ({"phone": "15412345678、0595-85661234"}, "手机号：每格只能填写一个号码"),
        ({"name": "张三（户主）"}, "姓名：请去掉姓名中的括号及其内容，如“（户主）”"),
        ({"region": "第一网格"}, f"网格编码：辖区内有多个同名区划，请改填代码：{PATCH}, {OTHER_PATCH}"),
        ({"region": "东海社区"}, f"网格编码：本辖区内没有该社区、片区或网格，请填写代码，如 {SHATANG}"),
        ({"region": "-"}, f"网格编码：必填，请填写网格、片区或社区代码，如 {SHATANG}"),
        (
            {"document_type": "20", "document_number": "E1234567", "sex": "男", "birth_date": "1990"},
            "出生日期：应为日期，如 1990-01-31",
        ),
    ],
)
def test_cells_that_are_refused_say_one_thing(cells: dict[str, str], said: str) -> None:
    assert refusal_of(**cells) == said


@pytest.mark.parametrize("cell", ["3.58219E+17", "3.50582E+17", "350582199001011000"])
def test_digits_that_a_spreadsheet_lost_are_named_with_what_to_do(cell: str) -> None:
    said = refusal_of(document_number=cell)
    assert said.startswith("证件号码：C2 单元格的号码末几位已被 Excel 变成 0 或 E+ 形式，请先把该列设为“文本”格式")


anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30) | st.sampled_from(
    [
        "=1+1",
        '="1"',
        "#N/A",
        "-",
        "无",
        "3.5E+17",
        "'",
        "12月1日",
        number(),
        SHATANG,
        "沙塘",
        "张三",
        "重复行：1",
        "\u202d1",
        "{0}",
    ]
)
HEADED = [*(headings[0] for headings in COLUMNS.values()), "行号", "错误", "备注"]


def seen(cell: str) -> str:
    """A cell without what no text file and no workbook may hold."""
    return "".join(character for character in cell if character >= " " and character not in "\x7f\ufffe\uffff")


@given(st.lists(st.lists(anything.map(seen), min_size=len(HEADED), max_size=len(HEADED)), max_size=6))
def test_every_row_of_any_text_is_taken_refused_or_ignored(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([HEADED, *rows])
    checker = Checker(Homes(REGIONS), TODAY, demonstration=True)
    found = list(read_rows(io.BytesIO(text.getvalue().encode())))
    assert len(found) == len([row for row in rows if any(map(str.strip, row))])
    for row in found:
        outcome = checker.check(row)
        if isinstance(outcome, list):
            assert describe(outcome, "zh-CN")
            assert describe(outcome, "en")
            continue
        for column, cell in given_values(row).items():
            kept = getattr(outcome, "household_id" if column == "household" else column)
            assert kept is not None or is_placeholder(cell), "a value was lost"


@given(st.lists(anything.map(seen), min_size=1, max_size=12))
def test_any_heading_is_understood_or_named(headings: list[str]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([headings, ["x"]])
    try:
        assert len(read(text.getvalue())) <= 1
    except FileFault as caught:
        fault = problem_of(caught)
    else:
        return
    assert fault.detail("zh-CN")
    assert fault.detail("en")
