"""Orders: what happens when people look at them, end, convert or extend them. Facts open them (`following.py`)."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from services.observation.orders import notice
from services.observation.orders.following import settle
from services.observation.orders.schemas import Conversion, EarlyEnd, EarlyEndAsked, Extension, OrderPlan, TestDay
from services.observation.orders.tables import OrderRow
from services.observation.people.rules import days_of
from services.observation.protocols import rules
from services.observation.protocols.rules import Protocol
from services.observation.protocols.use_cases import get_protocol
from shared.actors import Role
from shared.audit.kinds import Kind as Act
from shared.contracts.observation import Order, OrderKind, OrderState
from shared.days import SHANGHAI, day_of
from shared.problems import Problem, Text
from shared.proposals.use_cases import Kind, Proposal, propose
from shared.regions import range_of
from shared.work import Listed, Page, Work

MOST_EXTRA_DAYS = 60


class OrderEnded(Problem):
    """The order is not open any more."""

    status = 409
    code = "order_ended"
    title = Text(zh="该医学观察已结束", en="The observation has ended")
    fix = Text(zh="请重新读取", en="Fetch it again")


class OrderDaysIncomplete(Problem):
    """Its days are not complete."""

    status = 409
    code = "order_days_incomplete"
    title = Text(zh="观察期未满", en="The days are not complete")
    what = Text(zh="观察期至 {ends_at} 满", en="The days are complete at {ends_at}")
    fix = Text(
        zh="请期满后再解除；确需提前的，请提出申请，由指挥部审批",
        en="End it when the days are complete, or propose an early end to the command",
    )


class OrderTestsMissing(Problem):
    """A test of the protocol is not negative yet."""

    status = 409
    code = "order_tests_missing"
    title = Text(zh="规定的核酸检测未完成", en="Tests of the protocol are missing")
    what = Text(zh="缺第 {days} 天的阴性单采结果", en="There is no own negative single tube for day {days}")
    fix = Text(zh="请补采单管，结果阴性后再解除", en="Take another single tube, and end it when that is negative")


class OrderRoomUnconfirmed(Problem):
    """Home observation needs a room of one's own."""

    status = 422
    code = "order_room_unconfirmed"
    title = Text(zh="未确认单人单间", en="A room of one's own is not confirmed")
    fix = Text(zh="请上门确认有单独房间后填写 own_room", en="See that there is one, then say so in own_room")


class OrderTooLong(Problem):
    """It was extended by more than anybody may be held."""

    status = 409
    code = "order_extra_days"
    title = Text(zh="延长天数过多", en="Too many days are added")
    what = Text(zh="累计延长不得超过 {most} 天", en="At most {most} days may be added in all")
    fix = Text(zh="请由指挥部研判", en="Let the command decide about the case")


@dataclass(frozen=True)
class OrderFilter:
    """Which orders are asked for."""

    region: str | None = None
    state: OrderState | None = None
    kind: OrderKind | None = None
    resident_id: UUID | None = None

    def clauses(self) -> list[Any]:
        """The filter as SQL."""
        found: list[Any] = []
        if self.region is not None:
            low, high = range_of(self.region)
            found += [OrderRow.region >= low, OrderRow.region < high]
        for column in ("state", "kind", "resident_id"):
            value = getattr(self, column)
            if value is not None:
                found.append(getattr(OrderRow, column) == value)
        return found


async def get_order(work: Work, order_id: UUID) -> Order:
    row = await work.get(OrderRow, order_id)
    work.saw([row.resident_id])
    return row.public()


async def list_orders(work: Work, where: OrderFilter, page: Page) -> Listed[Order]:
    listed = await work.page(select(OrderRow).where(*where.clauses()), page, OrderRow.public)
    work.saw(order.resident_id for order in listed.items)
    return listed


async def plan_of_order(work: Work, order_id: UUID) -> OrderPlan:
    row = await work.get(OrderRow, order_id)
    work.saw([row.resident_id])
    protocol = await get_protocol(work, row.protocol)
    missing = _missing(row, protocol)
    return OrderPlan(
        order_id=row.id,
        state=row.state,
        kind=row.kind,
        protocol=row.protocol,
        day_0=row.day_0,
        day=(day_of(work.now) - row.day_0).days,
        days=days_of(row.kind, protocol, row.extra_days),
        ends_at=row.ends_at,
        tests=[
            TestDay(day=day, date=rules.date_of(row.day_0, day), done=day not in missing)
            for day in protocol.test_days[row.kind].value
        ],
        visits_a_day=protocol.visits_a_day[row.kind].value,
        temperatures_a_day=protocol.temperatures_a_day.value,
        may_end=row.state == "open" and rules.may_end(work.now, row.ends_at, missing),
        end_reason=row.end_reason,
        kind_reason=row.kind_reason,
        extra_reason=row.extra_reason,
    )


async def notice_of_order(work: Work, order_id: UUID) -> str:
    row = await work.get(OrderRow, order_id)
    work.saw([row.resident_id])
    return notice.render(row.public(), await get_protocol(work, row.protocol), row.end_reason, row.extra_days)


async def end_order(work: Work, order_id: UUID) -> Order:
    row = await _open_order(work, order_id)
    missing = _missing(row, await get_protocol(work, row.protocol))
    if work.now < row.ends_at:
        raise OrderDaysIncomplete(ends_at=f"{row.ends_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}")
    if not rules.may_end(work.now, row.ends_at, missing):
        raise OrderTestsMissing(days=", ".join(map(str, missing)))
    row.state, row.end_reason, row.ended_at = "ended", "completed", work.now
    return await _restricted(work, row, "ended")


async def propose_early_end(work: Work, order_id: UUID, asked: EarlyEndAsked) -> Proposal:
    row = await _open_order(work, order_id)
    work.saw([row.resident_id])
    return await propose(work, EARLY_END, EarlyEnd(order_id=order_id), asked.reason, region=row.region)


async def end_early(work: Work, what: EarlyEnd, proposal_id: UUID) -> None:
    """End what two people agreed should end. The exposure it rested on opens no other order."""
    row = await _open_order(work, what.order_id)
    row.state, row.end_reason, row.ended_at = "ended", "ended_early", work.now
    await _restricted(work, row, "ended_early")


EARLY_END = Kind("early_end", EarlyEnd, Role.COMMAND, end_early, raises=[OrderEnded])


async def convert_order(work: Work, order_id: UUID, to: Conversion) -> Order:
    row = await _open_order(work, order_id)
    protocol = await get_protocol(work, row.protocol)
    if to.kind == "home" and protocol.own_room.value and not to.own_room:
        raise OrderRoomUnconfirmed(at="/own_room")
    row.kind_set, row.kind_reason = to.kind, to.reason
    settle(row, None, protocol)
    return await _restricted(work, row, "converted")


async def extend_order(work: Work, order_id: UUID, by: Extension) -> Order:
    row = await _open_order(work, order_id)
    if row.extra_days + by.days > MOST_EXTRA_DAYS:
        raise OrderTooLong(most=MOST_EXTRA_DAYS, at="/days")
    row.extra_days, row.extra_reason = row.extra_days + by.days, by.reason
    settle(row, None, await get_protocol(work, row.protocol))
    return await _restricted(work, row, "extended")


async def _open_order(work: Work, order_id: UUID) -> OrderRow:
    row = await work.lock(OrderRow, order_id)
    if row.state != "open":
        raise OrderEnded()
    return row


async def _restricted(work: Work, row: OrderRow, change: str) -> Order:
    """Tell everybody what the person may do from now on, and leave it in the audit as what it is."""
    work.audit(kind=Act.RESTRICTION, subjects=[row.resident_id], reason=f"order.{change}")
    return await work.publish(row, change=change, urgent=True)


def _missing(row: OrderRow, protocol: Protocol) -> list[int]:
    return rules.tests_missing(row.day_0, protocol.test_days[row.kind].value, row.negatives)
