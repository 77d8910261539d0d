"""Work: one transaction on behalf of one actor.

It begins with its first statement, under the actor's database role and scope, and commits before the answer is sent.
Feed entries, the audit entry and the idempotency record commit with it. No network call belongs inside it.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, Self, TypeVar
from uuid import UUID

import asyncpg
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Executable, Result, Select, TextClause, event, text, tuple_
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Session, SessionTransaction

from shared import bulk, clock, preconditions, straight
from shared.actors import Actor, Role
from shared.audit import entries
from shared.audit.kinds import Kind
from shared.audit.trail import Trail
from shared.contracts.resource import R, Resource
from shared.db import Row, group_of
from shared.feed import log
from shared.ids import in_order
from shared.problems import NotFound, PreconditionRequired, Problem, Text, VersionMismatch
from shared.regions import EVERYTHING, covers

if TYPE_CHECKING:
    from shared.house import House

T = TypeVar("T")
F = TypeVar("F")
Public = TypeVar("Public", bound=Resource, covariant=True)
RowT = TypeVar("RowT", bound=Row)

MOST_PER_PAGE = 200


CURSOR = r"^[0-9~]{0,16}s[0-9a-f]{1,15}$"
"""What a cursor looks like, for the documents; to callers it is a word that means nothing."""


class InvalidCursor(Problem):
    """The cursor was not given by this list."""

    status = 422
    code = "invalid_cursor"
    title = Text(zh="分页游标无效", en="The cursor is not valid")
    fix = Text(
        zh="请原样使用上一页的 next_cursor，或从头开始", en="Send next_cursor unchanged, or start from the first page"
    )


class RegionOutside(Problem):
    """The region is wider than the caller's, or lies outside it."""

    status = 403
    code = "region_outside"
    title = Text(zh="超出您的辖区", en="The region is outside your region")
    fix = Text(zh="请选择辖区内的区划", en="Choose a region within your region")


class Publishable(Protocol[Public]):
    """A row that has a public face."""

    id: Any
    version: Any

    def public(self) -> Public:
        """What the API answers and the feed carries of this row."""


class Place(NamedTuple):
    """Where a row stands in a list: by region, and within it in the order in which the server wrote it."""

    region: str = ""
    seq: int = 0


START = Place()


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for."""

    after: Place = START
    limit: int = 50


class Listed(BaseModel, Generic[T]):
    """One page of a list. `next_cursor` is null on the last."""

    model_config = ConfigDict(frozen=True)

    items: list[T]
    next_cursor: str | None = None

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """`RegionPage` and not `Listed[Region]`, because clients are generated with this name."""
        return f"{getattr(params[0], '__origin__', params[0]).__name__}Page"


ENTER = text("""
    SELECT set_config('role', :role, true),
           set_config('scope.low', :low, true),
           set_config('scope.high', :high, true),
           set_config('scope.residents', :residents, true),
           set_config('scope.party', :party, true)
""")


class Work:
    """One transaction on behalf of one actor. Use it as `async with house.work(actor) as work:`."""

    def __init__(self, house: "House", actor: Actor, operation: str, now: datetime | None = None) -> None:
        self.house = house
        self.actor = actor
        self.operation = operation
        self.now = now or clock.now()
        self.session = AsyncSession(house.engine, expire_on_commit=False, autoflush=False)
        self._driver: asyncpg.Connection | None = None
        self._driver_within: SessionTransaction | None = None
        self._entries: list[log.Entry] = []
        self.trail = Trail(actor, Kind.CHANGE if actor.role is Role.SERVICE else Kind.LOOK)
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
        connection.execute(ENTER, self._scope_of(self.actor))

    def _scope_of(self, actor: Actor) -> dict[str, str]:
        return {
            "role": group_of(self.house.settings.service, actor.role.database_role),
            "low": actor.range[0],
            "high": actor.range[1],
            "residents": "{" + ",".join(str(resident) for resident in actor.residents) + "}",
            "party": actor.party,
        }

    async def _commit(self) -> None:
        await self.session.flush()
        if self.house.settings.publish:
            await log.write(self.session, self._entries)
        await entries.write(self.session, self.operation, self.trail)
        await self.session.commit()
        if self._entries:
            self.house.wake_subscribers({entry.lane for entry in self._entries})

    # What use cases say -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part of this work that can fail by itself: what it wrote and published is undone, the rest goes on."""
        published, trail = len(self._entries), self.trail.mark()
        try:
            async with self.session.begin_nested():
                yield
                await self.session.flush()
        except BaseException:
            self.session.expunge_all()
            del self._entries[published:]
            self.trail.restore(trail)
            raise

    async def become(self, actor: Actor) -> None:
        """Go on on behalf of somebody else: the caller came without a name and has shown who it is."""
        self.actor = self.trail.actor = actor
        if self.session.in_transaction():
            await self.session.execute(ENTER, self._scope_of(actor))

    @asynccontextmanager
    async def everywhere(self) -> AsyncIterator[None]:
        """Let statements see beyond the caller's range for a while: for what follows from an act shown to be theirs.

        What a caller may *name* its own row-level policy decides: it finds the tube, the person, the box. What follows
        is the service's own doing and must see everything. Who acts remains who it was. If it raises, the transaction
        ends, and the scope with it.
        """
        await self.run(ENTER, self._scope_of(replace(self.actor, role=Role.SERVICE, range=EVERYTHING)))
        yield
        await self.run(ENTER, self._scope_of(self.actor))

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
        await self._flush()
        if isinstance(statement, TextClause):
            return await straight.rows(await self._connection(), statement, values)
        result: Result[Any] = await self.session.execute(statement, values)
        return result.mappings().all()

    async def run(self, statement: Executable, given: Mapping[str, Any] | None = None, /, **values: Any) -> int:
        """Carry out a statement; how many rows it touched."""
        await self._flush()
        given = {**(given or {}), **values}
        if isinstance(statement, TextClause):
            return await straight.run(await self._connection(), statement, given)
        result: Any = await self.session.execute(statement, given)
        return int(result.rowcount)

    async def _flush(self) -> None:
        if self.session.new or self.session.dirty or self.session.deleted:
            await self.session.flush()

    async def _connection(self) -> asyncpg.Connection:
        # The session sets a savepoint when it is first asked for the connection within it.
        within = self.session.sync_session.get_nested_transaction()
        if self._driver is None or within is not self._driver_within:
            self._driver, self._driver_within = await straight.connection_of(self.session), within
        return self._driver

    async def publish(self, row: Publishable[R], *, change: str, urgent: bool = False) -> R:
        """Put a changed row's public face on the feed, and return it as the answer."""
        await self.session.flush()
        resource = row.public()
        self._entries.append(log.Entry(resource.type, *log.Written.of(resource), change, urgent))
        return resource

    def publish_all(self, resources: Iterable[Resource], *, change: str, urgent: bool = False) -> None:
        """Put resources made from what statements returned on the feed."""
        for resource in resources:
            self._entries.append(log.Entry(resource.type, *log.Written.of(resource), change, urgent))

    def publish_written(
        self, kind: type[Resource], resource: log.Written, *, change: str, urgent: bool = False
    ) -> None:
        """Put a resource on the feed that a statement has written down whole."""
        self._entries.append(log.Entry(kind.type, *resource, change, urgent))

    def saw(self, ids: Iterable[UUID]) -> None:
        """Note whose personal data this work looks at or changes. One audit entry holds them all."""
        self.trail.saw(ids)

    def audit(
        self,
        *,
        kind: Kind,
        subjects: Iterable[UUID] = (),
        purpose: str = "",
        reason: str = "",
        actor: Actor | None = None,
    ) -> None:
        """Leave an entry of another kind than the operation's own. What is done alike is one entry, with all subjects.

        `purpose` is a code of `shared/audit/acts.py`, which the people concerned read in words. `reason` holds no
        personal data but what an auditor must read; of a reveal the people concerned read it too. `actor` is on whose
        behalf it turned out to be, where the caller came without a name.
        """
        self.trail.add(kind, subjects, reason, actor, purpose)

    async def page(self, statement: Select[RowT], page: Page, say: Callable[[RowT], T]) -> Listed[T]:
        """One page of a list of rows, by region and then in the order in which the server wrote them.

        So a scope is one range of the index that the list is read by, and its page costs what a page of all does.
        """
        kind: type[RowT] = statement.column_descriptions[0]["entity"]
        place = (kind.region, kind.seq)
        asked = statement.where(tuple_(*place) > page.after).order_by(*place).limit(page.limit + 1)
        return listed((await self.session.scalars(asked)).all(), page, say, lambda row: Place(row.region, row.seq))

    async def insert_all(self, kind: type[DeclarativeBase], values: Sequence[Mapping[str, Any]]) -> None:
        """Insert many rows in one statement."""
        if values:
            await self.run(*bulk.insertion(kind, values))

    async def upsert(self, kind: type[DeclarativeBase], values: Sequence[Mapping[str, Any]], *key: str) -> None:
        """Insert rows or replace those of the same key (`id` by default), in the order of the key."""
        if values:
            keys = key or ("id",)
            ordered = sorted(values, key=lambda row: tuple(_ordering(row[name]) for name in keys))
            await self.run(*bulk.insertion(kind, ordered, replace_by=keys))

    async def replace(
        self, kind: type[DeclarativeBase], subjects: Iterable[UUID], values: Sequence[Mapping[str, Any]]
    ) -> set[UUID]:
        """Everything held from these subjects becomes exactly these rows; whom the former were about.

        `kind` has the columns `subject` and `resident_id`.
        """
        former = await self.rows(bulk.deletion(kind), subjects=in_order(subjects))
        await self.insert_all(kind, values)
        return {row["resident_id"] for row in former}

    def require_within(self, region: str) -> None:
        """Refuse a region that the caller does not answer for as a whole. Raises `RegionOutside`."""
        if not covers(self.actor.range, region):
            raise RegionOutside(at="/region")

    def expect(self, row: Row, if_match: str | None, *, required: bool = False) -> None:
        """Refuse a change of something the caller has not seen in its present version (`If-Match`).

        Where it is `required`, the caller says at least that any version will do (`*`). Raises `VersionMismatch`,
        `PreconditionRequired` or `IfMatchMalformed`.
        """
        if required and if_match is None:
            raise PreconditionRequired()
        if if_match is not None and not preconditions.matches(if_match, preconditions.etag_of(row.version)):
            raise VersionMismatch()


def _ordering(value: Any) -> Any:
    # An id is a number at once, and a text only after a while.
    return value.int if isinstance(value, UUID) else str(value)


def listed(found: Sequence[F], page: Page, say: Callable[[F], T], place: Callable[[F], Place]) -> Listed[T]:
    """One page of what was found by asking for one more than its limit."""
    kept = found[: page.limit]
    following = cursor_of(place(kept[-1])) if len(found) > page.limit else None
    return Listed(items=[say(row) for row in kept], next_cursor=following)


def cursor_of(place: Place) -> str:
    """A place in a list, as callers carry it."""
    return f"{place.region}s{place.seq:x}"


def place_of(cursor: str | None) -> Place:
    """The place a caller's cursor names. Raises `InvalidCursor`."""
    if cursor is None:
        return START
    if not re.fullmatch(CURSOR, cursor, re.ASCII):
        raise InvalidCursor()
    region, _, seq = cursor.partition("s")
    return Place(region, int(seq, 16))


async def scalar(work: Work, statement: Any) -> Any:
    """The single value of a statement."""
    return (await work.session.execute(statement)).scalar_one()
