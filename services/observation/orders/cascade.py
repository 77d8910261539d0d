"""Updates orders from facts: opens them for people who live with a positive, withdraws those without ground."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import select, text

from services.observation.orders.tables import OrderRow
from services.observation.people import rules as facts
from services.observation.people.rules import Ended, Exposure, Finding, Nearby, Person
from services.observation.protocols.rules import Protocol, ends_at, in_force, kind_for
from services.observation.protocols.use_cases import all_protocols
from shared.audit.kinds import Kind
from shared.contracts.observation import OrderState
from shared.contracts.testing import Tube
from shared.core import clock
from shared.core.ids import in_order, new_id
from shared.database.unit_of_work import UnitOfWork

Why = Literal["converted", "evidence_withdrawn", "person_closed"]

STATE_FOR: Mapping[Why, OrderState] = {
    "converted": "ended",
    "evidence_withdrawn": "withdrawn",
    "person_closed": "withdrawn",
}
"""The state of an order that ends without ground. A person who became positive goes to hospital."""

SELECT_ENDED_ORDERS = text("""
    SELECT resident_id, day_0, CASE end_reason WHEN 'ended_early' THEN exposures ELSE '{}' END AS early_for FROM orders
    WHERE end_reason IN ('completed', 'ended_early') AND resident_id = ANY(CAST(:residents AS uuid[]))
""")


@dataclass(frozen=True)
class Facts:
    """All facts that decide about the orders of some people."""

    near: Nearby
    negatives: Mapping[UUID, Sequence[date]]
    protocols: Mapping[int, Protocol]
    ended: Mapping[UUID, Sequence[Ended]]
    now: datetime


async def lock_open_orders(uow: UnitOfWork, residents: Iterable[UUID]) -> dict[UUID, OrderRow]:
    """Lock and return the open orders of these people, in the order of ids."""
    statement = (
        select(OrderRow)
        .where(OrderRow.resident_id.in_(in_order(residents)), OrderRow.state == "open")
        .order_by(OrderRow.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    await uow.session.flush()
    return {row.resident_id: row for row in await uow.session.scalars(statement)}


async def follow_orders(
    uow: UnitOfWork,
    residents: Sequence[UUID],
    held: Mapping[UUID, OrderRow],
    people: Mapping[UUID, Person],
    positives: Sequence[Finding],
    negatives: Mapping[UUID, Sequence[date]],
) -> None:
    """Open, change, convert or withdraw the orders of these people as the facts require.

    `held` are their open orders, locked. An order that people ended is never opened again.
    """
    ended: dict[UUID, list[Ended]] = {}
    for row in await uow.rows(SELECT_ENDED_ORDERS, residents=list(residents)):
        ended.setdefault(row["resident_id"], []).append(Ended(row["day_0"], row["early_for"]))
    known = Facts(facts.nearby(positives, people), negatives, await all_protocols(uow), ended, uow.now)
    followed = [_follow(uow, people[one], held.get(one), known) for one in residents if one in people]
    await uow.session.flush()
    changed = [order for order in followed if order is not None]
    for order in changed:
        uow.audit(kind=Kind.RESTRICTION, subjects=[order.resident_id], reason=f"order.{order.state}")
    uow.publish_all([order.public() for order in changed], change="followed", urgent=True)


def _follow(uow: UnitOfWork, person: Person, row: OrderRow | None, known: Facts) -> OrderRow | None:
    """Return the person's order if the facts opened or changed it, otherwise None."""
    lived_with = facts.exposures_of(person, known.near, row.evidence_id if row else None)
    exposures = facts.unanswered(lived_with, known.ended.get(person.id, ()))
    ground = facts.order_of(person, known.near, exposures)
    if row is None:
        return None if isinstance(ground, str) else _open(uow, person, ground, known)
    before = row.public(), row.negatives, row.exposures
    if isinstance(ground, str):
        row.state, row.end_reason, row.ended_at = STATE_FOR[ground], ground, known.now
    else:
        row.evidence_id, row.day_0 = ground.tube, ground.day_0
        row.region = person.region
        row.exposures = _exposures(person, ground, known) or row.exposures
        row.negatives = [day for day in known.negatives.get(person.id, ()) if day > ground.day_0]
        settle(row, person, known.protocols[row.protocol])
    return row if (row.public(), row.negatives, row.exposures) != before else None


def _open(uow: UnitOfWork, person: Person, ground: Exposure, known: Facts) -> OrderRow | None:
    protocol = in_force(known.protocols.values(), clock.day_of(known.now))
    kind = kind_for(person.tags, ground.day_0, protocol)
    days = facts.days_of(kind, protocol)
    if not facts.opens(ground, days, known.now):
        return None
    return uow.add(
        OrderRow(
            id=new_id(),
            region=person.region,
            resident_id=person.id,
            kind=kind,
            state="open",
            protocol=protocol.number,
            evidence_type=Tube.type,
            evidence_id=ground.tube,
            day_0=ground.day_0,
            exposures=_exposures(person, ground, known),
            opened_at=known.now,
            ends_at=ends_at(ground.day_0, days),
            extra_days=0,
            negatives=[day for day in known.negatives.get(person.id, ()) if day > ground.day_0],
        )
    )


def _exposures(person: Person, ground: Exposure, known: Facts) -> list[UUID]:
    """Return the positives of the person's household, or [] if the order's ground is in a former household."""
    tubes = in_order(one.tube for one in facts.exposures_of(person, known.near))
    return tubes if ground.tube in tubes else []


def settle(row: OrderRow, person: Person | None, protocol: Protocol) -> None:
    """Set an order's kind and end. A decision of people about the kind has priority over the tags."""
    if row.kind_set is not None:
        row.kind = row.kind_set
    elif person is not None:
        row.kind = kind_for(person.tags, row.day_0, protocol)
    row.ends_at = ends_at(row.day_0, facts.days_of(row.kind, protocol, row.extra_days))
