"""Proxies follow their people: they end when either's record is closed, and are where the dependant lives."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from shared.contracts.registry import Proxy
from shared.work import Work

# Locked in the order of their ids, for a person can be a guardian here and a dependant there.
END = text("""
    UPDATE proxies SET state = 'ended', ended_by = :by, ended_at = :now, version = version + 1, updated_at = now()
    WHERE id IN (
        SELECT id FROM proxies WHERE state = 'active' AND (guardian_id = :id OR dependant_id = :id)
        ORDER BY id FOR UPDATE
    )
    RETURNING id, version, region, guardian_id, dependant_id, state
""")
FOLLOW = text("""
    UPDATE proxies SET region = residents.region, version = proxies.version + 1, updated_at = now()
    FROM residents
    WHERE residents.id = proxies.dependant_id AND proxies.id IN (
        SELECT active.id FROM proxies AS active JOIN residents AS home ON home.id = active.dependant_id
        WHERE active.state = 'active' AND active.region <> home.region AND home.id = ANY(CAST(:ids AS uuid[]))
        ORDER BY active.id FOR UPDATE OF active
    )
    RETURNING proxies.id, proxies.version, proxies.region, proxies.guardian_id, proxies.dependant_id, proxies.state
""")


async def end_with(work: Work, resident_id: UUID) -> None:
    """Nobody acts for this person any more, nor this person for anybody, wherever the others live."""
    async with work.everywhere():
        rows = await work.rows(END, id=resident_id, by=work.actor.subject, now=work.now)
    _tell(work, [Proxy(**row) for row in rows], "ended", urgent=True)


async def move_with(work: Work, resident_ids: Sequence[UUID]) -> None:
    """The proxies of these dependants are where they live now."""
    async with work.everywhere():
        rows = await work.rows(FOLLOW, ids=list(resident_ids))
    _tell(work, [Proxy(**row) for row in rows], "moved")


def _tell(work: Work, proxies: Sequence[Proxy], change: str, *, urgent: bool = False) -> None:
    work.saw(one for proxy in proxies for one in (proxy.guardian_id, proxy.dependant_id))
    work.publish_all(proxies, change=change, urgent=urgent)
