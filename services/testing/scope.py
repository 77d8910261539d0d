"""Whose eyes a statement looks through.

What a caller may *name* is decided by the caller's own row-level policy: it finds the tube, the person, the box. What
*follows* is the service's own doing and must see everything: whether that person was swabbed in another community this
morning, or who has to be called because of a laboratory's result. Such statements run in the service's hands, within
the same transaction.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text

from shared.actors import Actor, system
from shared.db import group_of
from shared.regions import OUTSIDE, Range, range_of
from shared.work import Work

TAKE_ROLE = text("""
    SELECT set_config('role', :role, true), set_config('scope.low', :low, true), set_config('scope.high', :high, true)
""")


@asynccontextmanager
async def service_hands(work: Work) -> AsyncIterator[None]:
    """Go on as the service itself, and then as the caller again. If it raises, the transaction ends anyway."""
    await _take(work, system(work.house.settings.service))
    yield
    await _take(work, work.actor)


async def _take(work: Work, actor: Actor) -> None:
    role = group_of(work.house.settings.service, actor.role.database_role)
    await work.run(TAKE_ROLE, role=role, low=actor.range[0], high=actor.range[1])


def within(actor: Actor, region: str | None) -> Range:
    """The part of a region that lies within the caller's scope, for statements in the service's hands."""
    low, high = range_of(region or "")
    return max(low, actor.range[0]), min(high, actor.range[1])


def own_region(actor: Actor) -> str:
    """The region of something that is bound to no known place: the caller's own."""
    return actor.range[0] or OUTSIDE
