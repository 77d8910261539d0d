"""Updates proxies with their people: a closed record ends them, and they move with the dependant."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from shared.contracts.registry import Proxy
from shared.database.unit_of_work import UnitOfWork

# Locks in the order of ids, because a person can be the guardian in one proxy and the dependant in another.
END_PROXIES = text("""
    UPDATE proxies SET state = 'ended', ended_by = :by, ended_at = :now, version = version + 1, updated_at = now()
    WHERE id IN (
        SELECT id FROM proxies WHERE state = 'active' AND (guardian_id = :id OR dependant_id = :id)
        ORDER BY id FOR UPDATE
    )
    RETURNING id, version, region, guardian_id, dependant_id, state
""")
MOVE_PROXIES = text("""
    UPDATE proxies SET region = residents.region, version = proxies.version + 1, updated_at = now()
    FROM residents
    WHERE residents.id = proxies.dependant_id AND proxies.id IN (
        SELECT active.id FROM proxies AS active JOIN residents AS home ON home.id = active.dependant_id
        WHERE active.state = 'active' AND active.region <> home.region AND home.id = ANY(CAST(:ids AS uuid[]))
        ORDER BY active.id FOR UPDATE OF active
    )
    RETURNING proxies.id, proxies.version, proxies.region, proxies.guardian_id, proxies.dependant_id, proxies.state
""")


async def end_with(uow: UnitOfWork, resident_id: UUID) -> None:
    """End all proxies in which this person is guardian or dependant, also with people outside the caller's scope."""
    async with uow.unscoped():
        rows = await uow.rows(END_PROXIES, id=resident_id, by=uow.actor.subject, now=uow.now)
    _publish(uow, [Proxy(**row) for row in rows], "ended", urgent=True)


async def move_with(uow: UnitOfWork, resident_ids: Sequence[UUID]) -> None:
    """Move the proxies of these dependants to their current regions."""
    async with uow.unscoped():
        rows = await uow.rows(MOVE_PROXIES, ids=list(resident_ids))
    _publish(uow, [Proxy(**row) for row in rows], "moved")


def _publish(uow: UnitOfWork, proxies: Sequence[Proxy], change: str, *, urgent: bool = False) -> None:
    uow.record_access(one for proxy in proxies for one in (proxy.guardian_id, proxy.dependant_id))
    uow.publish_all(proxies, change=change, urgent=urgent)
