"""The floor for the feed: a minimal reader. `python -m deploy.bench.floor_reader`, with its task as JSON on stdin.

It reads the same pages from the same owner, replaces the stored data of each subject, and moves its cursor in the same
transaction. It has no versions, no parked entries and no codes. Prints the number of entries and the seconds.
"""

import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import uvloop

from shared.core.actors import system
from shared.crypto.tokens import Signer
from shared.feed.reader import BATCH
from shared.feed.routes import MORE, NEXT

TABLES = """
    DROP TABLE IF EXISTS bench.facts, bench.cursor;
    CREATE TABLE bench.facts (LIKE gateway.facts INCLUDING ALL);
    CREATE TABLE bench.cursor (cursor text NOT NULL);
    INSERT INTO bench.cursor VALUES ('')
"""
DELETE_FACTS = "DELETE FROM bench.facts WHERE subject = ANY($1::uuid[])"
INSERT_FACTS = """
    INSERT INTO bench.facts (subject, number, resident_id, region, source_type, kind, at, sampled_at, pool_size)
    SELECT subject::uuid, number, resident::uuid, region, $1, 'negative', at::timestamptz, sampled_at::timestamptz, size
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[])
        WITH ORDINALITY AS fact (subject, resident, region, at, sampled_at, size, number)
"""
MOVE_CURSOR = "UPDATE bench.cursor SET cursor = $1"


class Task(msgspec.Struct):
    """What to read, from where, and into which database."""

    database_url: str
    testing_url: str
    keys: str
    type: str
    after: str


async def read_all(task: Task) -> tuple[int, float]:
    """Read to the end; how many entries, and the seconds."""
    signer = Signer.from_files("gateway", Path(task.keys))
    connection = await asyncpg.connect(task.database_url)
    await connection.execute(TABLES)
    total, cursor, more = 0, task.after, True
    async with httpx.AsyncClient(base_url=task.testing_url, trust_env=False, timeout=30) as client:
        began = time.perf_counter()
        while more:
            headers = {"authorization": f"Bearer {signer.token_for('testing', system('gateway'))}"}
            asked = {"types": task.type, "after": cursor, "lane": "normal", "limit": str(BATCH)}
            answer = (await client.get("/internal/feed", params=asked, headers=headers)).raise_for_status()
            events = msgspec.json.decode(answer.content)
            cursor, more = answer.headers[NEXT], answer.headers[MORE] == "1"
            async with connection.transaction():
                await _replace(connection, task.type, events)
                await connection.execute(MOVE_CURSOR, cursor)
            total += len(events)
        seconds = time.perf_counter() - began
    await connection.execute("DROP TABLE bench.facts, bench.cursor")
    await connection.close()
    return total, seconds


async def _replace(connection: asyncpg.Connection, kind: str, events: list[dict[str, Any]]) -> None:
    tubes = [event["data"] for event in events]
    facts = [
        (tube["id"], sample["resident_id"], tube["region"], tube["result"]["reported_at"], sample["sampled_at"], 10)
        for tube in tubes
        for sample in tube["samples"]
    ]
    await connection.execute(DELETE_FACTS, [tube["id"] for tube in tubes])
    if facts:
        await connection.execute(INSERT_FACTS, kind, *map(list, zip(*facts, strict=True)))


if __name__ == "__main__":
    print(msgspec.json.encode(uvloop.run(read_all(msgspec.json.decode(sys.stdin.buffer.read(), type=Task)))).decode())
