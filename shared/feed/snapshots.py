"""Snapshots: the current state of all subjects of a type, for a reader that rebuilds."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select

from shared.contracts.resource import Resource
from shared.database.unit_of_work import UnitOfWork
from shared.feed.routes import Snapshot


def rows_of(kind: Any) -> Snapshot:
    """Build the snapshot function of a resource whose state is one row with a public representation."""

    async def snapshot(uow: UnitOfWork, after: UUID | None, limit: int) -> Sequence[Resource]:
        statement = select(kind).order_by(kind.id).limit(limit)
        if after is not None:
            statement = statement.where(kind.id > after)
        return [row.public() for row in await uow.session.scalars(statement)]

    return snapshot
