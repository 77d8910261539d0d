"""Retention: data that must not be removed yet, as the registry says."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from shared.contracts.registry import LegalHold
from shared.feed.reader import reacts_to
from shared.ids import in_order
from shared.work import Work

FORGET = text("DELETE FROM legal_holds WHERE subject = ANY(CAST(:ids AS uuid[]))")
KEEP = text("""
    INSERT INTO legal_holds (subject, resident_id, region, until) VALUES (:subject, :resident_id, :region, :until)
""")


async def forget_holds(work: Work, ids: Sequence[UUID]) -> None:
    """Forget holds that the registry no longer has."""
    await work.run(FORGET, ids=in_order(ids))


@reacts_to(LegalHold, forget=forget_holds)
async def follow_legal_holds(work: Work, holds: Sequence[LegalHold]) -> None:
    """Know whose data is held for a court or an inquiry, and until when."""
    await forget_holds(work, [hold.id for hold in holds])
    for hold in holds:
        await keep(work, hold)


async def keep(work: Work, hold: LegalHold) -> None:
    """Hold a person's data here, unless the hold was released."""
    if hold.state == "active":
        await work.run(KEEP, subject=hold.id, resident_id=hold.resident_id, region=hold.region, until=hold.until)
