"""Work: one transaction on behalf of one actor.

It begins with its first statement, under the actor's database role and scope, and commits before the answer is sent.
Feed entries, the audit entry and the idempotency record commit with it. No network call belongs inside it.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Executable, Select, TextClause, event, text
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Session, SessionTransaction

from shared import bulk, clock
from shared.actors import Actor
from shared.contracts.resource import R, Resource
from shared.db import Row, group_of
from shared.feed import log
from shared.problems import NotFound, Problem, Text, VersionMismatch

if TYPE_CHECKING:
    from shared.house import House

T = TypeVar("T")
F = TypeVar("F")
Public = TypeVar("Public", bound=Resource, covariant=True)
RowT = TypeVar("RowT", bound=Row)

MOST_PER_PAGE = 200


class InvalidCursor(Problem):
    """The cursor was not given by this list."""

    status = 422
    code = "invalid_cursor"
    title = Text(zh="分页游标无效", en="The cursor is not one of ours")
    fix = Text(zh="请原样使用上一页的 next_cursor，或从头开始", en="Send next_cursor as it was given, or start anew")


class Publishable(Protocol[Public]):
    """A row that has a public face."""

    id: Any
    version: Any

    def public(self) -> Public:
        """What the API answers and the feed carries of this row."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for."""

    after: int = 0
    limit: int = 50


class Listed(BaseModel, Generic[T]):
    """One page of a list. `next_cursor` is null on the last."""

    model_config = ConfigDict(frozen=True)

    items: list[T]
    next_cursor: str | None = None


ENTER = text("""
    SELECT set_config('role', :role, true),
           set_config('scope.low', :low, true),
           set_config('scope.high', :high, true),
           set_config('scope.residents', :residents, true),
           set_config('scope.party', :party, true)
""")

AUDIT = text("""
    INSERT INTO audit (at, actor, role, scope, purpose, request_id, operation, subjects)
    VALUES (:at, :actor, :role, :scope, :purpose, :request_id, :operation, CAST(:subjects AS uuid[]))
""")


class Work:
    """One transaction on behalf of one actor. Use it as `async with house.work(actor) as work:`."""

    def __init__(self, house: "House", actor: Actor, operation: str, now: datetime | None = None) -> None:
        self.house = house
        self.actor = actor
        self.operation = operation
        self.now = now or clock.now()
        self.session = AsyncSession(house.engine, expire_on_commit=False, autoflush=False)
        self._entries: list[log.Entry] = []
        self._seen: set[UUID] = set()
        self._why = ""
        event.listen(self.session.sync_session, "after_begin", self._enter)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                await self._commit()
        finally:
            await self.session.close()

    def _enter(self, session: Session, transaction: SessionTransaction, connection: Connection) -> None:
        """Take the actor's role and scope, as the first statement of the transaction."""
        if transaction.nested:
            return
        actor = self.actor
        connection.execute(
            ENTER,
            {
                "role": group_of(self.house.settings.service, actor.role.database_role),
                "low": actor.range[0],
                "high": actor.range[1],
                "residents": "{" + ",".join(str(resident) for resident in actor.residents) + "}",
                "party": actor.party,
            },
        )

    async def _commit(self) -> None:
        await self.session.flush()
        if self.house.settings.publish:
            await log.write(self.session, self._entries)
        if self._seen:
            await self._audit()
        await self.session.commit()
        if self._entries:
            self.house.wake_subscribers()

    async def _audit(self) -> None:
        actor = self.actor
        await self.session.execute(
            AUDIT,
            {
                "at": self.now,
                "actor": actor.subject,
                "role": actor.role.label,
                "scope": actor.range[0],
                "purpose": self._why or actor.purpose,
                "request_id": actor.request_id,
                "operation": self.operation,
                "subjects": log.uuids(self._seen),
            },
        )

    # What use cases say -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part of this work that can fail by itself: what it wrote and published is undone, the rest goes on."""
        published, seen = len(self._entries), set(self._seen)
        try:
            async with self.session.begin_nested():
                yield
                await self.session.flush()
        except BaseException:
            self.session.expunge_all()
            del self._entries[published:]
            self._seen = seen
            raise

    def add(self, row: RowT) -> RowT:
        """Keep a new row."""
        self.session.add(row)
        return row

    async def get(self, kind: type[RowT], id: UUID, missing: type[Problem] = NotFound) -> RowT:  # noqa: A002
        """The row of an id within the actor's scope, or the problem `missing`."""
        row = await self.session.get(kind, id)
        if row is None:
            raise missing()
        return row

    async def lock(self, kind: type[RowT], id: UUID, missing: type[Problem] = NotFound) -> RowT:  # noqa: A002
        """The row of an id, locked until this work ends."""
        row = await self.session.get(kind, id, with_for_update=True, populate_existing=True)
        if row is None:
            raise missing()
        return row

    async def rows(self, statement: TextClause | Select[Any], **values: Any) -> Sequence[RowMapping]:
        """What a statement returns, as mappings. Pending rows are written first."""
        await self.session.flush()
        return (await self.session.execute(statement, values)).mappings().all()

    async def run(self, statement: Executable, given: Mapping[str, Any] | None = None, /, **values: Any) -> int:
        """Carry out a statement; how many rows it touched."""
        await self.session.flush()
        result: Any = await self.session.execute(statement, {**(given or {}), **values})
        return int(result.rowcount)

    async def publish(self, row: Publishable[R], *, change: str, urgent: bool = False) -> R:
        """Put a changed row's public face on the feed, and return it as the answer."""
        await self.session.flush()
        resource = row.public()
        self._entries.append(log.Entry(resource, change, urgent))
        return resource

    def publish_all(self, resources: Iterable[Resource], *, change: str, urgent: bool = False) -> None:
        """Put resources made from what statements returned on the feed."""
        self._entries.extend(log.Entry(resource, change, urgent) for resource in resources)

    def saw(self, ids: Iterable[UUID]) -> None:
        """Note whose personal data this work looks at or changes. One audit entry holds them all."""
        self._seen.update(ids)

    def revealed(self, ids: Iterable[UUID], purpose: str, reason: str) -> None:
        """Note whose personal data this work shows in clear, and what for. The audit entry says all of it."""
        self.saw(ids)
        self._why = f"reveal: {purpose}: {reason}"

    async def page(self, statement: Select[RowT], page: Page, say: Callable[[RowT], T]) -> Listed[T]:
        """One page of a list of rows, in the order in which the server wrote them."""
        kind: type[RowT] = statement.column_descriptions[0]["entity"]
        asked = statement.where(kind.seq > page.after).order_by(kind.seq).limit(page.limit + 1)
        return listed((await self.session.scalars(asked)).all(), page, say, lambda row: row.seq)

    async def insert_all(self, kind: type[DeclarativeBase], values: Sequence[Mapping[str, Any]]) -> None:
        """Insert many rows in one statement."""
        if values:
            await self.run(*bulk.insertion(kind, values))

    async def upsert(self, kind: type[DeclarativeBase], values: Sequence[Mapping[str, Any]], *key: str) -> None:
        """Insert rows or replace those of the same key (`id` by default), in the order of the key."""
        if values:
            keys = key or ("id",)
            ordered = sorted(values, key=lambda row: tuple(str(row[name]) for name in keys))
            await self.run(*bulk.insertion(kind, ordered, replace_by=keys))

    async def replace(
        self, kind: type[DeclarativeBase], subjects: Iterable[UUID], values: Sequence[Mapping[str, Any]]
    ) -> None:
        """Everything held from these subjects becomes exactly these rows (`kind` has a column `subject`)."""
        await self.run(bulk.deletion(kind), {"subjects": log.uuids(subjects)})
        await self.insert_all(kind, values)

    def expect(self, row: Row, if_match: str | None) -> None:
        """Refuse a change of something the caller has not seen in its present version (`If-Match`)."""
        if if_match is not None and if_match.strip().removeprefix("W/").strip('"') not in {"*", str(row.version)}:
            raise VersionMismatch()


def listed(found: Sequence[F], page: Page, say: Callable[[F], T], place: Callable[[F], int]) -> Listed[T]:
    """One page of what was found by asking for one more than its limit."""
    kept = found[: page.limit]
    following = cursor_of(place(kept[-1])) if len(found) > page.limit else None
    return Listed(items=[say(row) for row in kept], next_cursor=following)


def cursor_of(seq: int) -> str:
    """A place in a list, as callers carry it."""
    return urlsafe_b64encode(json.dumps(["seq", seq]).encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> int:
    """The place a caller's cursor names. Raises `InvalidCursor`."""
    if cursor is None:
        return 0
    try:
        kind, seq = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if kind != "seq" or type(seq) is not int or not 0 <= seq < 2**63:
            raise ValueError(cursor)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidCursor() from error
    return seq


async def scalar(work: Work, statement: Any) -> Any:
    """The single value of a statement."""
    return (await work.session.execute(statement)).scalar_one()
