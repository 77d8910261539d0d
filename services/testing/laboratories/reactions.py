"""Laboratories: which there are, for those who name one."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from services.testing.laboratories.tables import LaboratoryRow
from shared.contracts.gateway import Party
from shared.feed.reader import reacts_to
from shared.ids import in_order
from shared.work import Work

FORGET = text("DELETE FROM laboratories WHERE id = ANY(CAST(:ids AS uuid[]))")


async def forget_parties(work: Work, ids: Sequence[UUID]) -> None:
    """Forget parties that the gateway no longer has."""
    await work.run(FORGET, ids=in_order(ids))


@reacts_to(Party, forget=forget_parties)
async def follow_parties(work: Work, parties: Sequence[Party]) -> None:
    """Keep which laboratories are registered. One that has ended takes no new tubes; those it has stay its own."""
    laboratories = [one for one in parties if one.role == "laboratory"]
    rows = [{"id": one.id, "party": one.party, "active": one.state == "active"} for one in laboratories]
    await work.upsert(LaboratoryRow, rows)
