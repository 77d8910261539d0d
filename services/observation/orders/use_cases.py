"""Use cases of orders: show and end them. `cascade.py` opens them from facts."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from services.observation.orders import notice
from services.observation.orders.problems import OrderDaysIncomplete, OrderEnded, OrderTestsMissing
from services.observation.orders.schemas import OrderPlan, TestDay
from services.observation.orders.tables import OrderRow
from services.observation.people.rules import days_of
from services.observation.protocols import rules
from services.observation.protocols.rules import Protocol
from services.observation.protocols.use_cases import get_protocol
from shared.audit.kinds import Kind
from shared.contracts.observation import Order, OrderKind, OrderState
from shared.core.days import SHANGHAI, day_of
from shared.core.regions import range_of
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork


@dataclass(frozen=True)
class OrderFilter:
    """The filter of a list of orders."""

    region: str | None = None
    state: OrderState | None = None
    kind: OrderKind | None = None
    resident_id: UUID | None = None

    def clauses(self) -> list[Any]:
        """Return the filter as SQL conditions."""
        conditions: list[Any] = []
        if self.region is not None:
            low, high = range_of(self.region)
            conditions += [OrderRow.region >= low, OrderRow.region < high]
        for column in ("state", "kind", "resident_id"):
            value = getattr(self, column)
            if value is not None:
                conditions.append(getattr(OrderRow, column) == value)
        return conditions


async def get_order(uow: UnitOfWork, order_id: UUID) -> Order:
    """Return one order."""
    row = await uow.get(OrderRow, order_id)
    uow.record_access([row.resident_id])
    return row.public()


async def list_orders(uow: UnitOfWork, where: OrderFilter, page: Page) -> Listed[Order]:
    """Return one page of orders."""
    listed = await uow.page(select(OrderRow).where(*where.clauses()), page, OrderRow.public)
    uow.record_access(order.resident_id for order in listed.items)
    return listed


async def plan_of_order(uow: UnitOfWork, order_id: UUID) -> OrderPlan:
    """Return the plan of an order."""
    row = await uow.get(OrderRow, order_id)
    uow.record_access([row.resident_id])
    protocol = await get_protocol(uow, row.protocol)
    missing = _missing(row, protocol)
    return OrderPlan(
        order_id=row.id,
        state=row.state,
        kind=row.kind,
        protocol=row.protocol,
        day_0=row.day_0,
        day=(day_of(uow.now) - row.day_0).days,
        days=days_of(row.kind, protocol, row.extra_days),
        ends_at=row.ends_at,
        tests=[
            TestDay(day=day, date=rules.date_of(row.day_0, day), done=day not in missing)
            for day in protocol.test_days[row.kind].value
        ],
        visits_a_day=protocol.visits_a_day[row.kind].value,
        temperatures_a_day=protocol.temperatures_a_day.value,
        may_end=row.state == "open" and rules.may_end(uow.now, row.ends_at, missing),
        end_reason=row.end_reason,
        kind_reason=row.kind_reason,
        extra_reason=row.extra_reason,
    )


async def notice_of_order(uow: UnitOfWork, order_id: UUID) -> str:
    """Return the printable notice of an order as HTML."""
    row = await uow.get(OrderRow, order_id)
    uow.record_access([row.resident_id])
    settings = uow.context.settings
    issuer = notice.Issuer(settings.headquarters, settings.plan)
    return notice.render(row.public(), await get_protocol(uow, row.protocol), row.end_reason, row.extra_days, issuer)


async def end_order(uow: UnitOfWork, order_id: UUID) -> Order:
    """End an order whose days and tests are complete."""
    row = await open_order(uow, order_id)
    missing = _missing(row, await get_protocol(uow, row.protocol))
    if uow.now < row.ends_at:
        raise OrderDaysIncomplete(ends_at=f"{row.ends_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}")
    if not rules.may_end(uow.now, row.ends_at, missing):
        raise OrderTestsMissing(days=", ".join(map(str, missing)))
    row.state, row.end_reason, row.ended_at = "ended", "completed", uow.now
    return await restricted(uow, row, "ended")


async def open_order(uow: UnitOfWork, order_id: UUID) -> OrderRow:
    """Lock and return an open order. Raises OrderEnded."""
    row = await uow.lock(OrderRow, order_id)
    if row.state != "open":
        raise OrderEnded()
    return row


async def restricted(uow: UnitOfWork, row: OrderRow, change: str) -> Order:
    """Publish a change of a restriction, and audit it as such."""
    uow.audit(kind=Kind.RESTRICTION, subjects=[row.resident_id], reason=f"order.{change}")
    return await uow.publish(row, change=change, urgent=True)


def _missing(row: OrderRow, protocol: Protocol) -> list[int]:
    return rules.tests_missing(row.day_0, protocol.test_days[row.kind].value, row.negatives)
