"""People: what testing keeps of residents and of the orders they are under."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from services.testing.people.tables import ObservedRow, PersonRow
from services.testing.retests import use_cases as retests
from shared.contracts.observation import Order
from shared.contracts.registry import Resident
from shared.feed.reader import reacts_to
from shared.ids import in_order
from shared.work import Work

FORGET_PEOPLE = text("DELETE FROM people WHERE id = ANY(CAST(:ids AS uuid[]))")
FORGET_ORDERS = text("DELETE FROM observed WHERE subject = ANY(CAST(:ids AS uuid[]))")

OBSERVED = ("central", "home")
"""The kinds of order that put a person into a tube of their own; health monitoring does not."""


async def forget_people(work: Work, ids: Sequence[UUID]) -> None:
    """Forget people whom the registry no longer has."""
    await work.run(FORGET_PEOPLE, ids=in_order(ids))


@reacts_to(Resident, forget=forget_people)
async def follow_residents(work: Work, residents: Sequence[Resident]) -> None:
    """Keep where the people live whom we may sample; their open retests move with them."""
    people = [{"id": one.id, "region": one.region, "active": one.state == "active"} for one in residents]
    await work.upsert(PersonRow, people)
    await retests.follow_people(work, [one.id for one in residents])


async def forget_orders(work: Work, ids: Sequence[UUID]) -> None:
    """Forget orders that observation no longer has."""
    await work.run(FORGET_ORDERS, ids=in_order(ids))


@reacts_to(Order, forget=forget_orders)
async def follow_orders(work: Work, orders: Sequence[Order]) -> None:
    """Know who is isolated: they are swabbed into tubes of their own."""
    observed = [
        {"subject": order.id, "resident_id": order.resident_id, "region": order.region}
        for order in orders
        if order.state == "open" and order.kind in OBSERVED
    ]
    await work.replace(ObservedRow, [order.id for order in orders], observed)
