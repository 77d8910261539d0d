"""The floor under everything that brings in rows: COPY of the very same rows into an empty table of the same shape."""

import io
import time

import asyncpg

ROUNDS = 3


async def copy_seconds(database: asyncpg.Connection, table: str) -> tuple[int, float]:
    """How many rows a table holds, and the seconds that COPY takes for them: the best of three.

    Binary, from memory, with the same columns, checks and indexes, without foreign keys and row-level security.
    """
    rows = io.BytesIO()
    await database.copy_from_query(f"SELECT * FROM {table}", output=rows, format="binary")  # noqa: S608
    await database.execute(f"DROP TABLE IF EXISTS bench.copied; CREATE TABLE bench.copied (LIKE {table} INCLUDING ALL)")
    await database.execute("CHECKPOINT")
    best = float("inf")
    for _ in range(ROUNDS):
        await database.execute("TRUNCATE bench.copied")
        rows.seek(0)
        began = time.perf_counter()
        done = await database.copy_to_table("copied", schema_name="bench", source=rows, format="binary")
        best = min(best, time.perf_counter() - began)
    await database.execute("DROP TABLE bench.copied")
    return int(done.split()[-1]), best
