"""Regions: what a range holds, and what it does not."""

import pytest

from shared.core.regions import NOTHING, OUTSIDE, covers, lies_under, range_of


@pytest.mark.parametrize(
    ("region", "scope", "within"),
    [("350582005", "350582005", True), ("350582005001", "350582005", True), ("350582", "350582005", False),
     ("", "350582005", False), ("", "", True), ("350582006", "350582005", False),
     (OUTSIDE, "", True), (OUTSIDE, "350582005", False)],
)  # fmt: skip
def test_what_lies_within_a_range(region: str, scope: str, within: bool) -> None:
    assert covers(range_of(scope), region) is within
    assert lies_under(region, scope) is within


@pytest.mark.parametrize("region", ["", "350582005", OUTSIDE])
def test_nothing_holds_nothing(region: str) -> None:
    assert not covers(NOTHING, region)
