"""The rules of testing, without a database: every pair of every state machine, and what becomes of a swab."""

import dataclasses
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.testing.boxes import rules as boxes
from services.testing.campaigns import rules as campaigns
from services.testing.results import rules as results
from services.testing.retests import rules as retests
from services.testing.tubes import rules as tubes
from services.testing.tubes.rules import Decision, PersonFacts, RoundFacts, Swab, TubeFacts
from shared.contracts.testing import CampaignState, Outcome, TubeState

NOW = datetime(2021, 1, 20, 2, tzinfo=UTC)
AHEAD = timedelta(minutes=5)
ROUND = UUID(int=1)
TUBE = UUID(int=2)
SWAB = UUID(int=3)
POOL = UUID(int=4)
SOMEBODY = UUID(int=5)
NUMBER = tubes.number_of(1)

ALLOWED_TUBES = {
    "open": {"seal": "sealed", "discard": "discarded"},
    "sealed": {"depart": "in_transit", "receive": "received", "discard": "discarded"},
    "in_transit": {"receive": "received", "discard": "discarded"},
    "received": {"report": "resulted", "discard": "discarded"},
    "resulted": {"report": "resulted", "give_up": "discarded"},
    "discarded": {},
}
ALLOWED_CAMPAIGNS = {
    "planned": {"open": "open", "cancel": "cancelled"},
    "open": {"close": "closed", "cancel": "cancelled"},
    "closed": {},
    "cancelled": {},
}
ALLOWED_BOXES = {
    "packed": {"pick_up": "picked_up", "depart": "in_transit", "receive": "received"},
    "picked_up": {"depart": "in_transit", "receive": "received"},
    "in_transit": {"receive": "received"},
    "received": {"receive": "received"},
}
ALLOWED_RETESTS = {
    "called": {"sample": "sampled", "settle": "settled", "withdraw": "withdrawn"},
    "sampled": {"move": "sampled", "recall": "called", "settle": "settled", "withdraw": "withdrawn"},
    "settled": {"recall": "called", "settle": "settled"},
    "withdrawn": {"call": "called"},
}


@pytest.mark.parametrize(("state", "by"), list(product(get_args(TubeState), get_args(tubes.TubeMove))))
def test_moves_of_tubes(state: TubeState, by: tubes.TubeMove) -> None:
    assert tubes.move(state, by) == ALLOWED_TUBES[state].get(by)
    assert (state in tubes.states_before(by)) == (by in ALLOWED_TUBES[state])


@pytest.mark.parametrize("outcome", [None, *get_args(Outcome)])
def test_only_a_result_that_is_held_and_in_force_for_nobody_is_given_up(outcome: Outcome | None) -> None:
    assert tubes.discard_move(outcome, missing=0) == "discard"
    assert tubes.discard_move(outcome, missing=1) == ("give_up" if outcome in ("negative", "invalid") else "discard")


@pytest.mark.parametrize(("state", "by"), list(product(get_args(CampaignState), get_args(campaigns.CampaignMove))))
def test_moves_of_campaigns(state: CampaignState, by: campaigns.CampaignMove) -> None:
    assert campaigns.move(state, by) == ALLOWED_CAMPAIGNS[state].get(by)


@pytest.mark.parametrize(("state", "by"), list(product(get_args(boxes.BoxState), get_args(boxes.BoxMove))))
def test_moves_of_boxes(state: boxes.BoxState, by: boxes.BoxMove) -> None:
    assert boxes.move(state, by) == ALLOWED_BOXES[state].get(by)


@pytest.mark.parametrize(("state", "by"), list(product(get_args(retests.RetestState), get_args(retests.RetestMove))))
def test_moves_of_retests(state: retests.RetestState, by: retests.RetestMove) -> None:
    assert retests.RETEST_MOVES.get((state, by)) == ALLOWED_RETESTS[state].get(by)
    assert (state in retests.states_before(by)) == (by in ALLOWED_RETESTS[state])


@given(st.integers(0, 10**11 - 1))
def test_a_tube_number_is_read_back_and_one_wrong_digit_is_noticed(serial: int) -> None:
    number = tubes.number_of(serial)
    assert len(number) == 12
    assert tubes.serial_of(number) == serial
    for place in range(12):
        for digit in "0123456789":
            wrong = number[:place] + digit + number[place + 1 :]
            assert wrong == number or tubes.serial_of(wrong) is None


def test_a_check_digit_is_gs1s() -> None:
    assert tubes.check_digit("629104150021") == "3"  # the example of the GS1 General Specifications


@pytest.mark.parametrize(
    "text", ["", "1", "00000000013", "0000000001300", "00000000013x", "١٢٣٤٥٦٧٨٩٠١٢", "            "]
)
def test_what_is_no_tube_number(text: str) -> None:
    assert tubes.serial_of(text) is None


def decide(
    *,
    offline: bool = False,
    at: datetime = NOW,
    tube: dict[str, Any] | None = None,
    person: dict[str, Any] | None = None,
    of: dict[str, Any] | None = None,
) -> Decision:
    """Decide a swab that nothing speaks against, but for what is said."""
    around: dict[str, Any] = {
        "id": ROUND,
        "state": "open",
        "opens_at": NOW - timedelta(hours=1),
        "closes_at": NOW + timedelta(hours=1),
        "opened_at": NOW - timedelta(hours=1),
        "ended_at": None,
    }
    facts: dict[str, Any] = {"id": TUBE, "state": "open", "capacity": 10, "people": 0, "manifest": None}
    return tubes.decide(
        Swab(SWAB, ROUND, NUMBER, SOMEBODY, at, offline),
        TubeFacts(**facts | {"round": RoundFacts(**around | (of or {}))} | (tube or {})),
        PersonFacts(**{"known": True} | (person or {})),
        NOW,
        AHEAD,
    )


SEALED = {"state": "sealed", "manifest": frozenset({UUID(int=9)})}
LISTED = {"state": "sealed", "manifest": frozenset({SWAB})}
ENDED = {"state": "closed", "ended_at": NOW - timedelta(minutes=10)}


@pytest.mark.parametrize(
    ("given_", "online", "offline"),
    [
        ({}, None, None),
        ({"at": NOW + timedelta(minutes=5)}, None, None),
        ({"at": NOW + timedelta(minutes=5, seconds=1)}, "clock_ahead", "clock_ahead"),
        ({"tube": {"people": 10}}, "tube_full", ("over_capacity",)),
        ({"tube": {"people": 9}}, None, None),
        ({"tube": SEALED}, "tube_sealed", "not_in_manifest"),
        ({"tube": LISTED}, None, None),
        ({"tube": LISTED | {"people": 10}}, ("over_capacity",), ("over_capacity",)),
        ({"tube": LISTED | {"state": "resulted"}}, None, None),
        ({"tube": LISTED | {"state": "discarded"}}, "tube_discarded", "tube_discarded"),
        ({"person": {"known": False}}, "resident_unknown", "resident_unknown"),
        ({"person": {"active": False}}, "resident_unknown", None),
        ({"person": {"counted": True}}, "twice_in_round", ("twice_in_round",)),
        ({"person": {"tubes": {TUBE}}}, "twice_in_round", ("twice_in_round",)),
        ({"person": {"tubes": {POOL}}}, None, None),
        ({"person": {"single_only": True}}, "single_only", ("single_only",)),
        ({"person": {"single_only": True}, "tube": {"capacity": 1}}, None, None),
        ({"of": {"state": "planned", "opened_at": None}}, "campaign_not_open", "campaign_not_open"),
        ({"of": ENDED}, "campaign_not_open", ("after_close",)),
        ({"of": ENDED, "at": NOW - timedelta(minutes=20)}, "campaign_not_open", None),
        ({"of": {"closes_at": NOW - timedelta(seconds=1)}}, "campaign_not_open", ("after_close",)),
        ({"at": NOW - timedelta(hours=2)}, "sampled_before_round", "sampled_before_round"),
        ({"of": {"id": POOL}}, "tube_of_other_round", "tube_of_other_round"),
    ],
)
def test_what_becomes_of_a_swab(given_: dict[str, Any], online: Any, offline: Any) -> None:
    for is_offline, expected in ((False, online), (True, offline)):
        decision = decide(offline=is_offline, **given_)
        refused = expected if isinstance(expected, str) else None
        exception = expected[0] if isinstance(expected, tuple) else None
        assert (decision.refused, decision.exception) == (refused, exception)


def test_a_tube_nobody_knows() -> None:
    swab = Swab(SWAB, ROUND, NUMBER, SOMEBODY, NOW, True)
    assert tubes.decide(swab, None, PersonFacts(known=True), NOW, AHEAD).refused == "tube_unknown"


@pytest.mark.parametrize("offline", [False, True])
def test_only_a_later_swab_in_a_tube_of_ones_own_answers_a_pool(offline: bool) -> None:
    called = {"called_by": {POOL: NOW - timedelta(minutes=30)}, "counted": True, "single_only": True}
    single = {"capacity": 1}
    later = decide(offline=offline, tube=single, person=called)
    assert later == Decision(answers=(POOL,))
    assert not later.counted
    after_close = decide(offline=offline, tube=single, person=called, of=ENDED)
    assert after_close.answers == (POOL,)
    same_moment = called | {"called_by": {POOL: NOW}}
    for not_an_answer in (
        decide(offline=offline, tube=single, person=same_moment),
        decide(offline=offline, person=called),
    ):
        assert not_an_answer.answers == ()
        assert not not_an_answer.counted
    pool, early = decide(offline=offline, person=called), decide(offline=offline, tube=single, person=same_moment)
    told = (pool.refused, early.refused) if not offline else (pool.exception, early.exception)
    assert told == (("twice_in_round",) * 2 if offline else ("single_only", "sampled_before_call"))
    full = decide(offline=offline, tube=single | {"people": 1}, person=called)
    assert full.answers == ()
    assert "over_capacity" in (full.exception or "over_capacity")


def test_a_moved_sample_leaves_behind_what_was_wrong_with_the_tube() -> None:
    assert tubes.after_move("over_capacity", target_capacity=10) is None
    assert tubes.after_move("single_only", target_capacity=1) is None
    assert tubes.after_move("single_only", target_capacity=10) == "single_only"
    assert tubes.after_move("twice_in_round", target_capacity=1) == "twice_in_round"
    assert tubes.after_move(None, target_capacity=10) is None


REPORTS = st.builds(
    results.Report, st.sampled_from(get_args(Outcome)), st.integers(1, 4), st.just(NOW - timedelta(hours=1))
)


@given(st.lists(REPORTS, max_size=12))
def test_the_highest_revision_wins_whatever_the_order(reports: list[results.Report]) -> None:
    tube = results.TubeFacts("received")
    for report in reports:
        decision = results.decide(report, tube, NOW, AHEAD)
        if decision == "take":
            assert tube.revision is None or report.revision > tube.revision
            tube = dataclasses.replace(
                tube, state="resulted", revision=report.revision, reports={**tube.reports, report.revision: report}
            )
        assert results.decide(report, tube, NOW, AHEAD) in ("already", "result_outdated")
    if reports:
        assert tube.revision == max(report.revision for report in reports)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("open", "tube_not_sealed"),
        ("sealed", "tube_not_received"),
        ("in_transit", "tube_not_received"),
        ("received", "take"),
        ("discarded", "tube_discarded"),
    ],
)
def test_when_a_result_may_come(state: TubeState, expected: str) -> None:
    report = results.Report("negative", 1, NOW)
    assert results.decide(report, results.TubeFacts(state), NOW, AHEAD) == expected
    assert results.decide(report, None, NOW, AHEAD) == "tube_unknown"


def test_who_is_called_to_a_retest() -> None:
    called = {
        (outcome, pool)
        for outcome, pool in product(get_args(Outcome), (False, True))
        if retests.calls_members(outcome, pool=pool)
    }
    assert called == {("positive", True), ("inconclusive", True), ("inconclusive", False)}
    assert not retests.calls_members(None, pool=True)
    assert not retests.calls_members("positive", pool=True, drill=True)


def test_the_smallest_region_that_holds_all() -> None:
    grid, patch, community = "3505820050010101", "35058200500101", "350582005001"
    assert boxes.smallest_region([grid], "") == grid
    assert boxes.smallest_region([grid, "3505820050010102"], "") == patch
    assert boxes.smallest_region([grid, "3505820050010201"], "") == community
    assert boxes.smallest_region([community, "350582005002"], "") == "350582005"
    assert boxes.smallest_region(["350582", "360000"], "outside") == "outside"


def test_a_receipt_is_compared_with_what_was_packed() -> None:
    found = boxes.reconcile(
        ["a", "b", "x", "y"], declared=["a", "b", "c"], states={"a": "in_transit", "b": "received", "x": "sealed"}
    )
    assert found == boxes.Found(received=("a", "x"), unexpected=("x", "y"))
