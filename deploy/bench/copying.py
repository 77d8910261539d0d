"""The floors for paths that insert rows: the same rows, inserted into an empty table with the same definition.

COPY is the fastest possible way. One INSERT with foreign keys is the fastest way that also checks the data.
"""

import io
import time
from collections.abc import Awaitable, Callable

import asyncpg

ROUNDS = 3

FOREIGN_KEYS = """
    SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = CAST($1::text AS regclass) AND contype = 'f'
"""


async def copy_seconds(database: asyncpg.Connection, table: str) -> tuple[int, float]:
    """Return the number of rows in a table, and the seconds that COPY needs for them: the best of three runs.

    COPY is binary, from memory, with the same columns, checks and indexes, without foreign keys and row-level security.
    """
    rows = io.BytesIO()
    await database.copy_from_query(f"SELECT * FROM {table}", output=rows, format="binary")  # noqa: S608

    async def copy() -> str:
        rows.seek(0)
        done: str = await database.copy_to_table("brought", schema_name="bench", source=rows, format="binary")
        return done

    await _make(database, table)
    return await _best(database, copy)


async def insert_seconds(database: asyncpg.Connection, table: str) -> float:
    """Return the seconds that one INSERT needs for the same rows, with foreign keys: the best of three runs."""

    async def insert() -> str:
        done: str = await database.execute(f"INSERT INTO bench.brought SELECT * FROM {table}")  # noqa: S608
        return done

    await _make(database, table)
    for [key] in await database.fetch(FOREIGN_KEYS, table):
        await database.execute(f"ALTER TABLE bench.brought ADD {key}")
    _, seconds = await _best(database, insert)
    return seconds


async def _make(database: asyncpg.Connection, table: str) -> None:
    await database.execute("DROP TABLE IF EXISTS bench.brought")
    await database.execute(f"CREATE TABLE bench.brought (LIKE {table} INCLUDING ALL)")
    await database.execute("CHECKPOINT")


async def _best(database: asyncpg.Connection, bring: Callable[[], Awaitable[str]]) -> tuple[int, float]:
    """How many rows were brought, and in how many seconds at best. The table goes."""
    best = float("inf")
    for _ in range(ROUNDS):
        await database.execute("TRUNCATE bench.brought")
        began = time.perf_counter()
        done = await bring()
        best = min(best, time.perf_counter() - began)
    await database.execute("DROP TABLE bench.brought")
    return int(done.split()[-1]), best
