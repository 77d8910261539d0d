"""The writing of entries: one statement in the transaction of what it records, just before it commits.

The place, the time and the transaction of an entry are the database's own: no role of a service may write them.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from shared.actors import Actor, Role
from shared.audit.trail import Act, Trail
from shared.bulk import literal
from shared.ids import in_order
from shared.regions import EVERYTHING, NOTHING

WRITE = """
    INSERT INTO audit (
        epoch, kind, operation, target, actor, role, party, scope, purpose, reason, request_id, subjects
    )
    VALUES ((SELECT max(epoch) FROM feed_epochs), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::uuid[])
"""


async def write(session: AsyncSession, operation: str, trail: Trail) -> None:
    """Write what a transaction leaves behind."""
    entries = trail.entries()
    if not entries:
        return
    # Past SQLAlchemy's layers, which cost more than the entry itself: every request that shows a person pays this.
    driver: Any = await session.run_sync(lambda within: within.connection().connection.driver_connection)
    for act, subjects in entries:
        await driver.execute(WRITE, *_values(operation, trail.target, act, subjects))


def _values(operation: str, target: str, act: Act, subjects: Iterable[UUID]) -> tuple[Any, ...]:
    actor = act.actor
    return (
        act.kind.value,
        operation,
        target,
        actor.subject,
        actor.role.label,
        actor.party,
        scope_of(actor),
        act.purpose or actor.purpose,
        act.reason,
        actor.request_id,
        literal(in_order(subjects)),
    )


def scope_of(actor: Actor) -> str:
    """The region in whose name somebody acts; `~` for those who act in none: residents, machines, our own services."""
    if actor.role is Role.SERVICE and actor.range == EVERYTHING:
        return NOTHING[0]
    return actor.range[0] if actor.range[0] < actor.range[1] else NOTHING[0]
