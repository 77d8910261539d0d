"""Uploaded files: what is read, what is refused and by which name, and the error file's way back."""

import csv
import io
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.imports import columns, reading, workbook
from services.registry.imports.columns import COLUMNS
from services.registry.imports.error_file import write_errors
from services.registry.imports.faults import FILE_CODES, ROW_CODES, FileFault, RowFault
from services.registry.imports.reading import RawRow, read_rows

HEADER = "姓名,证件号码,手机号,网格编码,住址"
PLAIN_HEADER = "name,document_number,region\n"
ROW = "张三,11010519491231002X,13800005678,3505820050010101,沙塘社区1号"
VALUES = {
    "name": "张三",
    "document_number": "11010519491231002X",
    "phone": "13800005678",
    "region": "3505820050010101",
    "address": "沙塘社区1号",
}


def read(content: str | bytes, encoding: str = "utf-8") -> list[RawRow]:
    return list(read_rows(io.BytesIO(content.encode(encoding) if isinstance(content, str) else content)))


def fault_of(content: str | bytes, encoding: str = "utf-8") -> FileFault:
    with pytest.raises(FileFault) as caught:
        read(content, encoding)
    assert caught.value.code in FILE_CODES
    return caught.value


def answer_to(content: bytes) -> str:
    """The code of the fault, or that all could be read."""
    try:
        rows = read(content)
    except FileFault as fault:
        return fault.code
    assert all(row.values.keys() == COLUMNS.keys() and row.line >= 1 for row in rows)
    return "read"


def given_values(row: RawRow) -> dict[str, str]:
    return {column: cell for column, cell in row.values.items() if cell}


# CSV


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_file_is_read_in_its_encoding(encoding: str, newline: str) -> None:
    rows = read(newline.join([HEADER, ROW, ROW.replace("张三", "李四"), ""]), encoding)
    assert [row.line for row in rows] == [2, 3]
    assert given_values(rows[0]) == VALUES
    assert rows[1].values["name"] == "李四"
    assert all(row.faults == () and row.values.keys() == COLUMNS.keys() for row in rows)


def test_rare_characters_of_gb18030() -> None:
    assert read(f"{HEADER}\n{ROW.replace('张三', '张𠮷㛃')}", "gb18030")[0].values["name"] == "张𠮷㛃"


def test_headings_in_english_and_in_any_order() -> None:
    rows = read("Region ,document_number,NAME*\n3505820050010101,11010519491231002X,张三\n")
    assert given_values(rows[0]) == {key: VALUES[key] for key in ("name", "document_number", "region")}


def test_lines_are_those_of_the_editor() -> None:
    quoted = ROW.replace("沙塘社区1号", '"沙塘社区\n1号, ""东"""')
    rows = read(f"\n{HEADER}\n{quoted}\n\n,,,,\n{ROW}")
    assert [row.line for row in rows] == [3, 7]
    assert rows[0].values["address"] == '沙塘社区\n1号, "东"'
    assert rows[0].faults == ()


def test_white_space_around_cells_means_nothing() -> None:
    rows = read(f"{HEADER}\n 张三 ,\t11010519491231002X\t,  13800005678 ,3505820050010101,\u3000沙塘社区1号 \n")
    assert given_values(rows[0]) == VALUES
    assert rows[0].faults == ()


def test_a_last_line_without_end_and_empty_cells_beyond_the_header() -> None:
    assert given_values(read(f"{HEADER},,\n{ROW},,,")[0]) == VALUES


@pytest.mark.parametrize(
    ("header", "code", "values"),
    [
        ("姓名,证件号码", "column_missing", {"columns": ["region"], "found": []}),
        ("姓名,证件号马,网格编码", "column_missing", {"columns": ["document_number"], "found": ["证件号马"]}),
        (HEADER + ",血型", "column_unknown", {"columns": ["血型"]}),
        ("姓名,,证件号码,网格编码", "column_unknown", {"columns": [""]}),
        (HEADER + ",name", "column_twice", {"columns": ["name"]}),
        (
            "姓名;证件号码;网格编码",
            "column_missing",
            {"columns": list(columns.REQUIRED), "found": ["姓名;证件号码;网格编码"]},
        ),
    ],
)
def test_headers_that_are_refused(header: str, code: str, values: dict[str, object]) -> None:
    fault = fault_of(f"{header}\n{ROW}")
    assert (fault.code, fault.values) == (code, values)


@pytest.mark.parametrize("content", ["", "\n\n", ",,,\n", "\ufeff", " , \n"])
def test_an_empty_file(content: str) -> None:
    assert fault_of(content).code == "empty"


def test_a_header_alone_has_no_rows() -> None:
    assert read(HEADER) == []


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}\n{ROW}".encode("utf-16"),
        f"{HEADER}\n{ROW}".encode()[:-1],
        (PLAIN_HEADER + "张三丰,1,2\n" * 50 + "李").encode()[:-1],
        (PLAIN_HEADER + "张三丰,1,2\n" * 9000).encode() + "李四".encode("gb18030") + b",1,2\n",
        b"name,document_number,region\n\xff\xff\xff,1,2\n",
        f"{HEADER}\n".encode("gb18030") + b"\x81",
    ],
)
def test_encodings_that_are_not_guessed_at(content: bytes) -> None:
    assert fault_of(content).code == "wrong_encoding"


@pytest.mark.parametrize("control", [b"\x00", b"\x1b", b"\x08"])
def test_control_characters(control: bytes) -> None:
    fault = fault_of(f"{HEADER}\n{ROW}\n".encode() + b"a" + control + b",b\n")
    assert (fault.code, fault.values) == ("control_character", {"line": 3})


@pytest.mark.parametrize(
    ("cell", "line"),
    [('"never closed', 3), ('"closed" too early', 3), ('"' + "long\n" * 200, 3)],
)
def test_quotes_that_do_not_match(cell: str, line: int) -> None:
    fault = fault_of(f"{HEADER}\n{ROW}\n张三,{cell}")
    assert (fault.code, fault.values) == ("quote_wrong", {"line": line})


def test_a_line_without_end() -> None:
    fault = fault_of(f"{HEADER}\n{ROW}\n" + "长" * 100_000)
    assert (fault.code, fault.values["line"]) == ("line_too_long", 3)


def test_one_record_cannot_grow_over_many_lines() -> None:
    fault = fault_of(f"{HEADER}\n" + '"a\n",' * 5_000)
    assert (fault.code, fault.values) == ("quote_wrong", {"line": 2})


class Sized(io.BytesIO):
    """A file that says it is larger than it is."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return reading.FILE_BYTES + 1 if whence == io.SEEK_END else super().seek(offset, whence)


def test_a_file_that_is_too_large_is_not_read() -> None:
    with pytest.raises(FileFault) as caught:
        next(read_rows(Sized(f"{HEADER}\n{ROW}".encode())))
    assert caught.value.code == "too_large"
    assert caught.value.values == {"bytes": reading.FILE_BYTES + 1, "limit": 200 * 1024 * 1024}


def test_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ROWS", 3)
    assert len(read("\n".join([HEADER, *[ROW] * 3]))) == 3
    rows = read_rows(io.BytesIO("\n".join([HEADER, *[ROW] * 4]).encode()))
    assert [next(rows).line for _ in range(3)] == [2, 3, 4]
    with pytest.raises(FileFault, match="too_many_rows"):
        next(rows)


@pytest.mark.parametrize(
    ("column", "cell", "code"),
    [
        ("name", "=cmd|' /C calc'!A0", "formula"),
        ("name", "-1+1", "formula"),
        ("address", "-1", "formula"),
        ("address", "@SUM(A1)", "formula"),
        ("address", "+1", "formula"),
        ("address", "\t=1", "formula"),
        ("name", "＝1", "formula"),
        ("name", "'=1", "formula"),
        ("document_number", '="11010519491231002X"', "formula"),
        ("phone", "=1", "formula"),
        ("phone", "+8613800005678", None),
        ("phone", "+86 13800005678", None),
        ("name", "O'Neil-Smith", None),
        ("name", "张 三", None),
        ("address", "1-2=3", None),
        ("document_number", "3.50582E+17", "number_lost_digits"),
        ("document_number", "3.50582199001011E+17", "number_lost_digits"),
        ("document_number", "350582199001011000", "number_lost_digits"),
        ("document_number", "E12345678", None),
        ("region", "3.50582E+15", "number_lost_digits"),
        ("phone", "1.38E+10", "number_lost_digits"),
        ("address", "3.5E+17", None),
        ("name", "张" * 1_000, None),
        ("name", "张" * 1_001, "cell_too_long"),
        ("name", "张\x85三", None),
        ("name", "张\x7f三", "control_character"),
    ],
)
def test_one_row_is_refused_and_its_neighbours_are_not(column: str, cell: str, code: str | None) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(VALUES)
    for values in (VALUES, VALUES | {column: cell}, VALUES):
        writer.writerow(values.values())
    rows = read(text.getvalue())
    assert [row.line for row in rows] == [2, 3, 4]
    assert [row.faults for row in rows] == [(), (RowFault(code, column),) if code else (), ()]  # type: ignore[arg-type]
    assert given_values(rows[0]) == given_values(rows[2]) == VALUES
    assert code is None or code in ROW_CODES
    assert all(len(value) <= columns.CELL_CHARACTERS for value in rows[1].values.values())


def test_three_zeros_at_the_end_may_be_right() -> None:
    digits = next(
        f"3505821990010{n:02d}00" for n in range(1, 32) if columns.check_digit(f"3505821990010{n:02d}00"[:17]) == "0"
    )
    assert read(f"{HEADER}\n{ROW.replace('11010519491231002X', digits + '0')}")[0].faults == ()


@pytest.mark.parametrize("row", [ROW + ",more", ROW.rpartition(",")[0], "张三"])
def test_a_row_of_another_length(row: str) -> None:
    rows = read(f"{HEADER}\n{row}\n{ROW}")
    assert rows[0].faults == (RowFault("row_length", ""),)
    assert rows[0].values.keys() == COLUMNS.keys()
    assert rows[0].values["name"] == "张三"
    assert rows[1].faults == ()


@given(st.binary(max_size=400))
def test_any_bytes_are_answered(content: bytes) -> None:
    assert answer_to(content) in (*FILE_CODES, "read")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=200))
def test_any_text_below_a_header_is_answered(text: str) -> None:
    assert answer_to(f"{HEADER}\n{text}".encode()) in ("quote_wrong", "control_character", "read")


awkward = st.text(st.sampled_from([*"a1E0 '=+-@,", "张", "＝", "\u3000", "\xa0", "\t", "\n", "\x85"]), max_size=6)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, awkward | st.just("350582199001011000"))), max_size=4))
def test_the_quick_look_misses_nothing(rows: list[dict[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([values[column] for column in COLUMNS] for values in rows)
    expected = [
        {column: columns.read_cell(column, values[column]) for column in COLUMNS}
        for values in rows
        if any(map(str.strip, values.values()))
    ]
    found = read(text.getvalue())
    assert [row.values for row in found] == expected
    assert [row.faults for row in found] == [tuple(columns.cell_faults(values)) for values in expected]


def test_reading_leaves_the_file_open_and_can_begin_again() -> None:
    file = io.BytesIO(f"{HEADER}\n{ROW}\n{ROW}".encode())
    first = read_rows(file)
    next(first)
    first.close()
    assert len(list(read_rows(file))) == 2
    assert not file.closed


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    path.write_text("\n".join([HEADER, *[ROW] * 100_000]), encoding="utf-8")
    with path.open("rb") as file:
        tracemalloc.start()
        count = sum(1 for _ in read_rows(file))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 100_000
    assert path.stat().st_size > 7_000_000
    assert peak < 2_000_000


# Cells


@pytest.mark.parametrize(
    ("cell", "flag"),
    [
        ("是", True),
        ("1", True),
        ("TRUE", True),
        ("", False),
        ("否", False),
        ("0", False),
        ("false", False),
        ("无", False),
    ],
)
def test_flags(cell: str, flag: bool) -> None:
    assert columns.read_flag(cell) is flag


@pytest.mark.parametrize(
    ("cell", "day"),
    [
        ("1990-01-31", date(1990, 1, 31)),
        ("1990/1/31", date(1990, 1, 31)),
        ("19900131", date(1990, 1, 31)),
        ("1990年1月31日", date(1990, 1, 31)),
        ("1990.1.31", date(1990, 1, 31)),
        ("", None),
    ],
)
def test_dates(cell: str, day: date | None) -> None:
    assert columns.read_date(cell) == day


@pytest.mark.parametrize(("cell", "sex"), [("男", "male"), ("2", "female"), ("Female", "female"), ("", None)])
def test_sexes(cell: str, sex: str | None) -> None:
    assert columns.read_sex(cell) == sex


@pytest.mark.parametrize(
    ("read_it", "cell", "code"),
    [
        (columns.read_flag, "也许", "flag_form"),
        (columns.read_date, "1990-02-30", "date_form"),
        (columns.read_date, "31.1.1990", "date_form"),
        (columns.read_date, "1990", "date_form"),
        (columns.read_date, "0000-01-01", "date_form"),
        (columns.read_sex, "未知", "sex_form"),
    ],
)
def test_cells_that_cannot_be_read(read_it: Callable[[str], object], cell: str, code: str) -> None:
    with pytest.raises(columns.CellError) as caught:
        read_it(cell)
    assert caught.value.code == code


# The error file


def errors_of(rows: Iterable[RawRow]) -> bytes:
    return b"".join(write_errors((row, "证件号码的校验码不对") for row in rows))


def test_an_error_file_says_where_and_what() -> None:
    content = errors_of(read(f"{HEADER}\n\n{ROW}"))
    assert content.startswith(b"\xef\xbb\xbf")
    header, row = csv.reader(io.StringIO(content.decode("utf-8-sig")))
    assert header == [*(headings[0] for headings in COLUMNS.values()), "行号", "错误"]
    said = dict(zip(header, row, strict=True))
    assert (said["姓名"], said["行号"], said["错误"]) == ("张三", "3", "证件号码的校验码不对")


def test_nothing_in_an_error_file_runs() -> None:
    bad = VALUES | {"name": "=1+1", "phone": "+8613800005678", "address": "@SUM(A1)"}
    content = b"".join(write_errors([(RawRow(2, bad), "=2+2")])).decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(content)) for cell in row]
    assert "'=1+1" in cells
    assert "'+8613800005678" in cells
    assert "'=2+2" in cells
    assert not [cell for cell in cells if cell.startswith(tuple(columns.FORMULA_SIGNS))]


def test_an_error_file_can_be_sent_again() -> None:
    sent = read(
        f"{HEADER}\n{ROW}\n{ROW.replace('张三', '=张三')}\n{ROW.replace('13800005678', '+8613800005678')}\n张三"
    )
    again = read(errors_of(sent))
    assert [row.values for row in again] == [row.values for row in sent]
    assert [row.line for row in again] == [2, 3, 4, 5]
    assert again[1].faults == (RowFault("formula", "name"),)
    corrected = errors_of(sent).decode("utf-8-sig").replace("'=张三", "张三")
    assert read(corrected)[1].faults == ()


cells = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), max_size=20) | st.builds(
    lambda sign, rest: sign + rest,
    st.sampled_from([*columns.FORMULA_SIGNS[:4], "'", "''=", "'-"]),
    st.text("ab1'=", max_size=5),
)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, cells)), min_size=1, max_size=5))
def test_any_row_survives_the_way_there_and_back(rows: list[dict[str, str]]) -> None:
    kept = [{column: columns.read_cell(column, cell) for column, cell in values.items()} for values in rows]
    # What reading keeps is what it is given again: one more reading may still take an apostrophe from a number.
    kept = [
        {column: columns.read_cell(column, columns.neutralise(cell)) for column, cell in row.items()} for row in kept
    ]
    again = read(errors_of(RawRow(2, values) for values in kept))
    expected = [
        {column: columns.read_cell(column, columns.neutralise(cell)) for column, cell in row.items()} for row in kept
    ]
    assert [row.values for row in again] == expected


def test_a_long_error_file_comes_in_pieces() -> None:
    pieces = list(write_errors((RawRow(line, VALUES), "错") for line in range(5_000)))
    assert len(pieces) > 5
    assert len(read(b"".join(pieces))) == 5_000


# XLSX


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
        RowFault("number_lost_digits", "document_number"),
        RowFault("number_lost_digits", "region"),
    }
    assert (rows[1].values["birth_date"], rows[1].values["household"]) == ("1990-01-31", "1.5")
    assert rows[2].faults == (RowFault("formula", "name"),)


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
    assert rows[0].faults == (RowFault("control_character", "name"),)


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
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "column_missing"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "control_character"),
        (b'{"name": 1}', "column_missing"),
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
