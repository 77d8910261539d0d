"""Reactions that keep a copy of the registered laboratories."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from services.testing.laboratories.tables import LaboratoryRow
from shared.contracts.gateway import Party
from shared.core.ids import in_order
from shared.database.unit_of_work import UnitOfWork
from shared.feed.reader import reacts_to

DELETE_LABORATORIES = text("DELETE FROM laboratories WHERE id = ANY(CAST(:ids AS uuid[]))")


async def forget_parties(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Delete parties that the gateway no longer has."""
    await uow.run(DELETE_LABORATORIES, ids=in_order(ids))


@reacts_to(Party, forget=forget_parties)
async def follow_parties(uow: UnitOfWork, parties: Sequence[Party]) -> None:
    """Copy the registered laboratories. A laboratory that has ended gets no new tubes and keeps those it has."""
    laboratories = [one for one in parties if one.role == "laboratory"]
    rows = [{"id": one.id, "party": one.party, "active": one.state == "active"} for one in laboratories]
    await uow.upsert(LaboratoryRow, rows)
