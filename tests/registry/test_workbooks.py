"""Uploaded workbooks: read as a CSV is, and no bomb."""

import io
import zipfile
from collections.abc import Callable, Iterable
from datetime import date, datetime

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.imports import reading, workbook
from services.registry.imports.faults import FILE_CODES, RowFault
from services.registry.imports.reading import RawRow
from tests.registry.uploads import HEADER, ROW, VALUES, answer_to, fault_of, given_values, read


def book(*rows: Iterable[object], before: Callable[[openpyxl.Workbook], None] | None = None) -> bytes:
    made = openpyxl.Workbook()
    sheet = made.active
    assert sheet is not None
    for row in rows:
        sheet.append(list(row))
    if before:
        before(made)
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


def test_a_workbook_reads_as_a_csv_does() -> None:
    rows = read(book(HEADER.split(","), ROW.split(","), [], ROW.split(",")))
    assert [row.line for row in rows] == [2, 4]
    assert given_values(rows[0]) == VALUES
    assert rows == [RawRow(row.line, rows[0].values) for row in rows]


MIDNIGHT = datetime(1990, 1, 31)  # noqa: DTZ001 - a spreadsheet knows no time zones


def test_the_cells_of_a_workbook() -> None:
    header = [*HEADER.split(","), "户号", "出生日期", "孕产妇"]
    rows = read(
        book(
            header,
            ["张三", "E12345678", 13800005678, "3505820050010101", "1号", 12.0, date(1990, 1, 31), True],
            ["李四", 350582199001011234, 13800005678, 3505820050010101, None, 1.5, MIDNIGHT, False],
            ["'=1", "A1234567", "+8613800005678", "350582005001", "=1+1", "", "1990/1/31", "否"],
        )
    )
    assert given_values(rows[0]) == {
        "name": "张三",
        "document_number": "E12345678",
        "phone": "13800005678",
        "region": "3505820050010101",
        "address": "1号",
        "household": "12",
        "birth_date": "1990-01-31",
        "pregnant": "1",
    }
    assert rows[0].faults == ()
    assert set(rows[1].faults) == {
        RowFault("number_lost_digits", "document_number", "B3"),
        RowFault("number_lost_digits", "region", "D3"),
    }
    assert (rows[1].values["birth_date"], rows[1].values["household"]) == ("1990-01-31", "1.5")
    assert set(rows[2].faults) == {
        RowFault("formula", "name", "A4"),
        RowFault("formula_not_calculated", "address", "E4"),
    }


def test_a_sheet_that_begins_elsewhere_keeps_its_row_numbers() -> None:
    rows = read(book([], [], [None, *HEADER.split(",")], [None, *ROW.split(",")]))
    assert [row.line for row in rows] == [4]


def test_the_first_sheet_that_is_shown_is_read() -> None:
    def hide(made: openpyxl.Workbook) -> None:
        sheet = made.create_sheet("数据")
        sheet.append(HEADER.split(","))
        sheet.append(ROW.split(","))
        made.worksheets[0].sheet_state = "hidden"
        made.active = 1

    assert len(read(book(["字典"], before=hide))) == 1


def test_control_characters_in_a_workbook() -> None:
    rows = read(book(HEADER.split(","), ROW.replace("张三", "张_x0000_三").split(",")))
    assert rows[0].faults == (RowFault("control_character", "name", "A2"),)


def archive(members: dict[str, bytes], *, base: bytes | None = None, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A workbook whose parts are replaced or added to."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(base or book(HEADER.split(","), ROW.split(",")))) as old:
        parts = {name: old.read(name) for name in old.namelist()} | members
    with zipfile.ZipFile(file, "w", method) as new:
        for name, content in parts.items():
            new.writestr(name, content)
    return file.getvalue()


def sheet_of(cells: str) -> dict[str, bytes]:
    start = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    return {"xl/worksheets/sheet1.xml": f"{start}{cells}</sheetData></worksheet>".encode()}


def test_a_bomb_is_found_by_its_ratio() -> None:
    content = archive({"xl/media/zeros.xml": b"\0" * 50_000_000})
    assert len(content) < 100_000
    assert fault_of(content).code == "archive_bomb"


def test_a_bomb_is_found_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "UNPACKED_BYTES", 100_000)
    fault = fault_of(archive({"xl/big.bin": bytes(range(256)) * 400}))
    assert (fault.code, fault.values["limit"]) == ("archive_bomb", 100_000)


def test_a_bomb_is_found_by_its_members() -> None:
    assert fault_of(archive({f"xl/{n}.xml": b"<a/>" for n in range(1_000)})).code == "archive_bomb"


def test_a_bomb_of_entities() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><sst>&b;</sst>'
    assert fault_of(archive({"xl/sharedStrings.xml": bomb})).code == "archive_bomb"


def test_a_size_that_lies() -> None:
    content = archive(sheet_of("<row>" + "<c><v>1</v></c>" * 10 + "</row>"), method=zipfile.ZIP_STORED)
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        size = made.getinfo("xl/worksheets/sheet1.xml").file_size.to_bytes(4, "little")
    directory = content.rindex(b"xl/worksheets/sheet1.xml")
    at = content.rindex(size, 0, directory)
    assert fault_of(content[:at] + (40).to_bytes(4, "little") + content[at + 4 :]).code == "not_a_table"


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        (
            '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>',
            "too_many_rows",
        ),
        ('<row r="1"><c r="XFD1"><v>1</v></c></row>', "too_many_columns"),
        ("<row>" + "<c><v>1</v></c>" * 33 + "</row>", "too_many_columns"),
        ('<row r="400000"><c><v>1</v></c></row>', "too_many_rows"),
        ("<row>" + '<c r="A1"><c r="XFD1"/><v>1</v></c>' + "</row>", "not_a_table"),
        ('<row r="1"><c r="1A"><v>1</v></c></row>', "not_a_table"),
        ('<row r="-5"><c><v>1</v></c></row>', "not_a_table"),
        ("<row><c>", "not_a_table"),
    ],
)
def test_a_sheet_that_no_memory_could_hold(cells: str, code: str) -> None:
    assert fault_of(archive(sheet_of(cells))).code == code


def test_formats_down_to_the_last_row_are_no_rows() -> None:
    text = '<c r="{0}" t="inlineStr"><is><t>{1}</t></is></c>'
    rows = [
        f'<row r="{number}">'
        + "".join(text.format(f"{column}{number}", cell) for column, cell in zip("ABCDE", cells, strict=True))
        + "</row>"
        for number, cells in enumerate((HEADER.split(","), ROW.split(",")), start=1)
    ]
    formats = '<row r="1048576"><c r="XFD1048576" s="0"/></row>'
    assert [row.line for row in read(archive(sheet_of("".join(rows) + formats)))] == [2]


def test_too_many_rows_in_a_workbook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ROWS", 3)
    assert len(read(book(HEADER.split(","), *[ROW.split(",")] * 3))) == 3
    assert fault_of(book(HEADER.split(","), *[ROW.split(",")] * 4)).code == "too_many_rows"


def encrypted_zip() -> bytes:
    content = bytearray(book(HEADER.split(",")))
    entry = 0
    while (entry := content.find(b"PK\x01\x02", entry)) >= 0:
        content[entry + 8] |= 1
        entry += 4
    return bytes(content)


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (OLE + b"\0" * 2_000, "old_format"),
        (OLE + b"\0" * 65_520 + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
        (encrypted_zip(), "encrypted"),
        (archive({"xl/workbook.bin": b"1"}), "old_format"),
        (b"PK\x03\x04 and nothing more", "not_a_table"),
        (book(HEADER.split(","), ROW.split(","))[:-100], "not_a_table"),
        (archive({"xl/workbook.xml": b"<workbook/>"}), "not_a_table"),
        (archive({}, method=zipfile.ZIP_BZIP2), "not_a_table"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "heading_missing"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "control_character"),
        (b'{"name": 1}', "heading_missing"),
    ],
)
def test_what_is_no_workbook(content: bytes, code: str) -> None:
    assert fault_of(content).code == code


def test_a_zip_without_a_workbook() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("word/document.xml", "<document/>")
    assert fault_of(file.getvalue()).code == "not_a_table"


@given(st.data())
def test_a_damaged_workbook_is_answered(data: st.DataObject) -> None:
    content = bytearray(GOOD_BOOK)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert answer_to(bytes(content)) in (*FILE_CODES, "read")


GOOD_BOOK = archive({}, method=zipfile.ZIP_STORED)
