"""Write audit entries in the transaction of the act, just before it commits.

The database sets the number, the time and the transaction id of an entry. No role of a service may write them.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from shared.audit.trail import Act, Trail
from shared.core.actors import Actor, Role
from shared.core.ids import in_order
from shared.core.regions import EVERYTHING, NOTHING
from shared.database.bulk import literal

INSERT_ENTRY = """
    INSERT INTO audit (
        epoch, kind, operation, target, actor, role, party, scope, purpose, reason, request_id, subjects
    )
    VALUES ((SELECT max(epoch) FROM feed_epochs), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::uuid[])
"""


async def write(session: AsyncSession, operation: str, trail: Trail) -> None:
    """Write the audit entries of a transaction."""
    entries = trail.entries()
    if not entries:
        return
    # Bypass SQLAlchemy, which costs more than the entry itself, because every request that shows a person writes one.
    driver: Any = await session.run_sync(lambda within: within.connection().connection.driver_connection)
    for act, subjects in entries:
        await driver.execute(INSERT_ENTRY, *_values(operation, trail.target, act, subjects))


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
    """Return the region on whose behalf the actor acts; `~` for residents, machines and services, which have none."""
    if actor.role is Role.SERVICE and actor.range == EVERYTHING:
        return NOTHING[0]
    return actor.range[0] if actor.range[0] < actor.range[1] else NOTHING[0]
