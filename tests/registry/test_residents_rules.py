"""R2: the rules of what is shown of an address, how long a tag holds, and what a request comes to."""

from datetime import date

import pytest

from services.registry.residents import rules
from services.registry.residents.rules import Validity, mask_address, retag
from shared.core.regions import range_of
from tests.registry.people import ELSEWHERE, SHATANG


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("晋江市新塘街道沙塘社区1区5号", "晋江市新塘街道沙塘社区****"),
        ("新塘街道荆山村祠堂边", "新塘街道荆山村****"),
        ("5号楼李家村", "****"),
        ("某处", "****"),
    ],
)
def test_an_address_is_masked_down_to_its_community(address: str, masked: str) -> None:
    assert mask_address(address) == masked


TODAY, FIRST, YESTERDAY = date(2021, 1, 20), date(2021, 1, 1), date(2021, 1, 19)


@pytest.mark.parametrize(
    ("held", "said", "after"),
    [
        (Validity(), None, Validity()),
        (Validity(), True, Validity(TODAY)),
        (Validity(), False, Validity()),
        (Validity(FIRST), None, Validity(FIRST)),
        (Validity(FIRST), True, Validity(FIRST)),
        (Validity(FIRST), False, Validity(FIRST, YESTERDAY)),
        (Validity(TODAY), False, Validity()),
        (Validity(FIRST, YESTERDAY), True, Validity(TODAY)),
        (Validity(FIRST, YESTERDAY), False, Validity(FIRST, YESTERDAY)),
        (Validity(FIRST, TODAY), True, Validity(FIRST, TODAY)),
    ],
)
def test_a_tag_changes_only_when_something_else_is_said(held: Validity, said: bool | None, after: Validity) -> None:
    assert retag(held, said, TODAY) == after


@pytest.mark.parametrize(
    ("region", "state", "reason", "verdict"),
    [
        (SHATANG, "active", None, "exists"),
        (SHATANG, "closed", "died", "exists"),
        (SHATANG, "closed", "moved_away", "returns"),
        (SHATANG, "closed", "entered_wrongly", "returns"),
        (ELSEWHERE, "active", None, "claim"),
        (ELSEWHERE, "closed", "died", "claim"),
        (ELSEWHERE, "closed", "moved_away", "returns"),
        (ELSEWHERE, "closed", "entered_wrongly", "returns"),
    ],
)
def test_what_a_request_comes_to(region, state, reason, verdict) -> None:
    assert rules.verdict(region, state, reason, range_of("350582005")) == verdict


def test_transfers_are_decided_once() -> None:
    states, moves = ("asked", "accepted", "refused", "done"), ("accept", "refuse", "carry_out", "lapse")
    allowed = {(state, move) for state in states for move in moves if (state, move) in rules.TRANSFER_MOVES}
    assert allowed == {("asked", "accept"), ("asked", "refuse"), ("accepted", "carry_out"), ("accepted", "lapse")}
