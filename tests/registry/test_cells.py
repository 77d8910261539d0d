"""Cells of uploaded files: flags, dates and sexes as people write them."""

from collections.abc import Callable
from datetime import date

import pytest

from services.registry.imports import columns


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
