"""Use cases of legal holds. A hold is published to all services, and none deletes the person's data while it holds."""

from uuid import UUID

from sqlalchemy import select

from services.registry.holds.schemas import Hold, NewHold
from services.registry.holds.tables import HoldRow
from services.registry.residents.tables import ResidentRow
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import Work
from shared.governance.retention.reactions import forget_holds, keep
from shared.problems import Problem, Text


class HoldEnded(Problem):
    """The end of the hold is in the past, or the hold was released."""

    status = 409
    code = "hold_ended"
    title = Text(zh="该保全已到期或已解除", en="The hold has ended")
    fix = Text(
        zh="如仍需保全，请另行登记，期限须晚于当前时间",
        en="If it is still needed, create a new hold that ends in the future",
    )


async def hold_data(work: Work, new: NewHold) -> Hold:
    """Create a legal hold."""
    if new.until <= work.now:
        raise HoldEnded(at="/until")
    person = await work.get(ResidentRow, new.resident_id)
    row = work.add(
        HoldRow(
            region=person.region,
            resident_id=person.id,
            reason=new.reason,
            ordered_by=new.ordered_by,
            until=new.until,
        )
    )
    await keep(work, await work.publish(row, change="held", urgent=True))
    work.saw([person.id])
    return row.shown()


async def release_hold(work: Work, hold_id: UUID) -> Hold:
    """Release a legal hold."""
    row = await work.lock(HoldRow, hold_id)
    if row.released_at is not None:
        raise HoldEnded()
    row.released_at = work.now
    await work.publish(row, change="released")
    await forget_holds(work, [row.id])
    work.saw([row.resident_id])
    return row.shown()


async def get_hold(work: Work, hold_id: UUID) -> Hold:
    """Return one legal hold."""
    row = await work.get(HoldRow, hold_id)
    work.saw([row.resident_id])
    return row.shown()


async def list_holds(work: Work, page: Page) -> Listed[Hold]:
    """Return one page of legal holds."""

    def shown(row: HoldRow) -> Hold:
        work.saw([row.resident_id])
        return row.shown()

    return await work.page(select(HoldRow), page, shown)
