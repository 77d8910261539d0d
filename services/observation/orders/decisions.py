"""Decisions on orders that need two people (article 10): a member of the team proposes, a commander approves.

Each proposal is checked when it is made and again when it is carried out, because the order may have ended meanwhile.
"""

from uuid import UUID

from services.observation.orders.cascade import settle
from services.observation.orders.problems import OrderEnded, OrderGroundChanged, OrderRoomUnconfirmed, OrderTooLong
from services.observation.orders.schemas import (
    Conversion,
    ConversionOf,
    EarlyEnd,
    EarlyEndOf,
    Extension,
    ExtensionOf,
)
from services.observation.orders.tables import MOST_EXTRA_DAYS, OrderRow
from services.observation.orders.use_cases import open_order, restricted
from services.observation.people.cascade import TURN, TURN_KEY, cascade_people
from services.observation.protocols.rules import Protocol
from services.observation.protocols.use_cases import get_protocol
from shared.core.actors import Role
from shared.database.unit_of_work import UnitOfWork
from shared.governance.proposals.use_cases import Proposal, ProposalType, propose


async def propose_early_end(uow: UnitOfWork, order_id: UUID, request: EarlyEnd) -> Proposal:
    """Propose to end an order early. The proposal lists the exposures that were judged."""
    row = await open_order(uow, order_id)
    uow.record_access([row.resident_id])
    what = EarlyEndOf(order_id=order_id, day_0=row.day_0, exposures=row.exposures, **request.model_dump())
    return await propose(uow, EARLY_END, what, request.reason, region=row.region)


async def propose_conversion(uow: UnitOfWork, order_id: UUID, request: Conversion) -> Proposal:
    """Propose another kind of observation for the rest of the days."""
    row = await open_order(uow, order_id)
    uow.record_access([row.resident_id])
    _check_room(await get_protocol(uow, row.protocol), request)
    what = ConversionOf(order_id=order_id, **request.model_dump())
    return await propose(uow, CONVERSION, what, request.reason, region=row.region)


async def propose_extension(uow: UnitOfWork, order_id: UUID, request: Extension) -> Proposal:
    """Propose to add days to an order."""
    row = await open_order(uow, order_id)
    uow.record_access([row.resident_id])
    _check_days(row, request)
    what = ExtensionOf(order_id=order_id, **request.model_dump())
    return await propose(uow, EXTENSION, what, request.reason, region=row.region)


async def end_early(uow: UnitOfWork, what: EarlyEndOf, proposal_id: UUID) -> None:
    """End an order before its days or tests are complete. The listed exposures open no new order."""
    await uow.run(TURN, key=TURN_KEY)  # before the row lock, in the same order as `cascade_people`
    row = await open_order(uow, what.order_id)
    if (row.day_0, row.exposures) != (what.day_0, what.exposures):
        raise OrderGroundChanged()
    row.state, row.end_reason, row.ended_at = "ended", "ended_early", uow.now
    await restricted(uow, row, "ended_early")
    async with uow.unscoped():
        await cascade_people(uow, [row.resident_id])  # the household may have another positive that was not judged


async def convert(uow: UnitOfWork, what: ConversionOf, proposal_id: UUID) -> None:
    """Move a person to a site or home for the rest of the days."""
    row = await open_order(uow, what.order_id)
    protocol = await get_protocol(uow, row.protocol)
    _check_room(protocol, what)
    row.kind_set, row.kind_reason = what.kind, what.reason
    settle(row, None, protocol)
    await restricted(uow, row, "converted")


async def extend(uow: UnitOfWork, what: ExtensionOf, proposal_id: UUID) -> None:
    """Add days to an order."""
    row = await open_order(uow, what.order_id)
    _check_days(row, what)
    row.extra_days, row.extra_reason = row.extra_days + what.days, what.reason
    settle(row, None, await get_protocol(uow, row.protocol))
    await restricted(uow, row, "extended")


def _check_room(protocol: Protocol, to: Conversion) -> None:
    if to.kind == "home" and protocol.own_room.value and not to.own_room:
        raise OrderRoomUnconfirmed(at="/own_room")


def _check_days(row: OrderRow, by: Extension) -> None:
    if row.extra_days + by.days > MOST_EXTRA_DAYS:
        raise OrderTooLong(most=MOST_EXTRA_DAYS, at="/days")


EARLY_END = ProposalType("early_end", EarlyEndOf, Role.COMMAND, end_early, raises=[OrderEnded, OrderGroundChanged])
CONVERSION = ProposalType("conversion", ConversionOf, Role.COMMAND, convert, raises=[OrderEnded, OrderRoomUnconfirmed])
EXTENSION = ProposalType("extension", ExtensionOf, Role.COMMAND, extend, raises=[OrderEnded, OrderTooLong])
ORDER_KINDS = (EARLY_END, CONVERSION, EXTENSION)
