"""O1: the protocol, and what follows from it."""

import json
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.observation.protocols import rules
from services.observation.protocols.rules import Protocol
from shared.contracts.registry import Tag
from shared.core.actors import Role
from shared.core.days import day_of
from tests.harness import District
from tests.observation.feeds import shanghai

DOCUMENT: dict[str, Any] = json.loads((files("services.observation.protocols") / "protocol_1.json").read_text("utf-8"))
PLAN = Protocol.model_validate(DOCUMENT)
DAY_0 = date(2021, 1, 21)


def test_day_n_is_complete_with_its_last_instant_in_shanghai() -> None:
    end = rules.ends_at(DAY_0, 14)
    assert end == shanghai("2021-02-05 00:00")
    assert day_of(end - timedelta(microseconds=1)) == date(2021, 2, 4) == rules.date_of(DAY_0, 14)
    assert not rules.may_end(end - timedelta(microseconds=1), end, [])
    assert rules.may_end(end, end, [])
    assert not rules.may_end(end, end, [14])


@pytest.mark.parametrize(
    ("utc", "day"),
    [
        (datetime(2021, 1, 20, 15, 59, 59, tzinfo=UTC), date(2021, 1, 20)),
        (datetime(2021, 1, 20, 16, 0, 0, tzinfo=UTC), date(2021, 1, 21)),
        (datetime(2021, 1, 21, 0, 0, 0, tzinfo=UTC), date(2021, 1, 21)),
        (datetime(2021, 1, 21, 15, 59, 59, tzinfo=UTC), date(2021, 1, 21)),
        (datetime(2021, 1, 21, 16, 0, 0, tzinfo=UTC), date(2021, 1, 22)),
    ],
)
def test_a_day_is_a_day_in_shanghai(utc: datetime, day: date) -> None:
    assert day_of(utc) == day


def test_an_instant_without_a_zone_has_no_day() -> None:
    with pytest.raises(ValueError, match="no day"):
        day_of(datetime(2021, 1, 21, 12))  # noqa: DTZ001


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1)))  # noqa: DTZ001
def test_a_day_and_its_end_agree(instant: datetime) -> None:
    day = day_of(instant)
    assert rules.ends_at(day, 0) - timedelta(days=1) <= instant < rules.ends_at(day, 0)


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ([], "central"),
        (["elder"], "central"),
        (["child"], "home"),
        (["pregnant"], "home"),
        (["dependent"], "home"),
        (["elder", "dependent"], "home"),
    ],
)
def test_children_pregnant_and_dependent_people_stay_at_home(tags: list[Any], kind: str) -> None:
    assert rules.kind_for([Tag(kind=tag) for tag in tags], DAY_0, PLAN) == kind


def test_a_tag_counts_on_its_days_only() -> None:
    child = Tag(kind="child", valid_until=DAY_0)
    assert rules.kind_for([child], DAY_0, PLAN) == "home"
    assert rules.kind_for([child], DAY_0 + timedelta(days=1), PLAN) == "central"


def days(*numbers: int) -> list[date]:
    return [rules.date_of(DAY_0, number) for number in numbers]


@pytest.mark.parametrize(
    ("negatives", "missing"),
    [
        ([], [1, 4, 7, 14]),
        ([1, 4, 7, 14], []),
        ([1, 4, 7], [14]),
        ([1, 7, 14], [4]),
        ([1, 7, 14, 15], []),  # a missed one is made good later
        ([1, 4, 7, 13], [14]),  # the last one is never taken early
        ([1, 4, 7, 30], []),
        ([14, 14, 14, 14], [1, 4, 7]),  # swabs of one day count once
        ([0, 1, 4, 7, 14], []),
    ],
)
def test_tests_missing(negatives: list[int], missing: list[int]) -> None:
    assert rules.tests_missing(DAY_0, [1, 4, 7, 14], days(*negatives)) == missing


@given(st.sets(st.integers(0, 40)), st.integers(0, 40))
def test_one_more_negative_never_makes_more_missing(negatives: set[int], another: int) -> None:
    before = rules.tests_missing(DAY_0, [1, 4, 7, 14], days(*negatives))
    after = rules.tests_missing(DAY_0, [1, 4, 7, 14], days(*negatives, another))
    assert len(after) <= len(before)


def wrong(**changes: Any) -> dict[str, Any]:
    document = deepcopy(DOCUMENT)
    for path, value in changes.items():
        *steps, last = path.split("__")
        part = document
        for step in steps:
            part = part[step]
        if value is None:
            del part[last]
        else:
            part[last] = value
    return document


@pytest.mark.parametrize(
    "document",
    [
        wrong(test_days__home__value=[4, 1]),
        wrong(test_days__home__value=[1, 1]),
        wrong(test_days__home__value=[15]),
        wrong(test_days__home=None),
        wrong(days__central__value=0),
        wrong(days__central__source=""),
        wrong(days__home__source=None),
        wrong(stage_minutes__left=None),
        wrong(stage_minutes__reported__value=-1),
        wrong(fever_celsius__value=45),
        wrong(home_for__value=["rich"]),
        wrong(surprise=1),
    ],
)
def test_a_protocol_that_cannot_be_meant_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Protocol.model_validate(document)


def test_the_newest_protocol_of_a_day_is_in_force() -> None:
    second = Protocol.model_validate(wrong(number=2, valid_from="2021-05-11"))
    assert rules.in_force([second, PLAN], date(2021, 5, 10)) == PLAN
    assert rules.in_force([second, PLAN], date(2021, 5, 11)) == second
    assert rules.in_force([second, PLAN], date(2020, 1, 1)) == PLAN


async def test_everybody_may_read_the_protocol_and_its_sources(district: District) -> None:
    for role in (Role.RESIDENT, Role.GRID_WORKER, Role.DESK_120, Role.DOORKEEPER):
        caller = district.caller("observation", role)
        shown = (await caller.get("/observation/v1/protocols/1")).json()
        assert shown["days"]["home"] == {"value": 14, "source": "plan, articles 3 and 10: 14 days"}
        assert (await caller.get("/observation/v1/protocols")).json()["items"] == [shown]
        assert (await caller.get("/observation/v1/protocols/2")).status_code == 404
