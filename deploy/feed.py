"""`fangxian feed …`: how far each service has read, which entries failed, and how to rebuild a copy."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from deploy import data, secret_files, status
from deploy.embedded import home, postgres, valkey
from deploy.own_servers import as_role
from deploy.trouble import Trouble
from deploy.up import Installation, Options
from shared.core.settings import SERVICES, Service

if TYPE_CHECKING:
    from shared.feed.reader import Reader
    from shared.runtime.worker import Worker

T = TypeVar("T")

CURSORS = """
    SELECT owner, lane, cursor, extract(epoch FROM now() - moved_at)::float8 AS age FROM {service}.feed_cursors
"""
SELECT_LAGGING = """
    SELECT count(*) AS entries, min(at) AS oldest FROM {owner}.feed
    WHERE (epoch, xid, seq) > ($1, $2::text::xid8, $3) AND urgent = $4 AND type = ANY($5)
"""
DEAD_LETTERS = """
    SELECT type, subject, version, region, error, attempts, parked_at FROM {service}.feed_parked
    ORDER BY parked_at LIMIT 200
"""


@dataclass(frozen=True)
class Lag:
    """How far one service has read one lane of one owner's feed."""

    reader: Service
    owner: Service
    priority: str
    entries: int
    oldest: datetime | None
    """When the oldest unread entry was written."""
    idle_seconds: float | None
    """Seconds since the last read, even if there was nothing to read; None if it was never read."""


@dataclass(frozen=True)
class DeadLetter:
    """An entry that a service could not process."""

    service: Service
    type: str
    subject: str
    version: int
    error: str
    attempts: int
    parked_at: datetime


def installed(chosen: Options) -> Installation:
    """Return the installation that `fangxian up` started, with its addresses. Raises Trouble if it does not run."""
    directory = data.at(chosen.data)
    running = status.read(directory.status)
    if running is None or data.holder(directory) is None:
        raise Trouble(f"Nothing is running on {directory.path}. Start it with `fangxian up`.")
    if absent := status.not_named(running, chosen.own_servers):
        raise Trouble(f"{directory.path} uses your own servers: set {' and '.join(absent)} here as for `up`.")
    place = home.find(directory.path)
    owner = directory.keys / "owner"
    owner_url = chosen.database_url or postgres.owner_url(place, secret_files.read(owner / "database-owner.password"))
    redis_url = chosen.redis_url or valkey.redis_url(place, secret_files.read(owner / "valkey.password"))
    port = int(running["urls"]["gateway"].rsplit(":", 1)[1])
    return Installation(directory, replace(chosen, port=port), owner_url, redis_url, ())


def lag(installation: Installation) -> list[Lag]:
    """Return how far every service has read the feeds that it follows."""
    return asyncio.run(_as_owner(installation, lag_of))


def dead_letters(installation: Installation) -> list[DeadLetter]:
    """Return the failed entries of every service, oldest first."""
    return asyncio.run(_as_owner(installation, dead_letters_of))


def retry(installation: Installation) -> int:
    """Retry the parked entries. Returns how many were retried."""
    from shared.feed.reader import Reader

    return sum(
        asyncio.run(_with_reader(installation, s, o, Reader.retry_dead_letters)) for s in SERVICES for o in read_by(s)
    )


def rebuild(installation: Installation, service: Service, owner: Service) -> int:
    """Rebuild the copy that a service keeps of another's resources, while it runs. Returns the number of subjects."""
    from shared.feed.reader import Reader

    if owner not in read_by(service):
        raise Trouble(
            f"{service} does not read the feed of {owner}; it reads {', '.join(read_by(service)) or 'no feed'}."
        )
    return asyncio.run(_with_reader(installation, service, owner, Reader.rebuild))


async def lag_of(connection: asyncpg.Connection) -> list[Lag]:
    """Like `lag`, with a connection of the database's owner."""
    from shared.feed.log import PRIORITIES, Cursor

    found = []
    for service in SERVICES:
        types = _types_read_by(service)
        cursors = {
            (row["owner"], row["lane"]): (Cursor.parse(row["cursor"]), row["age"])
            for row in await connection.fetch(CURSORS.format(service=service))
        }
        for owner in read_by(service):
            for priority in PRIORITIES:
                cursor, age = cursors.get((owner, priority), (Cursor(), None))
                statement = SELECT_LAGGING.format(owner=owner)
                row = await connection.fetchrow(
                    statement, cursor.epoch, str(cursor.xid), cursor.seq, priority == "urgent", types
                )
                found.append(Lag(service, owner, priority, row["entries"], row["oldest"], age))
    return found


async def dead_letters_of(connection: asyncpg.Connection) -> list[DeadLetter]:
    """Like `dead_letters`, with a connection of the database's owner."""
    entries = [
        DeadLetter(
            service, row["type"], str(row["subject"]), row["version"], row["error"], row["attempts"], row["parked_at"]
        )
        for service in SERVICES
        for row in await connection.fetch(DEAD_LETTERS.format(service=service))
    ]
    return sorted(entries, key=lambda entry: entry.parked_at)


async def _as_owner(installation: Installation, act: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    connection = await asyncpg.connect(as_role(installation.owner_url))
    try:
        return await act(connection)
    finally:
        await connection.close()


async def _with_reader(
    installation: Installation, service: Service, owner: Service, act: "Callable[[Reader], Awaitable[T]]"
) -> T:
    from shared.feed.reader import Reader
    from shared.runtime.context import ServiceContext

    context = ServiceContext.build(installation.settings(service))
    try:
        await context.open()
        return await act(Reader(context, owner, _worker_of(service).reactions))
    finally:
        await context.close()


def read_by(service: Service) -> list[Service]:
    """Return the services to whose resources a service reacts."""
    from shared.contracts.resource import owner_of
    from shared.runtime.context import owners_read_by

    owners = {owner_of(type_name) for type_name in _types_read_by(service)}
    return [owner for owner in owners_read_by(service) if owner in owners]


def _types_read_by(service: Service) -> list[str]:
    reactions: Any = _worker_of(service).reactions
    return sorted({reaction.__reacts_to__.type for reaction in reactions})


def _worker_of(service: Service) -> "Worker":
    worker: Worker = importlib.import_module(f"services.{service}.worker").WORKER
    return worker
