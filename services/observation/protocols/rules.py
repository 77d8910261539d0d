"""The observation protocol, a versioned document, and its pure rules.

Every figure names its source: an article of the plan of 20 January 2021, or a local decision if the plan has none.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from shared.contracts.observation import OrderKind
from shared.contracts.registry import Tag, TagKind
from shared.core.days import start_of

Stage = Literal["reported", "dispatched", "on_board", "handed_over", "left"]
_Text = Annotated[str, Field(min_length=1, max_length=300)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProtocolTitle(_Part):
    """The name of the protocol in both languages."""

    zh: _Text
    en: _Text


class Figure(_Part):
    """A value and its source."""

    source: _Text = Field(description="An article of the plan, or a local decision.")


class Days(Figure):
    """A number of days."""

    value: int = Field(ge=1, le=60)


class TestDays(Figure):
    """The days on which a person is tested."""

    value: tuple[Annotated[int, Field(ge=1, le=60)], ...]


class TimesADay(Figure):
    """A number of times a day."""

    value: int = Field(ge=0, le=24)


class HomeFor(Figure):
    """The tags of people who are observed at home."""

    value: tuple[TagKind, ...]


class OwnRoom(Figure):
    """Whether home observation needs a separate room."""

    value: bool


class Celsius(Figure):
    """A temperature in °C."""

    value: float = Field(ge=36.0, le=40.0)


class Minutes(Figure):
    """A deadline in minutes."""

    value: int = Field(ge=0, le=7 * 1440)


class Hours(Figure):
    """A number of hours."""

    value: int = Field(ge=1, le=72)


_PLAN, _LOCAL = "plan of 2021-01-20, article 10", "local decision"
_EXAMPLE: JsonDict = {
    "number": 1,
    "valid_from": "2021-01-20",
    "title": {"zh": "农村地区疫情防控方案（2021年1月）", "en": "Rural epidemic plan, January 2021"},
    "days": {kind: {"source": _PLAN, "value": 14} for kind in ("central", "home", "monitoring")},
    "test_days": {kind: {"source": _PLAN, "value": [1, 7, 14]} for kind in ("central", "home", "monitoring")},
    "visits_a_day": {kind: {"source": _LOCAL, "value": 1} for kind in ("central", "home", "monitoring")},
    "temperatures_a_day": {"source": _LOCAL, "value": 2},
    "home_for": {"source": _PLAN, "value": ["child", "pregnant", "dependent"]},
    "own_room": {"source": _PLAN, "value": True},
    "fever_celsius": {"source": _PLAN, "value": 37.3},
    "door_hours": {"source": _LOCAL, "value": 24},
    "stage_minutes": {
        stage: {"source": _LOCAL, "value": minutes}
        for stage, minutes in (
            ("reported", 10),
            ("dispatched", 60),
            ("on_board", 60),
            ("handed_over", 1440),
            ("left", 1440),
        )
    },
}


class Protocol(_Part):
    """The days, places and tests of observation, and the deadlines of referrals (articles 2, 3, 10)."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    number: int = Field(ge=1, le=1_000_000)
    valid_from: date = Field(description="The first day (Asia/Shanghai) on which orders are opened under this version.")
    title: ProtocolTitle
    days: dict[OrderKind, Days]
    test_days: dict[OrderKind, TestDays]
    visits_a_day: dict[OrderKind, TimesADay]
    temperatures_a_day: TimesADay
    home_for: HomeFor
    own_room: OwnRoom
    fever_celsius: Celsius
    door_hours: Hours = Field(
        default=Hours(source="local decision: devices send what they scanned within a day", value=24),
        description="For how many hours after a scan at a door its fever can be reported, by device or doorkeeper.",
    )
    stage_minutes: dict[Stage, Minutes]

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        kinds = {"central", "home", "monitoring"}
        for part in (self.days, self.test_days, self.visits_a_day):
            if part.keys() != kinds:
                raise ValueError("days, tests and visits are required for each kind of observation")
        if self.stage_minutes.keys() != {"reported", "dispatched", "on_board", "handed_over", "left"}:
            raise ValueError("every stage of a referral needs a deadline")
        for kind, tests in self.test_days.items():
            if list(tests.value) != sorted(set(tests.value)) or any(d > self.days[kind].value for d in tests.value):
                raise ValueError("test days must be in rising order and within the days of observation")
        return self


def kind_for(tags: Iterable[Tag], day: date, protocol: Protocol) -> OrderKind:
    """Return the kind of observation: home if the person has a tag of `home_for` on that day, otherwise central."""
    held = {tag.kind for tag in tags if tag.holds_on(day)}
    return "home" if held.intersection(protocol.home_for.value) else "central"


def ends_at(day_0: date, days: int) -> datetime:
    """Return when so many days are complete. Day 1 is the day after day 0, and ends at midnight in Asia/Shanghai."""
    return start_of(day_0 + timedelta(days=days + 1))


def date_of(day_0: date, day: int) -> date:
    """Return the date of day n."""
    return day_0 + timedelta(days=day)


def tests_missing(day_0: date, test_days: Iterable[int], negatives: Iterable[date]) -> list[int]:
    """Return the test days that have no negative result of the person yet.

    Each negative answers one test: that of its day or a missed earlier one. So another swab replaces a missed test, and
    a missed test cannot make an order endless. Both reagents of one day count once.
    """
    unused = sorted(set(negatives))
    missing = []
    for day in sorted(test_days, reverse=True):
        if unused and unused[-1] >= date_of(day_0, day):
            unused.pop()
        else:
            missing.append(day)
    return missing[::-1]


def may_end(now: datetime, ends: datetime, missing: Iterable[int]) -> bool:
    """Return whether an order may end: its days are complete *and* its tests are negative."""
    return now >= ends and not list(missing)


def in_force(protocols: Iterable[Protocol], day: date) -> Protocol:
    """Return the newest protocol that is valid on a day, or the first one if none is."""
    known = sorted(protocols, key=lambda protocol: protocol.number)
    return max((p for p in known if p.valid_from <= day), key=lambda p: p.number, default=known[0])
