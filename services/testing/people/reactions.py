"""Reactions that keep a copy of residents and of their open orders."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from services.testing.people.tables import ObservedRow, PersonRow
from services.testing.retests import use_cases as retests
from shared.contracts.observation import Order
from shared.contracts.registry import Resident
from shared.core.ids import in_order
from shared.database.unit_of_work import UnitOfWork
from shared.feed.reader import reacts_to

DELETE_PEOPLE = text("DELETE FROM people WHERE id = ANY(CAST(:ids AS uuid[]))")
DELETE_ORDERS = text("DELETE FROM observed WHERE subject = ANY(CAST(:ids AS uuid[]))")

OBSERVED = ("central", "home")
"""The kinds of order that require a single tube. Health monitoring does not."""


async def forget_people(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Delete people that the registry no longer has."""
    await uow.run(DELETE_PEOPLE, ids=in_order(ids))


@reacts_to(Resident, forget=forget_people)
async def follow_residents(uow: UnitOfWork, residents: Sequence[Resident]) -> None:
    """Copy the region and state of residents. Their open retests move with them."""
    people = [{"id": one.id, "region": one.region, "active": one.state == "active"} for one in residents]
    await uow.upsert(PersonRow, people)
    await retests.follow_people(uow, [one.id for one in residents])


async def forget_orders(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Delete orders that observation no longer has."""
    await uow.run(DELETE_ORDERS, ids=in_order(ids))


@reacts_to(Order, forget=forget_orders)
async def follow_orders(uow: UnitOfWork, orders: Sequence[Order]) -> None:
    """Copy the open orders of isolated people, who need single tubes."""
    observed = [
        {"subject": order.id, "resident_id": order.resident_id, "region": order.region}
        for order in orders
        if order.state == "open" and order.kind in OBSERVED
    ]
    await uow.replace(ObservedRow, [order.id for order in orders], observed)
