"""What a door decides, whom it admits for how long, and what a receipt of it is worth."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.codes.policy import Colour
from services.gateway.tokens.rules import Subject, issue
from services.gateway.verifications import receipts
from services.gateway.verifications.rules import (
    ALL_SITUATIONS,
    Outcome,
    PointPolicy,
    Situation,
    Verdict,
    Why,
    decide,
    made_at,
    outcomes,
    situation,
    tenths,
)
from shared.crypto.code_tokens import BadToken
from tests.gateway.doors import (
    GREEN,
    KEY,
    NOW,
    OTHER,
    PASS,
    POLICIES,
    RECEIPT_SECRETS,
    RED,
    REGISTER,
    TURN_BACK,
    WINDOW,
    YELLOW,
    scan_id_at,
)

TABLE: list[tuple[str, Colour | None, bool, bool, Verdict, Why]] = [
    ("window", GREEN, False, False, PASS, Why.IN_ORDER),
    ("window", GREEN, True, False, PASS, Why.IN_ORDER),
    ("window", GREEN, False, True, TURN_BACK, Why.FEVER),
    ("window", YELLOW, True, False, TURN_BACK, Why.COLOUR),
    ("window", RED, True, True, TURN_BACK, Why.COLOUR),
    ("window", None, False, False, REGISTER, Why.UNKNOWN_PERSON),
    ("window", None, False, True, TURN_BACK, Why.FEVER),
    ("strict", GREEN, True, False, PASS, Why.IN_ORDER),
    ("strict", GREEN, False, False, TURN_BACK, Why.NEGATIVE_MISSING),
    ("strict", GREEN, False, True, TURN_BACK, Why.FEVER),
    ("strict", YELLOW, True, False, TURN_BACK, Why.COLOUR),
    ("strict", None, False, False, REGISTER, Why.UNKNOWN_PERSON),
    ("gate", YELLOW, False, False, REGISTER, Why.COLOUR),
    ("gate", YELLOW, False, True, TURN_BACK, Why.FEVER),
    ("gate", RED, True, False, TURN_BACK, Why.COLOUR),
    ("gate", None, False, False, TURN_BACK, Why.UNKNOWN_PERSON),
    ("clinic", GREEN, True, False, PASS, Why.IN_ORDER),
    ("clinic", GREEN, False, False, PASS, Why.NEGATIVE_MISSING),
    ("clinic", RED, False, True, PASS, Why.COLOUR),
    ("clinic", GREEN, True, True, PASS, Why.FEVER),
    ("clinic", None, False, False, PASS, Why.UNKNOWN_PERSON),
]


@pytest.mark.parametrize(("policy", "colour", "recent", "fever", "verdict", "why"), TABLE)
def test_decisions(policy: str, colour: Colour | None, recent: bool, fever: bool, verdict: Verdict, why: Why) -> None:
    assert decide(Situation(colour, recent, fever), POLICIES[policy]) == (verdict, why)


any_policy = st.builds(
    lambda colours, **rest: PointPolicy(
        passes=frozenset(c for c, kind in zip(Colour, colours, strict=True) if kind == 0),
        registers=frozenset(c for c, kind in zip(Colour, colours, strict=True) if kind == 1),
        **rest,
    ),
    colours=st.tuples(*[st.integers(0, 2)] * 3),
    negative_within_hours=st.none() | st.integers(1, 720),
    without_negative=st.sampled_from(Verdict),
    fever_celsius=st.integers(360, 400).map(lambda t: t / 10),
    with_fever=st.sampled_from(Verdict),
    unknown_person=st.sampled_from(Verdict),
)


@given(any_policy, st.sampled_from(ALL_SITUATIONS))
def test_a_fever_or_a_missing_test_never_helps(policy: PointPolicy, at: Situation) -> None:
    said = decide(at, policy).verdict
    assert decide(at._replace(fever=True), policy).verdict >= said
    assert decide(at._replace(negative_is_recent=True), policy).verdict <= said


@given(any_policy, st.sampled_from(ALL_SITUATIONS))
def test_a_colour_that_is_not_accepted_never_passes(policy: PointPolicy, at: Situation) -> None:
    if at.colour is not None and at.colour not in policy.passes:
        assert decide(at, policy).verdict is not PASS


@given(any_policy)
def test_a_point_keeps_its_sixteen_outcomes(policy: PointPolicy) -> None:
    kept = outcomes(policy)
    assert len(kept) == 16
    for at in ALL_SITUATIONS:
        assert Outcome.of(kept[at.number]) == decide(at, policy)


@pytest.mark.parametrize(
    "wrong",
    [
        {"registers": frozenset({GREEN})},
        {"negative_within_hours": 0},
        {"negative_within_hours": 721},
        {"fever_celsius": 35.9},
        {"fever_celsius": 40.1},
    ],
)
def test_a_point_policy_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"colour|negative|fever"):
        PointPolicy(**wrong)


def test_tenths_are_exact() -> None:
    assert [tenths(t) for t in (37.3, 37.29, 36.0, 37.25, 40.04)] == [373, 373, 360, 372, 400]
    assert situation(GREEN, None, 37.3, WINDOW, NOW).fever
    assert not situation(GREEN, None, 37.2, WINDOW, NOW).fever


def test_the_time_inside_a_scan_id() -> None:
    assert made_at(scan_id_at(NOW)) == NOW
    with pytest.raises(ValueError, match="UUIDv7"):
        made_at(UUID(int=0x0188_7777_7777_4777_8777_7777_7777_7777))


RECEIPT = receipts.Receipt(UUID(int=1), UUID(int=2), UUID(int=3), NOW)


def test_a_receipt_is_good_for_minutes() -> None:
    text = receipts.write(RECEIPT, KEY)
    assert receipts.read(text, RECEIPT_SECRETS, NOW + timedelta(minutes=9, seconds=59)) == RECEIPT
    with pytest.raises(BadToken, match="expired"):
        receipts.read(text, RECEIPT_SECRETS, NOW + timedelta(minutes=10))


def test_any_character_of_a_receipt_counts() -> None:
    text = receipts.write(RECEIPT, KEY)
    for place in range(len(text)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(BadToken):
            receipts.read(changed, RECEIPT_SECRETS, NOW)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "malformed"),
        (receipts.write(RECEIPT, KEY)[:-1], "malformed"),
        (receipts.write(RECEIPT, OTHER), "unknown_key"),
        (issue(Subject(UUID(int=1), GREEN), KEY, NOW), "malformed"),
    ],
)
def test_what_is_no_receipt_of_ours(text: str, fault: str) -> None:
    with pytest.raises(BadToken, match=fault):
        receipts.read(text, RECEIPT_SECRETS, NOW)
