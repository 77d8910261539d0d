"""The subscriber's side of the feed: pull entries, apply newer versions, and commit effects and cursor together.

Each lane has one reader at a time (a session advisory lock). The lanes are read concurrently, so an urgent entry does
not wait for a batch of normal entries. An entry that fails permanently is found by bisection and parked. Transient
failures are retried. The result is the same for every order and every repetition of entries.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

import httpx
import msgspec
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.contracts.resource import RESOURCES, R, owner_of, read_all
from shared.core.actors import system
from shared.core.settings import Service
from shared.database.bulk import literal
from shared.database.locks import try_advisory_lock
from shared.database.unit_of_work import UnitOfWork, scalar
from shared.feed import log
from shared.feed.routes import MORE, NEXT, WAITS
from shared.http.failures import is_transient
from shared.observability import tracing
from shared.runtime.context import ServiceContext

logger = structlog.get_logger()

BATCH = 500
BATCH_OF_THE_REGISTRY = 2_000
"""Larger than `BATCH`, because a registry entry is one person, while a tube concerns ten."""
SNAPSHOT_PAGE = 500
IDLE_MOVE_SECONDS = 60
"""How often an empty lane is read, plus or minus a tenth."""
IDLE_REST_SECONDS = 15
"""The shortest time between two moves of an idle cursor, even if its lane is woken more often. It is much shorter than
the interval between two reads, so that each read moves the cursor even if it comes a little early."""

Reaction = Callable[[UnitOfWork, Sequence[Any]], Awaitable[None]]
ReactionT = TypeVar("ReactionT", bound=Callable[..., Awaitable[None]])


def reacts_to(
    resource: type[R], *, forget: Callable[[UnitOfWork, Sequence[UUID]], Awaitable[None]]
) -> Callable[[ReactionT], ReactionT]:
    """Declare that a function maintains a service's copy of another service's resource.

    The function receives a list of new states, one per subject and in no particular order, and updates the rows of each
    subject. It must have no effect outside its transaction. `forget` removes the rows of subjects that no longer exist.
    """

    def mark(reaction: ReactionT) -> ReactionT:
        reaction.__reacts_to__ = resource  # type: ignore[attr-defined]
        reaction.__forget__ = forget  # type: ignore[attr-defined]
        return reaction

    return mark


class Incoming(msgspec.Struct):
    """The fields of a CloudEvent that the reader needs."""

    type: str
    subject: str
    """The id of the subject, as text, because it is only compared here."""
    version: int
    region: str
    data: msgspec.Raw


SELECT_CURSORS = text("SELECT lane, cursor FROM feed_cursors WHERE owner = :owner")
LOCK_CURSORS = text("SELECT lane, cursor FROM feed_cursors WHERE owner = :owner ORDER BY lane FOR UPDATE")

# Locks the cursor. It changes no row if another process has moved the cursor.
MOVE_CURSOR = text("""
    INSERT INTO feed_cursors (owner, lane, cursor, moved_at) VALUES (:owner, :priority, :cursor, :now)
    ON CONFLICT (owner, lane) DO UPDATE SET cursor = excluded.cursor, moved_at = excluded.moved_at
        WHERE feed_cursors.cursor = :after
""")

# Locks the subjects in id order and returns those to skip, because an equal or newer version is already applied. A
# rebuild also applies an equal version. The result is usually empty.
# A parked entry of the same subject is deleted if its version is not newer.
RECORD_VERSIONS = """
    WITH entry AS (
        SELECT * FROM unnest(
            CAST(CAST(:types AS text) AS text[]), CAST(CAST(:subjects AS text) AS uuid[]),
            CAST(CAST(:versions AS text) AS bigint[])
        ) AS entry (type, subject, version)
    ), freed AS (
        DELETE FROM feed_parked AS parked USING entry
        WHERE parked.type = entry.type AND parked.subject = entry.subject AND parked.version <= entry.version
    ), fresh AS (
        INSERT INTO feed_held AS held (type, subject, version, held_at)
        SELECT type, subject, version, clock_timestamp() FROM entry ORDER BY type, subject
        ON CONFLICT (type, subject) DO UPDATE SET version = excluded.version, held_at = excluded.held_at
            WHERE held.version {newer} excluded.version
        RETURNING type, subject
    )
    SELECT type, subject::text AS subject FROM (
        SELECT type, subject FROM entry EXCEPT SELECT type, subject FROM fresh
    ) AS stale
"""
RECORD_NEWER_VERSIONS = text(RECORD_VERSIONS.format(newer="<"))
RECORD_SAME_OR_NEWER_VERSIONS = text(RECORD_VERSIONS.format(newer="<="))

DELETE_GONE_SUBJECTS = text("""
    DELETE FROM feed_held WHERE (type, subject) IN (
        SELECT type, subject FROM feed_held
        WHERE type = :type AND held_at < :since ORDER BY type, subject LIMIT :limit FOR UPDATE
    ) RETURNING subject
""")

PARK_ENTRY = text("""
    INSERT INTO feed_parked AS parked (type, subject, version, region, data, error)
    VALUES (:type, :subject, :version, :region, CAST(:data AS json), :error)
    ON CONFLICT (type, subject) DO UPDATE SET version = excluded.version, region = excluded.region,
        data = excluded.data, error = excluded.error, attempts = parked.attempts + 1, parked_at = now()
        WHERE parked.version <= excluded.version
""")


@dataclass(frozen=True)
class Batch:
    """Entries of a lane, between two cursors."""

    after: str
    following: str
    events: Sequence[Incoming]
    more: bool


@dataclass
class Reader:
    """Reads one owner's feed for one service."""

    context: ServiceContext
    owner: Service
    reactions: Sequence[Reaction]
    held_up: set[str] = field(default_factory=set)
    """The lanes to read again soon, because an entry waits for an older transaction, or because another reader held
    the lock and may have read before the last entry appeared."""
    _by_type: dict[str, list[Reaction]] = field(default_factory=dict)
    _cursors: dict[str, str] = field(default_factory=dict)
    """The cached cursors of the lanes. They can be behind the stored cursors, but never ahead."""
    _moved: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for reaction in self.reactions:
            type_name = cast("Any", reaction).__reacts_to__.type
            if owner_of(type_name) == self.owner:
                self._by_type.setdefault(type_name, []).append(reaction)

    @property
    def types(self) -> list[str]:
        """The resource types that have a reaction."""
        return sorted(self._by_type)

    @property
    def _batch(self) -> int:
        return BATCH_OF_THE_REGISTRY if self.owner == "registry" else BATCH

    async def drain(self, priorities: Sequence[str] = log.PRIORITIES) -> int:
        """Apply all current entries, urgent first. Return their number; a lane with another reader counts 0."""
        return sum([await self._drain(priority) for priority in priorities]) if self.types else 0

    async def _drain(self, priority: str) -> int:
        total = 0
        async with try_advisory_lock(self.context, f"feed:{self.owner}:{priority}") as got:
            self.held_up.add(priority)
            if priority not in self._cursors:
                await self._find_cursors()
            batch = await self._fetch(priority) if got else None
            while batch is not None and (batch.events or self._is_due(priority)):
                taken, batch = await self._take_and_fetch(priority, batch)
                total += taken
        return total

    async def _take_and_fetch(self, priority: str, batch: Batch) -> tuple[int, Batch | None]:
        """Apply a batch, and fetch the next one meanwhile if there is one."""
        ahead = asyncio.ensure_future(self._fetch(priority, batch.following)) if batch.more else None
        try:
            if await self._take(priority, batch):
                return len(batch.events), await ahead if ahead is not None else None
            await self._find_cursors()
            return 0, await self._fetch(priority)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.wait([ahead])

    async def _fetch(self, priority: str, after: str | None = None) -> Batch | None:
        """Fetch the batch after a cursor. If retention has dropped entries after it, rebuild and return None."""
        after = after or self._cursor(priority)
        params = {"types": self.types, "after": after, "lane": priority, "limit": str(self._batch)}
        response = await self._ask("/internal/feed", params)
        if response.status_code == httpx.codes.GONE:
            await self.rebuild()
            return None
        response.raise_for_status()
        events = msgspec.json.decode(response.content, type=list[Incoming])
        if response.headers.get(WAITS) != "1":
            self.held_up.discard(priority)
        return Batch(after, response.headers[NEXT], events, response.headers[MORE] == "1")

    async def _take(self, priority: str, batch: Batch) -> bool:
        """Apply a batch and move the cursor. Return False if another process has moved the cursor."""
        name, entries = f"feed {self.owner} {priority}", len(batch.events)
        with tracing.handling(name, entries=entries) if entries else nullcontext():
            return await self._take_within(priority, batch)

    async def _take_within(self, priority: str, batch: Batch) -> bool:
        async with self.context.system_unit_of_work(f"feed {self.owner}") as uow:
            move = {"owner": self.owner, "priority": priority, "after": batch.after, "cursor": batch.following}
            if not await uow.run(MOVE_CURSOR, move, now=uow.now):
                return False
            await self._apply(uow, newest(batch.events), RECORD_NEWER_VERSIONS)
        self._cursors[priority] = batch.following
        return True

    async def unread(self) -> dict[str, float]:
        """Return the age in seconds of the oldest unread entry of each lane; 0 if there is none."""
        await self._find_cursors()  # another worker may have moved them, or an operator may have reset them
        params = {"types": self.types} | {priority: self._cursor(priority) for priority in log.PRIORITIES}
        ages: dict[str, float] = (await self._ask("/internal/unread", params)).raise_for_status().json()
        return ages

    def _is_due(self, priority: str) -> bool:
        """Whether to move an idle cursor to the horizon now, so that retention never overtakes it."""
        now = time.monotonic()
        if now - self._moved.get(priority, -IDLE_REST_SECONDS) < IDLE_REST_SECONDS:
            return False
        self._moved[priority] = now
        return True

    async def _ask(self, path: str, params: dict[str, Any]) -> httpx.Response:
        actor = system(self.context.settings.service)
        return await self.context.service_clients.call(self.owner, "GET", path, actor, params=params)

    def _cursor(self, priority: str) -> str:
        return self._cursors.get(priority, str(log.Cursor()))

    async def _find_cursors(self) -> None:
        async with self.context.system_unit_of_work() as uow:
            self._cursors = {row["lane"]: row["cursor"] for row in await uow.rows(SELECT_CURSORS, owner=self.owner)}

    async def _apply(self, uow: UnitOfWork, events: Sequence[Incoming], hold: Any) -> None:
        """Apply a batch. On failure apply its halves separately, until the failing entry is found and parked."""
        if not events:
            return
        try:
            async with uow.savepoint():
                await self._react(uow, events, hold)
        except Exception as error:
            if is_transient(error):
                raise
            if len(events) == 1:
                await self._add_dead_letter(uow, events[0], error)
                return
            middle = len(events) // 2
            await self._apply(uow, events[:middle], hold)
            await self._apply(uow, events[middle:], hold)

    async def _react(self, uow: UnitOfWork, events: Sequence[Incoming], hold: Any) -> None:
        keys = {
            "types": literal([event.type for event in events]),
            "subjects": literal([event.subject for event in events]),
            "versions": literal([event.version for event in events]),
        }
        stale = {(row["type"], row["subject"]) for row in await uow.rows(hold, **keys)}
        fresh = [event for event in events if (event.type, event.subject) not in stale] if stale else events
        for type_name in self.types:
            states = [bytes(event.data) for event in fresh if event.type == type_name]
            if states:
                resources = read_all(RESOURCES[type_name], states)
                for reaction in self._by_type[type_name]:
                    await reaction(uow, resources)

    async def _add_dead_letter(self, uow: UnitOfWork, event: Incoming, error: Exception) -> None:
        # Only the type of the error, because its text may contain personal data.
        reason = type(error.orig).__name__ if isinstance(error, DBAPIError) and error.orig else type(error).__name__
        logger.error("feed.dead_letter", owner=self.owner, type=event.type, subject=event.subject, error=reason)
        await uow.run(
            PARK_ENTRY,
            type=event.type,
            subject=event.subject,
            version=event.version,
            region=event.region,
            data=bytes(event.data).decode(),
            error=reason,
        )

    async def retry_dead_letters(self) -> int:
        """Retry parked entries, at most 1,000. Return how many were retried."""
        statement = text("""
            SELECT type, subject::text AS subject, version, region, data::text AS data FROM feed_parked
            WHERE type = ANY(CAST(:types AS text[])) ORDER BY type, subject LIMIT 1000 FOR UPDATE
        """)
        async with self.context.system_unit_of_work(f"feed {self.owner} retry") as uow:
            events = [
                Incoming(row["type"], row["subject"], row["version"], row["region"], msgspec.Raw(row["data"].encode()))
                for row in await uow.rows(statement, types=self.types)
            ]
            await self._apply(uow, events, RECORD_NEWER_VERSIONS)
        return len(events)

    async def rebuild(self) -> int:
        """Rebuild all copies of this owner's resources from its snapshot. Return the number of subjects.

        Each page replaces the rows of its subjects in one transaction, so queries never miss them. The live feed
        continues meanwhile, because versions decide which state is newer. At the end, subjects that the snapshot no
        longer has are removed.
        """
        start = (await self._ask("/internal/horizon", {})).raise_for_status().json()["cursor"]
        async with self.context.system_unit_of_work() as uow:
            since = await scalar(uow, text("SELECT clock_timestamp()"))
        total = 0
        for type_name in self.types:
            after: str | None = None
            while True:
                page = await self._snapshot_page(type_name, after)
                if not page:
                    break
                async with self.context.system_unit_of_work(f"feed {self.owner} rebuild") as uow:
                    await self._apply(uow, page, RECORD_SAME_OR_NEWER_VERSIONS)
                total += len(page)
                after = page[-1].subject
            await self._forget_gone(type_name, since)
        async with self.context.system_unit_of_work(f"feed {self.owner} rebuild") as uow:
            held = {row["lane"]: row["cursor"] for row in await uow.rows(LOCK_CURSORS, owner=self.owner)}
            for priority in log.PRIORITIES:
                after = held.get(priority, str(log.Cursor()))
                moved = max(log.Cursor.parse(after), log.Cursor.parse(start))
                await uow.run(
                    MOVE_CURSOR, owner=self.owner, priority=priority, after=after, cursor=str(moved), now=uow.now
                )
        logger.info("feed.rebuilt", owner=self.owner, subjects=total)
        return total

    async def _forget_gone(self, type_name: str, since: datetime) -> None:
        """Remove the rows of subjects that neither the snapshot nor the live feed has contained since this time."""
        while True:
            async with self.context.system_unit_of_work(f"feed {self.owner} forget") as uow:
                gone = [
                    row["subject"]
                    for row in await uow.rows(DELETE_GONE_SUBJECTS, type=type_name, since=since, limit=BATCH)
                ]
                for reaction in self._by_type[type_name]:
                    await cast("Any", reaction).__forget__(uow, gone)
            if len(gone) < BATCH:
                return

    async def _snapshot_page(self, type_name: str, after: str | None) -> list[Incoming]:
        params = {"type": type_name, "limit": str(SNAPSHOT_PAGE)} | ({"after": after} if after else {})
        response = (await self._ask("/internal/snapshot", params)).raise_for_status()
        states = msgspec.json.decode(response.content, type=list[msgspec.Raw])
        heads = msgspec.json.decode(response.content, type=list[Head])
        return [
            Incoming(type_name, head.id, head.version, head.region, state)
            for head, state in zip(heads, states, strict=True)
        ]


class Head(msgspec.Struct):
    """The fields that every resource has."""

    id: str
    version: int
    region: str


def newest(events: Iterable[Incoming]) -> list[Incoming]:
    """Keep only the newest entry of each subject."""
    latest: dict[tuple[str, str], Incoming] = {}
    for event in events:
        known = latest.get((event.type, event.subject))
        if known is None or known.version < event.version:
            latest[event.type, event.subject] = event
    return list(latest.values())
