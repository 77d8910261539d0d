"""One transaction on behalf of one actor.

The transaction begins with the first statement, under the actor's database role and scope. It commits before the answer
is sent. Feed entries, the audit entry and the idempotency record commit with it. Do not make network calls inside it.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import Connection, Executable, Result, Select, TextClause, event, text, tuple_
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Session, SessionTransaction

from shared.audit import entries
from shared.audit.kinds import Kind
from shared.audit.trail import Trail
from shared.contracts.resource import R, Resource
from shared.core import clock
from shared.core.actors import Actor, Role
from shared.core.ids import in_order
from shared.core.regions import EVERYTHING, covers
from shared.database import bulk, raw_sql
from shared.database.engine import group_of
from shared.database.paging import Listed, Page, Position, T, listed
from shared.database.rows import Row
from shared.feed import log
from shared.http import preconditions
from shared.problems import LocalizedText, NotFound, PreconditionRequired, Problem, VersionMismatch

if TYPE_CHECKING:
    from shared.runtime.context import ServiceContext

Public = TypeVar("Public", bound=Resource, covariant=True)
RowT = TypeVar("RowT", bound=Row)


class RegionOutside(Problem):
    """The region contains the caller's region, or lies outside it."""

    status = 403
    code = "region_outside"
    title = LocalizedText(zh="超出您的辖区范围", en="The region is outside your area of responsibility")
    fix = LocalizedText(zh="请选择您辖区内的区划", en="Choose a region within your area of responsibility")


class Publishable(Protocol[Public]):
    """A row that has a public representation."""

    id: Any
    version: Any

    def public(self) -> Public:
        """Return the resource that the API and the feed send for this row."""


SET_ROLE_AND_SCOPE = text("""
    SELECT set_config('role', :role, true),
           set_config('scope.low', :low, true),
           set_config('scope.high', :high, true),
           set_config('scope.residents', :residents, true),
           set_config('scope.party', :party, true)
""")


class UnitOfWork:
    """One transaction on behalf of one actor. Use it as `async with context.unit_of_work(actor) as uow:`."""

    def __init__(self, context: "ServiceContext", actor: Actor, operation: str, now: datetime | None = None) -> None:
        self.context = context
        self.actor = actor
        self.operation = operation
        self.now = now or clock.now()
        self.session = AsyncSession(context.engine, expire_on_commit=False, autoflush=False)
        self._driver: asyncpg.Connection | None = None
        self._driver_within: SessionTransaction | None = None
        self._entries: list[log.Entry] = []
        self.trail = Trail(actor, Kind.CHANGE if actor.role is Role.SERVICE else Kind.LOOK)
        event.listen(self.session.sync_session, "after_begin", self._enter)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        try:
            if error_type is None:
                await self._commit()
        finally:
            await self.session.close()

    def _enter(self, session: Session, transaction: SessionTransaction, connection: Connection) -> None:
        """Set the actor's database role and scope, in the first statement of the transaction."""
        if transaction.nested:
            return
        connection.execute(SET_ROLE_AND_SCOPE, self._scope_of(self.actor))

    def _scope_of(self, actor: Actor) -> dict[str, str]:
        return {
            "role": group_of(self.context.settings.service, actor.role.database_role),
            "low": actor.range[0],
            "high": actor.range[1],
            "residents": "{" + ",".join(str(resident) for resident in actor.residents) + "}",
            "party": actor.party,
        }

    async def _commit(self) -> None:
        await self.session.flush()
        if self.context.settings.publish:
            await log.write(self.session, self._entries)
        await entries.write(self.session, self.operation, self.trail)
        await self.session.commit()
        if self._entries:
            self.context.wake_subscribers({entry.priority for entry in self._entries})

    # The interface for use cases ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Run a part that can fail alone. A failure undoes what this part wrote and published, and nothing else."""
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

    async def act_as(self, actor: Actor) -> None:
        """Continue on behalf of another actor, after an anonymous caller has proved its identity."""
        self.actor = self.trail.actor = actor
        if self.session.in_transaction():
            await self.session.execute(SET_ROLE_AND_SCOPE, self._scope_of(actor))

    @asynccontextmanager
    async def unscoped(self) -> AsyncIterator[None]:
        """Run the statements inside as the service, beyond the caller's scope: for the consequences of a permitted act.

        The caller's row-level policy decides which tube, person or box the caller may address. The statements that
        follow from the act belong to the service and must see all rows. The audit actor does not change. If the body
        raises, the transaction ends, and its scope with it.
        """
        await self.run(SET_ROLE_AND_SCOPE, self._scope_of(replace(self.actor, role=Role.SERVICE, range=EVERYTHING)))
        yield
        await self.run(SET_ROLE_AND_SCOPE, self._scope_of(self.actor))

    def add(self, row: RowT) -> RowT:
        """Add a new row. It is written with the next flush."""
        self.session.add(row)
        return row

    async def get(self, row_type: type[RowT], id: UUID, missing: type[Problem] = NotFound) -> RowT:  # noqa: A002
        """Return the row with this id within the actor's scope. Raises the problem `missing` if there is none."""
        row = await self.session.get(row_type, id)
        if row is None:
            raise missing()
        return row

    async def lock(self, row_type: type[RowT], id: UUID, missing: type[Problem] = NotFound) -> RowT:  # noqa: A002
        """Return the row with this id and lock it until the transaction ends. Raises `missing` if there is none."""
        row = await self.session.get(row_type, id, with_for_update=True, populate_existing=True)
        if row is None:
            raise missing()
        return row

    async def rows(self, statement: TextClause | Select[Any], **values: Any) -> Sequence[RowMapping]:
        """Flush pending rows, run a statement and return its rows as mappings."""
        await self._flush()
        if isinstance(statement, TextClause):
            return await raw_sql.rows(await self._connection(), statement, values)
        result: Result[Any] = await self.session.execute(statement, values)
        return result.mappings().all()

    async def run(self, statement: Executable, mapping: Mapping[str, Any] | None = None, /, **values: Any) -> int:
        """Flush pending rows, run a statement and return the number of rows that it affected."""
        await self._flush()
        parameters = {**(mapping or {}), **values}
        if isinstance(statement, TextClause):
            return await raw_sql.run(await self._connection(), statement, parameters)
        result: Any = await self.session.execute(statement, parameters)
        return int(result.rowcount)

    async def _flush(self) -> None:
        if self.session.new or self.session.dirty or self.session.deleted:
            await self.session.flush()

    async def _connection(self) -> asyncpg.Connection:
        # The session creates a savepoint lazily, when code inside it first requests the connection.
        within = self.session.sync_session.get_nested_transaction()
        if self._driver is None or within is not self._driver_within:
            self._driver, self._driver_within = await raw_sql.connection_of(self.session), within
        return self._driver

    async def publish(self, row: Publishable[R], *, change: str, urgent: bool = False) -> R:
        """Publish the public representation of a changed row on the feed, and return it as the answer."""
        await self.session.flush()
        resource = row.public()
        self._entries.append(log.Entry(resource.type, *log.Written.of(resource), change, urgent))
        return resource

    def publish_all(self, resources: Iterable[Resource], *, change: str, urgent: bool = False) -> None:
        """Publish resources on the feed."""
        for resource in resources:
            self._entries.append(log.Entry(resource.type, *log.Written.of(resource), change, urgent))

    def publish_serialized(
        self, resource_type: type[Resource], resource: log.Written, *, change: str, urgent: bool = False
    ) -> None:
        """Publish a resource on the feed that a statement has already serialized."""
        self._entries.append(log.Entry(resource_type.type, *resource, change, urgent))

    def record_access(self, ids: Iterable[UUID]) -> None:
        """Record whose personal data this transaction reads or changes. One audit entry lists all of them."""
        self.trail.record_access(ids)

    def audit(
        self,
        *,
        kind: Kind,
        subjects: Iterable[UUID] = (),
        purpose: str = "",
        reason: str = "",
        actor: Actor | None = None,
    ) -> None:
        """Add an audit entry of another kind than the operation's own. Equal acts share one entry with all subjects.

        `purpose` is a code of `shared/audit/acts.py`. The people concerned read its text. `reason` contains only the
        personal data that an auditor must read. The people concerned also read the reason of a reveal. `actor` is the
        actor who turned out to be responsible, if the caller was anonymous.
        """
        self.trail.add(kind, subjects, reason, actor, purpose)

    async def page(self, statement: Select[RowT], page: Page, to_public: Callable[[RowT], T]) -> Listed[T]:
        """Read one page of a list of rows, by region and then in the order in which the server wrote them.

        In this order a scope is one range of the index, so a page within a scope costs as much as a page of all rows.
        """
        row_type: type[RowT] = statement.column_descriptions[0]["entity"]
        position = (row_type.region, row_type.seq)
        query = statement.where(tuple_(*position) > page.after).order_by(*position).limit(page.limit + 1)
        return listed(
            (await self.session.scalars(query)).all(), page, to_public, lambda row: Position(row.region, row.seq)
        )

    async def insert_all(self, row_type: type[DeclarativeBase], values: Sequence[Mapping[str, Any]]) -> None:
        """Insert many rows in one statement."""
        if values:
            await self.run(*bulk.insertion(row_type, values))

    async def upsert(self, row_type: type[DeclarativeBase], values: Sequence[Mapping[str, Any]], *key: str) -> None:
        """Insert rows, or replace the rows with the same key (`id` by default), in key order to avoid deadlocks."""
        if values:
            keys = key or ("id",)
            ordered = sorted(values, key=lambda row: tuple(_ordering(row[name]) for name in keys))
            await self.run(*bulk.insertion(row_type, ordered, replace_by=keys))

    async def replace(
        self, row_type: type[DeclarativeBase], subjects: Iterable[UUID], values: Sequence[Mapping[str, Any]]
    ) -> set[UUID]:
        """Replace all rows of these subjects with the given rows. Return the residents of the former rows.

        `row_type` has the columns `subject` and `resident_id`.
        """
        former = await self.rows(bulk.deletion(row_type), subjects=in_order(subjects))
        await self.insert_all(row_type, values)
        return {row["resident_id"] for row in former}

    def require_within(self, region: str) -> None:
        """Refuse a region that is not completely within the caller's region. Raises `RegionOutside`."""
        if not covers(self.actor.range, region):
            raise RegionOutside(at="/region")

    def require_version(self, row: Row, if_match: str | None, *, required: bool = False) -> None:
        """Refuse a change if `If-Match` does not name the current version of the row.

        If `required`, the header must be present; `*` accepts any version. Raises `VersionMismatch`,
        `PreconditionRequired` or `IfMatchMalformed`.
        """
        if required and if_match is None:
            raise PreconditionRequired()
        if if_match is not None and not preconditions.matches(if_match, preconditions.etag_of(row.version)):
            raise VersionMismatch()


def _ordering(value: Any) -> Any:
    # Compare ids as integers, because converting them to text is slower.
    return value.int if isinstance(value, UUID) else str(value)


async def scalar(uow: UnitOfWork, statement: Any) -> Any:
    """Run a statement and return its single value."""
    return (await uow.session.execute(statement)).scalar_one()
