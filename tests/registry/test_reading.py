"""Uploaded files: what is read, what is refused and by which name."""

import csv
import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.imports import columns, reading
from services.registry.imports.columns import COLUMNS
from services.registry.imports.faults import FILE_CODES, ROW_CODES, FileFault, RowFault
from services.registry.imports.reading import read_rows
from tests.registry.uploads import HEADER, PLAIN_HEADER, ROW, VALUES, answer_to, fault_of, faults_of, given_values, read


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
        ("姓名,证件号码", "column_missing", {"line": 1, "columns": ["region"], "unknown": []}),
        (
            "姓名,证件号马,网格编码",
            "column_missing",
            {"line": 1, "columns": ["document_number"], "unknown": ["B 证件号马"]},
        ),
        (HEADER + ",血型", "column_unknown", {"line": 1, "unknown": ["F 血型"]}),
        ("姓名,,证件号码,网格编码,血型", "column_unknown", {"line": 1, "unknown": ["E 血型"]}),
        (HEADER + ",name", "column_twice", {"columns": ["name"], "twice": ["A 姓名", "F name"]}),
        ("甲,乙,丙", "heading_missing", {"columns": ["name", "document_number", "region"], "rows": 10}),
        ("姓名;证件号码;网格编码", "separator_wrong", {}),
        ("姓名\t证件号码\t网格编码", "separator_wrong", {}),
        ("姓名，证件号码，网格编码", "separator_wrong", {}),
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
        ("document_number", '="11010519491231002X"', None),
        ("document_number", '="1"&"2"', "formula"),
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
    assert [faults_of(row) for row in rows] == [[], [(code, column)] if code else [], []]
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


awkward = st.text(
    st.sampled_from([*"a1E0 '=+-@,#", "\u200b", "张", "＝", "\u3000", "\xa0", "\t", "\n", "\x85"]), max_size=6
)


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
    assert [faults_of(row) for row in found] == [
        [(fault.code, fault.column) for fault in columns.cell_faults(values)]
        + [("made_a_date", column) for column in columns.dated_columns(values)]
        for values in expected
    ]


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
