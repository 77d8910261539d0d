"""Pure rules on the findings of single tubes: who needs a hospital, who must be observed, and why.

Each decision is a function of all known facts, so that their order of arrival does not matter.
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
from shared.core.days import day_of

EndReason = Literal["completed", "ended_early", "converted", "evidence_withdrawn", "person_closed"]


@dataclass(frozen=True)
class Person:
    """The facts of a resident."""

    id: UUID
    region: str
    household_id: UUID | None
    active: bool
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True)
class Finding:
    """The result of a single tube for its person."""

    tube: UUID
    resident_id: UUID
    region: str
    positive: bool
    sampled_at: datetime
    tested_at: datetime
    reported_at: datetime


@dataclass(frozen=True)
class Episode:
    """The facts of a referral that decide about the positives of its person."""

    resident_id: UUID
    state: ReferralState
    evidence_id: UUID | None
    closed_at: datetime | None
    withdrawn: bool = False


@dataclass(frozen=True)
class Exposure:
    """A positive with whom a person lives, and day 0 of the exposure."""

    tube: UUID
    day_0: date
    sampled_at: datetime


@dataclass(frozen=True)
class Ended:
    """An observation that people ended. A complete one answers all exposures until its day 0.

    One that two people ended early answers only the positives they judged (`early_for`, tubes), because a person who
    was entered in a wrong household is still exposed in the right one.
    """

    day_0: date
    early_for: Collection[UUID] = ()


def findings_of(tube: Tube) -> list[Finding]:
    """Return the findings of a tube: only of a single tube that is not a drill and whose result is in force.

    A positive is in force at once, a negative only when the manifest is complete. A tube for one person that holds
    several is a pool and has no findings, because its people are called to a retest with a single tube each. If a
    person has several samples in a tube, the latest counts.
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
    """Return the positives in force. A hospital that rules a person out revokes only the positive of that referral."""
    ruled_out = {(one.evidence_id, one.resident_id) for one in episodes if one.state == "ruled_out"}
    return [one for one in findings if one.positive and (one.tube, one.resident_id) not in ruled_out]


def positive_to_refer(positives: Sequence[Finding], episodes: Sequence[Episode]) -> Finding | None:
    """Return the positive on which a person's open referral is based: the first that no closed referral has answered.

    `positives` and `episodes` are the person's own. A referral closed by staff or the hospital answers its own positive
    permanently. One that ended in hospital also answers every swab taken before.
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
    """The positives in force, by household and by tube, and their people."""

    by_household: Mapping[UUID, Sequence[Finding]]
    by_tube: Mapping[UUID, Sequence[Finding]]
    people: Collection[UUID]


def nearby(positives: Iterable[Finding], people: Mapping[UUID, Person]) -> Nearby:
    """Group the positives by household and tube. A person without a household exposes nobody."""
    by_household: dict[UUID, list[Finding]] = {}
    by_tube: dict[UUID, list[Finding]] = {}
    for one in positives:
        by_tube.setdefault(one.tube, []).append(one)
        person = people.get(one.resident_id)
        if person is not None and person.household_id is not None:
            by_household.setdefault(person.household_id, []).append(one)
    return Nearby(by_household, by_tube, {one.resident_id for several in by_tube.values() for one in several})


def exposures_of(person: Person, near: Nearby, held: UUID | None = None) -> list[Exposure]:
    """Return the positives with whom a person has lived: those of the household, and that of the open order (`held`).

    A person who moves away after an exposure stays exposed.
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
    """Return the last exposure, on which a person's order is based, or why the person must have no order."""
    if person.id in near.people:
        return "converted"
    if not person.active:
        return "person_closed"
    if not exposures:
        return "evidence_withdrawn"
    return max(exposures, key=lambda one: (one.day_0, one.sampled_at, one.tube))


def unanswered(exposures: Iterable[Exposure], ended: Sequence[Ended]) -> list[Exposure]:
    """Return the exposures that no ended observation answers."""
    return [one for one in exposures if not any(_answers(order, one) for order in ended)]


def _answers(order: Ended, exposure: Exposure) -> bool:
    return exposure.tube in order.early_for if order.early_for else exposure.day_0 <= order.day_0


def opens(exposure: Exposure, days: int, now: datetime) -> bool:
    """Return whether an exposure opens an order, because its days are not over."""
    return now < ends_at(exposure.day_0, days)


def days_of(kind: str, protocol: Protocol, extra_days: int = 0) -> int:
    """Return the days of an order of a kind, including its extension."""
    return next(figure.value for name, figure in protocol.days.items() if name == kind) + extra_days
