"""What follows from the findings of single tubes: who needs a hospital, who must be observed, and why. Pure.

Each decision is a function of all that is held, so that the order in which it became known does not matter.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from services.observation.protocols.rules import Protocol, ends_at
from shared.contracts.observation import ReferralState
from shared.contracts.registry import Tag
from shared.contracts.testing import Tube
from shared.days import day_of

EndReason = Literal["completed", "ended_early", "converted", "evidence_withdrawn", "person_closed"]


@dataclass(frozen=True)
class Person:
    """A resident as we know them."""

    id: UUID
    region: str
    household_id: UUID | None
    active: bool
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What a single tube says of a person."""

    tube: UUID
    resident_id: UUID
    region: str
    positive: bool
    sampled_at: datetime
    tested_at: datetime
    reported_at: datetime


@dataclass(frozen=True)
class Episode:
    """What a referral says about the positives of its person."""

    resident_id: UUID
    state: ReferralState
    evidence_id: UUID | None
    closed_at: datetime | None
    withdrawn: bool = False


@dataclass(frozen=True)
class Exposure:
    """Whose positive a person lives with, and since which day."""

    tube: UUID
    day_0: date
    sampled_at: datetime


@dataclass(frozen=True)
class Ended:
    """An observation that people ended. Complete, it answers all exposures until its day 0, whosever they were.

    One that two people ended early answers the positives they judged (`early_for`, tubes) and no others: who was
    entered in a wrong household is still exposed in the right one.
    """

    day_0: date
    early_for: Collection[UUID] = ()


def findings_of(tube: Tube) -> list[Finding]:
    """What a tube says of people by name: only a single tube, not a drill's, with a result in force.

    A positive is in force at once, a negative not before its manifest is complete. A tube for one person that holds
    several is a pool and names nobody: its people are called to a retest, each in a tube of their own. One person may
    have several samples in a tube: the latest counts.
    """
    result = tube.result
    if tube.people != "single" or tube.drill or result is None or result.outcome not in ("positive", "negative"):
        return []
    if result.outcome == "negative" and tube.held:
        return []
    kept = {sample.resident_id: sample for sample in sorted(tube.samples, key=lambda sample: sample.sampled_at)}
    return [
        Finding(
            tube=tube.id,
            resident_id=sample.resident_id,
            region=tube.region,
            positive=result.outcome == "positive",
            sampled_at=sample.sampled_at,
            tested_at=result.tested_at,
            reported_at=result.reported_at,
        )
        for sample in kept.values()
    ]


def still_positive(findings: Iterable[Finding], episodes: Iterable[Episode]) -> list[Finding]:
    """The positives in force. A hospital that rules a person out takes back the positive it was asked about, only."""
    ruled_out = {(one.evidence_id, one.resident_id) for one in episodes if one.state == "ruled_out"}
    return [one for one in findings if one.positive and (one.tube, one.resident_id) not in ruled_out]


def positive_to_refer(positives: Sequence[Finding], episodes: Sequence[Episode]) -> Finding | None:
    """The positive that a person's open referral rests on: the first that no closed one has answered.

    `positives` and `episodes` are the person's own. A referral that people or the hospital have closed answers its own
    positive for ever; one that ended in hospital also answers every swab taken before.
    """
    answered = {one.evidence_id for one in episodes if one.closed_at and not one.withdrawn}
    in_hospital = [one.closed_at for one in episodes if one.closed_at and one.state in ("admitted", "confirmed")]
    unanswered = (
        one
        for one in positives
        if one.tube not in answered and not any(one.sampled_at <= closed_at for closed_at in in_hospital)
    )
    return min(unanswered, key=lambda one: (one.sampled_at, one.tube), default=None)


@dataclass(frozen=True)
class Nearby:
    """The positives in force, as people meet them: by household, by tube, and who they are."""

    by_household: Mapping[UUID, Sequence[Finding]]
    by_tube: Mapping[UUID, Sequence[Finding]]
    people: Collection[UUID]


def nearby(positives: Iterable[Finding], people: Mapping[UUID, Person]) -> Nearby:
    """Sort the positives by where people meet them. A person without a household lives with nobody."""
    by_household: dict[UUID, list[Finding]] = {}
    by_tube: dict[UUID, list[Finding]] = {}
    for one in positives:
        by_tube.setdefault(one.tube, []).append(one)
        person = people.get(one.resident_id)
        if person is not None and person.household_id is not None:
            by_household.setdefault(person.household_id, []).append(one)
    return Nearby(by_household, by_tube, {one.resident_id for several in by_tube.values() for one in several})


def exposures_of(person: Person, near: Nearby, held: UUID | None = None) -> list[Exposure]:
    """The positives a person has lived with: of their household, and the one their open order rests on (`held`).

    Who moves away after an exposure stays exposed.
    """
    home = near.by_household.get(person.household_id, ()) if person.household_id else ()
    kept = near.by_tube.get(held, ()) if held else ()
    return [
        Exposure(one.tube, day_of(one.sampled_at), one.sampled_at)
        for one in (*home, *kept)
        if one.resident_id != person.id
    ]


def order_of(
    person: Person, near: Nearby, exposures: Sequence[Exposure]
) -> Exposure | Literal["converted", "evidence_withdrawn", "person_closed"]:
    """What a person's order rests on, the last exposure; or why there must be none."""
    if person.id in near.people:
        return "converted"
    if not person.active:
        return "person_closed"
    if not exposures:
        return "evidence_withdrawn"
    return max(exposures, key=lambda one: (one.day_0, one.sampled_at, one.tube))


def unanswered(exposures: Iterable[Exposure], ended: Sequence[Ended]) -> list[Exposure]:
    """The exposures for which a person has not been observed already, nor was let go."""
    return [one for one in exposures if not any(_answers(order, one) for order in ended)]


def _answers(order: Ended, exposure: Exposure) -> bool:
    return exposure.tube in order.early_for if order.early_for else exposure.day_0 <= order.day_0


def opens(exposure: Exposure, days: int, now: datetime) -> bool:
    """Whether an exposure opens an order: its days are not over."""
    return now < ends_at(exposure.day_0, days)


def days_of(kind: str, protocol: Protocol, extra_days: int = 0) -> int:
    """The days of an order of a kind, with those by which people extended it."""
    return next(figure.value for name, figure in protocol.days.items() if name == kind) + extra_days
