"""Use cases of legal holds. A hold is published to all services, and none deletes the person's data while it holds."""

from uuid import UUID

from sqlalchemy import select

from services.registry.holds.schemas import Hold, NewHold
from services.registry.holds.tables import HoldRow
from services.registry.residents.tables import ResidentRow
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.governance.retention.reactions import forget_holds, keep
from shared.problems import LocalizedText, Problem


class HoldEnded(Problem):
    """The end of the hold is in the past, or the hold was released."""

    status = 409
    code = "hold_ended"
    title = LocalizedText(zh="该保全已到期或已解除", en="The hold has ended")
    fix = LocalizedText(
        zh="如仍需保全，请另行登记，期限须晚于当前时间",
        en="If it is still needed, create a new hold that ends in the future",
    )


async def hold_data(uow: UnitOfWork, new: NewHold) -> Hold:
    """Create a legal hold."""
    if new.until <= uow.now:
        raise HoldEnded(at="/until")
    person = await uow.get(ResidentRow, new.resident_id)
    row = uow.add(
        HoldRow(
            region=person.region,
            resident_id=person.id,
            reason=new.reason,
            ordered_by=new.ordered_by,
            until=new.until,
        )
    )
    await keep(uow, await uow.publish(row, change="held", urgent=True))
    uow.record_access([person.id])
    return row.shown()


async def release_hold(uow: UnitOfWork, hold_id: UUID) -> Hold:
    """Release a legal hold."""
    row = await uow.lock(HoldRow, hold_id)
    if row.released_at is not None:
        raise HoldEnded()
    row.released_at = uow.now
    await uow.publish(row, change="released")
    await forget_holds(uow, [row.id])
    uow.record_access([row.resident_id])
    return row.shown()


async def get_hold(uow: UnitOfWork, hold_id: UUID) -> Hold:
    """Return one legal hold."""
    row = await uow.get(HoldRow, hold_id)
    uow.record_access([row.resident_id])
    return row.shown()


async def list_holds(uow: UnitOfWork, page: Page) -> Listed[Hold]:
    """Return one page of legal holds."""

    def shown(row: HoldRow) -> Hold:
        uow.record_access([row.resident_id])
        return row.shown()

    return await uow.page(select(HoldRow), page, shown)
