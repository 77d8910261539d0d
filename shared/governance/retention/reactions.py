"""Retention: the legal holds of the registry, which stop the removal of data."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from shared.contracts.registry import LegalHold
from shared.core.ids import in_order
from shared.database.unit_of_work import UnitOfWork
from shared.feed.reader import reacts_to

DELETE_HOLDS = text("DELETE FROM legal_holds WHERE subject = ANY(CAST(:ids AS uuid[]))")
INSERT_HOLD = text("""
    INSERT INTO legal_holds (subject, resident_id, region, until) VALUES (:subject, :resident_id, :region, :until)
""")


async def forget_holds(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Delete holds that the registry no longer has."""
    await uow.run(DELETE_HOLDS, ids=in_order(ids))


@reacts_to(LegalHold, forget=forget_holds)
async def follow_legal_holds(uow: UnitOfWork, holds: Sequence[LegalHold]) -> None:
    """Store whose data is held for a court or an inquiry, and until when."""
    await forget_holds(uow, [hold.id for hold in holds])
    for hold in holds:
        await keep(uow, hold)


async def keep(uow: UnitOfWork, hold: LegalHold) -> None:
    """Store a hold if it is active."""
    if hold.state == "active":
        await uow.run(INSERT_HOLD, subject=hold.id, resident_id=hold.resident_id, region=hold.region, until=hold.until)
