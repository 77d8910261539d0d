"""A burst leaves no database connections behind that nobody needs."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.database.engine import engine_of
from shared.database.idle_connections import IdleConnections
from tests.harness import Database

POOL = 6


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    """A registry's engine with a pool of its own."""
    engine = engine_of(database.settings("registry", database_pool=POOL))
    yield engine
    await engine.dispose()


async def use(engine: AsyncEngine, connections: int) -> set[int]:
    """Use so many connections at once; the process ids of their sessions."""
    everybody = asyncio.Barrier(connections)

    async def ask() -> int:
        async with engine.connect() as connection:
            pid = int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())
            await everybody.wait()
            return pid

    return set(await asyncio.gather(*(ask() for _ in range(connections))))


async def test_after_a_burst_the_connections_nobody_needed_are_closed(engine: AsyncEngine) -> None:
    idle = IdleConnections(engine)
    assert len(await use(engine, POOL)) == POOL
    assert await idle.close_unneeded() == 0, "all were needed since the last look"
    assert await idle.close_unneeded() == POOL
    assert idle.count == 0
    assert await idle.close_unneeded() == 0


async def test_what_is_needed_again_and_again_stays_open(engine: AsyncEngine) -> None:
    idle = IdleConnections(engine)
    first = await use(engine, POOL)
    await idle.close_unneeded()
    needed = await use(engine, 3)
    await idle.close_unneeded()
    assert await use(engine, 3) == needed <= first, "the warm ones are kept, the cold ones closed"
    assert idle.count == 3


async def test_a_burst_while_connections_are_closed_is_served(engine: AsyncEngine) -> None:
    idle = IdleConnections(engine)
    await use(engine, POOL)
    await idle.close_unneeded()
    for _ in range(5):
        closed, pids = await asyncio.gather(idle.close_unneeded(), use(engine, POOL))
        assert len(pids) == POOL
        assert 0 <= closed <= POOL


async def test_connections_that_the_server_has_ended_are_not_counted(engine: AsyncEngine, database: Database) -> None:
    idle = IdleConnections(engine)
    pids = await use(engine, POOL)
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute("SELECT pg_terminate_backend(pid, 10000) FROM unnest($1::int[]) AS pid", list(pids))
    await owner.close()
    assert not pids & await use(engine, 2)
    await idle.close_unneeded()
    await idle.close_unneeded()
    assert idle.count == 0
