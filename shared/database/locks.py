"""Locks with a name, held by one process of a service at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from sqlalchemy import text

from shared.core.ids import named_id
from shared.runtime.context import ServiceContext


@contextlib.asynccontextmanager
async def try_advisory_lock(context: ServiceContext, name: str) -> AsyncIterator[bool]:
    """Try to take a named advisory lock for the block. Yield False if another session holds it.

    PostgreSQL releases the lock if the process dies.
    """
    key = named_id("lock", f"{context.settings.service}:{name}").int % 2**63
    async with context.engine.connect() as connection:
        connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        is_locked = (await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})).scalar_one()
        try:
            yield bool(is_locked)
        finally:
            if is_locked:
                with contextlib.suppress(Exception):
                    await asyncio.shield(connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key}))
