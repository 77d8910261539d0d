"""The error file: what it says, that nothing in it runs, and its way back."""

import csv
import io
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from services.registry.imports import columns
from services.registry.imports.columns import COLUMNS
from services.registry.imports.error_file import write_errors
from services.registry.imports.faults import RowFault
from services.registry.imports.messages import RowProblem
from services.registry.imports.reading import RawRow
from tests.registry.uploads import HEADER, ROW, VALUES, read

WRONG = [RowProblem("id_check_digit", "document_number")]


def errors_of(rows: Iterable[RawRow]) -> bytes:
    return b"".join(write_errors(((row, WRONG) for row in rows), "zh-CN"))


def test_an_error_file_says_where_and_what() -> None:
    content = errors_of(read(f"{HEADER}\n\n{ROW}"))
    assert content.startswith(b"\xef\xbb\xbf")
    header, row = csv.reader(io.StringIO(content.decode("utf-8-sig")))
    assert header == [*(headings[0] for headings in COLUMNS.values()), "行号", "错误"]
    said = dict(zip(header, row, strict=True))
    assert (said["姓名"], said["行号"], said["错误"]) == ("张三", "3", "证件号码：身份证号码校验码有误，请核对证件")


def test_nothing_in_an_error_file_runs() -> None:
    bad = VALUES | {"name": "=1+1", "phone": "+8613800005678", "address": "@SUM(A1)"}
    content = b"".join(write_errors([(RawRow(2, bad), WRONG)], "zh-CN")).decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(content)) for cell in row]
    assert "'=1+1" in cells
    assert "'+8613800005678" in cells
    assert not [cell for cell in cells if cell.startswith(tuple(columns.FORMULA_SIGNS))]


def test_an_error_file_can_be_sent_again() -> None:
    sent = read(
        f"{HEADER}\n{ROW}\n{ROW.replace('张三', '=张三')}\n{ROW.replace('13800005678', '+8613800005678')}\n张三"
    )
    again = read(errors_of(sent))
    assert [row.values for row in again] == [row.values for row in sent]
    assert [row.line for row in again] == [2, 3, 4, 5]
    assert again[1].faults == (RowFault("formula", "name", "A3"),)
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
    pieces = list(write_errors(((RawRow(line, VALUES), WRONG) for line in range(5_000)), "zh-CN"))
    assert len(pieces) > 5
    assert len(read(b"".join(pieces))) == 5_000
