"""What a doorkeeper is told: pass, register or turn back, by colour, negative test, temperature and the point's policy.

`decide` is the only place that knows. All it needs to know of a person at a door is one of 16 *situations*, so a point
keeps the 16 outcomes that `outcomes` computes from its policy when the policy is saved, and the statement that writes a
visit picks one of them by the code it reads at that instant: the verdict is on disk with the visit, the statement needs
no rule of its own, and no process a copy of the point's policy.
"""

import enum
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from services.gateway.codes.policy import Colour
from shared.problems import Text

AHEAD = timedelta(minutes=5)
BEHIND = timedelta(days=1)
"""How far the time of a scan may lie from now. A device that was offline sends its scans within a day."""


LOWEST_FEVER_TENTHS, HIGHEST_FEVER_TENTHS = 360, 400
"""Between these, in tenths of a degree Celsius, each point sets what it calls a fever."""


class Verdict(enum.IntEnum):
    """The three words of a door, the worse the higher."""

    PASS = 1
    REGISTER = 2
    TURN_BACK = 3

    @property
    def label(self) -> str:
        """As the API says it: `turn_back`."""
        return self.name.lower()


WORDS: Mapping[Verdict, Text] = {
    Verdict.PASS: Text(zh="放行", en="Let pass"),
    Verdict.REGISTER: Text(zh="登记", en="Register"),
    Verdict.TURN_BACK: Text(zh="劝返", en="Turn back"),
}
"""What the doorkeeper reads."""


class Why(enum.IntEnum):
    """What a verdict rests on. For the person and the edge; a doorkeeper is never told."""

    IN_ORDER = 0
    COLOUR = 1
    FEVER = 2
    NEGATIVE_MISSING = 3
    UNKNOWN_PERSON = 4

    @property
    def label(self) -> str:
        """As the API says it: `negative_missing`."""
        return self.name.lower()


class Outcome(NamedTuple):
    """A verdict and what it rests on. As a number: one byte, the verdict in its upper half."""

    verdict: Verdict
    why: Why

    @property
    def number(self) -> int:
        """As a visit keeps it."""
        return self.verdict << 4 | self.why

    @classmethod
    def of(cls, number: int) -> "Outcome":
        """The outcome that a visit keeps."""
        return _ALL_OUTCOMES[number]


_ALL_OUTCOMES = {outcome.number: outcome for outcome in itertools.starmap(Outcome, itertools.product(Verdict, Why))}


class Situation(NamedTuple):
    """All that a door needs to know of a person. `colour` is None when nobody knows the person."""

    colour: Colour | None
    negative_is_recent: bool
    fever: bool

    @property
    def number(self) -> int:
        """0 to 15; the statement of the door computes the same."""
        return 4 * (self.colour or 0) + 2 * self.negative_is_recent + self.fever


ALL_SITUATIONS = tuple(
    Situation(colour, recent, fever)
    for colour in (None, *Colour)
    for recent in (False, True)
    for fever in (False, True)
)


class PointPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a service point asks of those who come."""

    passes: frozenset[Colour] = frozenset({Colour.GREEN})
    registers: frozenset[Colour] = frozenset()
    """Colours that are let in after registration; all others are turned back."""
    negative_within_hours: int | None = None
    without_negative: Verdict = Verdict.TURN_BACK
    fever_celsius: float = 37.3
    with_fever: Verdict = Verdict.TURN_BACK
    unknown_person: Verdict = Verdict.REGISTER
    never_refuses: bool = False
    """A place where care is sought: everyone passes, and what would have been said is recorded."""

    def __post_init__(self) -> None:
        if self.passes & self.registers:
            raise ValueError("a colour either passes or is registered")
        if self.negative_within_hours is not None and not 1 <= self.negative_within_hours <= 720:
            raise ValueError("negative_within_hours is from 1 to 720")
        if not LOWEST_FEVER_TENTHS <= self.fever_tenths <= HIGHEST_FEVER_TENTHS:
            raise ValueError("fever_celsius is from 36 to 40")

    @property
    def fever_tenths(self) -> int:
        """The fever limit in tenths of a degree Celsius."""
        return tenths(self.fever_celsius)


def decide(situation: Situation, policy: PointPolicy) -> Outcome:
    """The worst of what colour, temperature and test call for. Never a refusal where care is sought."""
    calls = [_by_colour(situation.colour, policy)]
    if situation.fever:
        calls.append(Outcome(policy.with_fever, Why.FEVER))
    asked = policy.negative_within_hours is not None and situation.colour is not None
    if asked and not situation.negative_is_recent:
        calls.append(Outcome(policy.without_negative, Why.NEGATIVE_MISSING))
    verdict, why = max(calls, key=lambda call: call.verdict)
    if verdict is Verdict.PASS:
        why = Why.IN_ORDER
    return Outcome(Verdict.PASS if policy.never_refuses else verdict, why)


def _by_colour(colour: Colour | None, policy: PointPolicy) -> Outcome:
    if colour is None:
        return Outcome(policy.unknown_person, Why.UNKNOWN_PERSON)
    if colour in policy.passes:
        return Outcome(Verdict.PASS, Why.IN_ORDER)
    return Outcome(Verdict.REGISTER if colour in policy.registers else Verdict.TURN_BACK, Why.COLOUR)


def outcomes(policy: PointPolicy) -> bytes:
    """The 16 outcomes of a policy, by the number of the situation: what a point keeps for the door's statement."""
    return bytes(decide(situation, policy).number for situation in ALL_SITUATIONS)


def situation(
    colour: Colour | None,
    last_negative: datetime | None,
    temperature_celsius: float | None,
    policy: PointPolicy,
    now: datetime,
) -> Situation:
    """The situation of a person at a point. A negative is recent up to and including its last second."""
    hours = policy.negative_within_hours
    recent = hours is not None and last_negative is not None and last_negative >= now - timedelta(hours=hours)
    fever = temperature_celsius is not None and tenths(temperature_celsius) >= policy.fever_tenths
    return Situation(colour, recent, fever)


def tenths(celsius: float) -> int:
    """A temperature as thermometers give it, to a tenth of a degree, so that 37.3 is 37.3 everywhere."""
    return round(celsius * 10)


def made_at(scan_id: UUID) -> datetime:
    """When a device made a scan, by the time inside its UUIDv7.

    A visit is filed under this instant, which no repetition can change: so a scan is one visit for ever, also when it
    is sent again after midnight. Raises ValueError for any other kind of UUID.
    """
    number = scan_id.int
    if number >> 76 & 15 != 7 or number >> 62 & 3 != 2:  # its version and its variant
        raise ValueError("a scan id is a UUIDv7")
    return datetime.fromtimestamp((number >> 80) / 1000, UTC)
