"""The template and the error file as workbooks: text columns, so that a spreadsheet loses no digit, and a guide."""

import io
from typing import Any

import httpx
import openpyxl
import pytest

from services.registry.imports.columns import COLUMNS
from services.registry.imports.workbook_writer import MEDIA_TYPE as XLSX
from shared.core.actors import Role
from tests.harness import District
from tests.registry.people import IMPORTS, SHATANG, counts, number, person, table, take_in
from tests.registry.test_imports import workbook

BOOK = {"accept": XLSX}


@pytest.fixture
def command(district: District):
    return district.caller("registry", Role.COMMAND)


def opened(answer: httpx.Response) -> openpyxl.Workbook:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == XLSX
    assert ".xlsx" in answer.headers["content-disposition"]
    return openpyxl.load_workbook(io.BytesIO(answer.content))


def saved(book: openpyxl.Workbook) -> bytes:
    """As a spreadsheet saves it."""
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def rows_of(sheet: Any) -> list[dict[str, Any]]:
    heading, *rows = sheet.iter_rows(values_only=True)
    return [dict(zip(heading, row, strict=True)) for row in rows]


@pytest.mark.parametrize(("language", "first", "guide"), [("zh-CN", "姓名", "说明"), ("en", "name", "Instructions")])
async def test_the_template_keeps_digits_and_says_how_to_fill_it_in(
    district: District, command, language: str, first: str, guide: str
) -> None:
    answer = await command.get(f"{IMPORTS}/template", headers=BOOK | {"accept-language": language})
    book = opened(answer)
    people = book.worksheets[0]
    assert [sheet.title for sheet in book.worksheets][1:] == [guide]
    assert people["A1"].value == first
    assert {people.cell(2, column).number_format for column in range(1, len(COLUMNS) + 1)} == {"@"}
    columns = {letter: people.column_dimensions[letter] for letter in "ABCDEFGHIJK"}
    assert {dimension.number_format for dimension in columns.values()} == {"@"}, "in empty cells, too"
    choices = {str(one.sqref).split(":")[0]: one.formula1 for one in people.data_validations.dataValidation}
    assert [choices[cell] for cell in ("H2", "I2", "K2")] == ['"是,否"', '"是,否"', '"男,女"']
    hints = {str(one.sqref): one.prompt for one in people.data_validations.dataValidation}
    assert all(hints[f"{letter}1"] for letter in columns), "each heading says what belongs there"
    assert len(rows_of(book.worksheets[1])) > len(COLUMNS)
    job = await take_in(district, command, saved(book))
    assert (counts(job), job["result"]["sheets_left_out"]) == ((1, 0, 0, 0), [])


async def test_the_error_file_of_a_workbook_is_one_and_comes_back_from_a_spreadsheet_whole(
    district: District, command
) -> None:
    rows = [
        person(1),
        person(1, name="别名"),
        person(3, phone="+86 154 1234", household="0012"),
        person(5, name="@张", address="<沙塘>&\n_x0041_"),
    ]
    job = await take_in(district, command, workbook(rows))
    assert counts(job) == (1, 0, 0, 3)
    book = opened(await command.get(f"{IMPORTS}/{job['id']}/errors", headers={"accept-language": "zh-CN"}))
    people, _, duplicates = book.worksheets
    assert [sheet.title for sheet in book.worksheets] == ["人员", "说明", "重复行"]
    assert [row["姓名"] for row in rows_of(duplicates)] == ["别名"]
    third, fifth = rows_of(people)
    assert (third["证件号码"], third["户号"], third["网格编码"]) == (number(3), "0012", SHATANG)
    assert (third["行号"], fifth["姓名"]) == ("4", "'@张")
    people["D2"], people["A3"] = "15412341234", "张三"
    again = await take_in(district, command, saved(book))
    assert (counts(again), again["total"]) == ((2, 0, 0, 0), 2), "and nobody of the sheet of duplicates"


async def test_the_format_of_the_error_file_is_the_callers_choice(district: District, command) -> None:
    sent_as_csv = await take_in(district, command, table([person(1, name="")]))
    sent_as_book = await take_in(district, command, workbook([person(1, name="")]))
    for job, accept, kind in (
        (sent_as_csv, "*/*", "text/csv; charset=utf-8"),
        (sent_as_csv, XLSX, XLSX),
        (sent_as_book, "*/*", XLSX),
        (sent_as_book, "text/csv", "text/csv; charset=utf-8"),
    ):
        answer = await command.get(f"{IMPORTS}/{job['id']}/errors", headers={"accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    refused = await command.get(f"{IMPORTS}/{sent_as_csv['id']}/errors", headers={"accept": "text/html"})
    assert refused.status_code == 406
