"""Where it is looked for: everything an installation writes, keeps or says."""

import io
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from shared.core.settings import SERVICES
from tests.canary.needles import LONGEST, Finding, search
from tests.faults.site import Site

CHUNK_BYTES = 16 << 20
TABLES = """
    SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1
"""
PAGES = ("/metrics", "/readyz", "/livez", "/problems", "/openapi.json")
UNWRITTEN = (FileNotFoundError, PermissionError)


def of_file(place: str, path: Path) -> list[Finding]:
    """What a file holds, read in pieces that overlap."""
    found: dict[Finding, None] = {}
    before = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            if chunk.strip(b"\0"):
                found |= dict.fromkeys(search(place, before + chunk))
            before = chunk[-LONGEST:]
    return list(found)


def of_directory(place: str, directory: Path) -> list[Finding]:
    """What all files under a directory hold: the cluster with its WAL, the logs, the keys, the status."""
    found = []
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            where = f"{place}: {path.relative_to(directory)}"
            found += search(where, path.name.encode())
            try:
                found += of_file(where, path)
            except UNWRITTEN:  # a file of the server's that came and went
                continue
    return found


async def tables_of(connection: asyncpg.Connection) -> AsyncIterator[tuple[str, bytes]]:
    """Every table as COPY writes it, and its bytea columns as the bytes they are."""
    for row in await connection.fetch(TABLES):
        content = io.BytesIO()
        await connection.copy_from_query(f"SELECT * FROM {row['name']}", output=content)
        # bytea is written in hexadecimal: what lies in it in clear is looked for as such.
        yield f"table {row['name']}", content.getvalue()


async def of_tables(site: Site) -> list[Finding]:
    """What a dump of all tables holds."""
    async with site.owner() as connection:
        return [one async for place, content in tables_of(connection) for one in search(place, content)]


async def of_redis(site: Site) -> list[Finding]:
    """What every key of Valkey holds, names included."""
    found = []
    async with site.redis() as redis:
        async for key in redis.scan_iter():
            dumped = await redis.dump(key) or b""
            found += search("valkey", key + b"\n" + dumped + b"\n" + await _value(redis, key))
    return found


async def _value(redis: Any, key: bytes) -> bytes:
    """The parts of a value, as they are: a dump may be packed."""
    kind = (await redis.type(key)).decode()
    if kind == "string":
        return await redis.get(key) or b""
    if kind == "hash":
        return b"\n".join(one for pair in (await redis.hgetall(key)).items() for one in pair)
    if kind == "stream":
        return b"\n".join(one for _, entry in await redis.xrange(key) for pair in entry.items() for one in pair)
    if kind == "zset":
        return b"\n".join(await redis.zrange(key, 0, -1))
    return b"\n".join(await redis.lrange(key, 0, -1) if kind == "list" else await redis.smembers(key))


async def of_pages(site: Site) -> list[Finding]:
    """What metrics, health and documents say, of each service at its own address."""
    gateway = int(site.url.rsplit(":", 1)[1])
    found = []
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for offset, service in enumerate(("gateway", *(one for one in SERVICES if one != "gateway"))):
            for page in PAGES:
                answer = await client.get(f"http://127.0.0.1:{gateway + offset}{page}")
                found += search(f"{service}{page}", answer.content)
    return found


def of_traces(bodies: Iterable[bytes]) -> list[Finding]:
    """What a collector of traces was sent, as it came."""
    return [one for body in bodies for one in search("traces", body)]


def lines_of(events: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a subscriber was sent, by webhook id."""
    for webhook_id, event in events.items():
        yield f"webhook {webhook_id}", repr(event)
