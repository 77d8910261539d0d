"""The verdict at a door (pass, register, turn back) by colour, negative test, temperature and the point's policy.

Only `decide` contains the rule. A person at a door is in one of 16 *situations*. When a policy is saved, `outcomes`
computes the 16 outcomes and the point stores them. The statement that writes a visit reads the code and selects one of
them. So the verdict is stored with the visit, SQL does not repeat the rule, and no process caches a policy.
"""

import enum
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from services.gateway.codes.policy import Colour
from shared.problems import LocalizedText

AHEAD = timedelta(minutes=5)
BEHIND = timedelta(days=1)
"""How far the time of a scan may be from now. A device that was offline sends its scans within a day."""


LOWEST_FEVER_TENTHS, HIGHEST_FEVER_TENTHS = 360, 400
"""Range of the fever limit that a point may set, in tenths of a degree Celsius."""


class Verdict(enum.IntEnum):
    """The three verdicts, ordered by severity."""

    PASS = 1
    REGISTER = 2
    TURN_BACK = 3

    @property
    def label(self) -> str:
        """The name in the API, such as `turn_back`."""
        return self.name.lower()


MESSAGES: Mapping[Verdict, LocalizedText] = {
    Verdict.PASS: LocalizedText(zh="放行", en="Let pass"),
    Verdict.REGISTER: LocalizedText(zh="登记", en="Register"),
    Verdict.TURN_BACK: LocalizedText(zh="劝返", en="Turn back"),
}
"""The texts that the doorkeeper's device shows."""


class Why(enum.IntEnum):
    """The reason of a verdict. The person and the edge see it; a doorkeeper does not."""

    IN_ORDER = 0
    COLOUR = 1
    FEVER = 2
    NEGATIVE_MISSING = 3
    UNKNOWN_PERSON = 4

    @property
    def label(self) -> str:
        """The name in the API, such as `negative_missing`."""
        return self.name.lower()


class Outcome(NamedTuple):
    """A verdict and its reason. Stored as one byte, with the verdict in the upper four bits."""

    verdict: Verdict
    why: Why

    @property
    def number(self) -> int:
        """The stored byte."""
        return self.verdict << 4 | self.why

    @classmethod
    def of(cls, number: int) -> "Outcome":
        """The outcome of a stored byte."""
        return _ALL_OUTCOMES[number]


_ALL_OUTCOMES = {outcome.number: outcome for outcome in itertools.starmap(Outcome, itertools.product(Verdict, Why))}


class Situation(NamedTuple):
    """All facts about a person that decide a verdict. `colour` is None for an unknown person."""

    colour: Colour | None
    negative_is_recent: bool
    fever: bool

    @property
    def number(self) -> int:
        """0 to 15. RECORD_VISITS computes the same number."""
        return 4 * (self.colour or 0) + 2 * self.negative_is_recent + self.fever


ALL_SITUATIONS = tuple(
    Situation(colour, recent, fever)
    for colour in (None, *Colour)
    for recent in (False, True)
    for fever in (False, True)
)


class PointPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The requirements of a service point."""

    passes: frozenset[Colour] = frozenset({Colour.GREEN})
    registers: frozenset[Colour] = frozenset()
    """Colours that may enter after registration. All other colours are turned back."""
    negative_within_hours: int | None = None
    without_negative: Verdict = Verdict.TURN_BACK
    fever_celsius: float = 37.3
    with_fever: Verdict = Verdict.TURN_BACK
    unknown_person: Verdict = Verdict.REGISTER
    never_refuses: bool = False
    """A place of medical care: everyone passes. The reason is recorded as it would be elsewhere."""

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
    """Return the most severe of the outcomes by colour, temperature and test. A place of care never refuses."""
    candidates = [_by_colour(situation.colour, policy)]
    if situation.fever:
        candidates.append(Outcome(policy.with_fever, Why.FEVER))
    needs_negative = policy.negative_within_hours is not None and situation.colour is not None
    if needs_negative and not situation.negative_is_recent:
        candidates.append(Outcome(policy.without_negative, Why.NEGATIVE_MISSING))
    verdict, why = max(candidates, key=lambda outcome: outcome.verdict)
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
    """Compute the 16 outcomes of a policy, indexed by the number of the situation. A point stores them."""
    return bytes(decide(situation, policy).number for situation in ALL_SITUATIONS)


def situation(
    colour: Colour | None,
    last_negative: datetime | None,
    temperature_celsius: float | None,
    policy: PointPolicy,
    now: datetime,
) -> Situation:
    """Return the situation of a person at a point. The limit of `negative_within_hours` is inclusive."""
    hours = policy.negative_within_hours
    recent = hours is not None and last_negative is not None and last_negative >= now - timedelta(hours=hours)
    fever = temperature_celsius is not None and tenths(temperature_celsius) >= policy.fever_tenths
    return Situation(colour, recent, fever)


def tenths(celsius: float) -> int:
    """Round to a tenth of a degree, as thermometers do. Integers avoid that 37.3 differs between Python and SQL."""
    return round(celsius * 10)


def made_at(scan_id: UUID) -> datetime:
    """Return when a device made a scan: the time inside its UUIDv7.

    Visits are partitioned by this instant, because it is the same each time the device sends the scan. So a scan sent
    again after midnight is still one visit. Raises ValueError for any other version of UUID.
    """
    number = scan_id.int
    if number >> 76 & 15 != 7 or number >> 62 & 3 != 2:  # version and variant
        raise ValueError("a scan id is a UUIDv7")
    return datetime.fromtimestamp((number >> 80) / 1000, UTC)
