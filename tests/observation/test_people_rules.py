"""What follows from findings: pure decisions, without a database."""

from datetime import UTC, date, datetime, timedelta

import pytest

from services.observation.people import rules
from services.observation.people.rules import Ended, Episode, Exposure, Finding, Person
from shared.contracts.observation import ReferralState
from shared.core.ids import named_id
from tests.observation.feeds import tube

NOON = datetime(2021, 1, 21, 4, 0, tzinfo=UTC)
CASE, MATE, HOME = (named_id("test", name) for name in ("case", "mate", "home"))
FIRST, SECOND = (named_id("test", name) for name in ("first", "second"))


def positive(of: str = "first", hours: int = 0) -> Finding:
    at = NOON + timedelta(hours=hours)
    return Finding(named_id("test", of), CASE, "350582005001", True, at, at, at)


def episode(state: ReferralState, of: str | None = "first", closed: int | None = 5, withdrawn: bool = False) -> Episode:
    closed_at = None if closed is None else NOON + timedelta(hours=closed)
    return Episode(CASE, state, named_id("test", of) if of else None, closed_at, withdrawn)


@pytest.mark.parametrize(
    ("positives", "episodes", "called"),
    [
        ([], [], None),
        ([positive()], [], FIRST),
        ([positive("second", 2), positive("first", 1)], [], FIRST),
        ([positive()], [episode("reported", closed=None)], FIRST),
        ([positive()], [episode("cancelled")], None),
        ([positive()], [episode("cancelled", withdrawn=True)], FIRST),
        ([positive()], [episode("ruled_out", of=None)], FIRST),
        ([positive(), positive("second", 1)], [episode("ruled_out")], SECOND),
        ([positive(), positive("second", 4)], [episode("confirmed")], None),
        ([positive(), positive("second", 6)], [episode("confirmed")], SECOND),
        ([positive("second", 4)], [episode("admitted", of=None)], None),
    ],
)
def test_which_positive_calls_for_a_referral(positives: list[Finding], episodes: list[Episode], called: object) -> None:
    found = rules.positive_to_refer(positives, episodes)
    assert (found.tube if found else None) == called


def test_ruled_out_takes_back_only_the_positive_it_was_asked_about() -> None:
    findings = [positive("first"), positive("second", 1)]
    assert [one.tube for one in rules.still_positive(findings, [episode("ruled_out")])] == [SECOND]
    assert len(rules.still_positive(findings, [episode("confirmed"), episode("cancelled")])) == 2


def test_the_last_exposure_counts_and_a_move_ends_none() -> None:
    people = {CASE: Person(CASE, "r", HOME, True), MATE: Person(MATE, "r", HOME, True)}
    near = rules.nearby([positive("first"), positive("second", 30)], people)
    exposures = rules.exposures_of(people[MATE], near)
    found = rules.order_of(people[MATE], near, exposures)
    assert isinstance(found, Exposure)
    assert (found.tube, found.day_0) == (SECOND, date(2021, 1, 22))
    away = Person(MATE, "r", named_id("test", "elsewhere"), True)
    assert rules.exposures_of(away, near) == []
    assert [one.tube for one in rules.exposures_of(away, near, held=FIRST)] == [FIRST]
    assert rules.order_of(people[CASE], near, []) == "converted"
    assert rules.exposures_of(people[CASE], near) == []


def test_who_has_no_household_lives_with_nobody() -> None:
    people = {CASE: Person(CASE, "r", None, True), MATE: Person(MATE, "r", None, True)}
    near = rules.nearby([positive()], people)
    assert rules.order_of(people[MATE], near, rules.exposures_of(people[MATE], near)) == "evidence_withdrawn"


@pytest.mark.parametrize(("hours", "opens"), [(0, True), (14 * 24 + 11, True), (14 * 24 + 12, False)])  # 24:00, day 14
def test_whether_an_exposure_opens_an_order(hours: int, opens: bool) -> None:
    exposure = Exposure(FIRST, date(2021, 1, 21), NOON)
    assert rules.opens(exposure, 14, NOON + timedelta(hours=hours)) is opens


@pytest.mark.parametrize(
    ("ended", "answered"),
    [
        ([], False),
        ([Ended(date(2021, 1, 20))], False),
        ([Ended(date(2021, 1, 21))], True),
        ([Ended(date(2021, 1, 25))], True),
        ([Ended(date(2021, 1, 25), [SECOND])], False),
        ([Ended(date(2021, 1, 20), [FIRST])], True),
        ([Ended(date(2021, 1, 25), [SECOND]), Ended(date(2021, 1, 21))], True),
    ],
)
def test_whether_an_observation_that_ended_answers_an_exposure(ended: list[Ended], answered: bool) -> None:
    exposure = Exposure(FIRST, date(2021, 1, 21), NOON)
    assert rules.unanswered([exposure], ended) == ([] if answered else [exposure])


def test_what_a_tube_says_by_name() -> None:
    assert [one.positive for one in rules.findings_of(tube(FIRST, [CASE], "positive"))] == [True]
    assert [one.positive for one in rules.findings_of(tube(FIRST, [CASE], "negative"))] == [False]
    assert rules.findings_of(tube(FIRST, [CASE, MATE], "positive")) == []
    assert len(rules.findings_of(tube(FIRST, [CASE], "positive", held=True))) == 1
    for nothing in (
        tube(FIRST, [CASE], "negative", held=True),
        tube(FIRST, [CASE], "invalid"),
        tube(FIRST, [CASE], "inconclusive"),
        tube(FIRST, [CASE], None),
        tube(FIRST, [CASE], "positive", drill=True),
        tube(FIRST, [CASE], "positive", capacity=5),
    ):
        assert rules.findings_of(nothing) == []
