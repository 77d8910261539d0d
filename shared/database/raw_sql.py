"""Run SQL texts directly on the driver, in the connection and transaction of SQLAlchemy's session.

SQLAlchemy's processing of a statement costs ten times as much as the driver, and as much again for each row. A SQL text
does not need it. `UnitOfWork.rows` and `UnitOfWork.run` therefore send texts directly. ORM statements go through
SQLAlchemy.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession

from shared.observability import tracing

DIALECT = dialect()  # type: ignore[no-untyped-call]


class Sent(NamedTuple):
    """A statement in the driver's syntax: `$1` is the value of the first name."""

    sql: str
    names: tuple[str, ...]


async def connection_of(session: AsyncSession) -> asyncpg.Connection:
    """Return the driver's connection, within the transaction of the session."""
    raw = await (await session.connection()).get_raw_connection()
    connection: asyncpg.Connection = raw.driver_connection
    return connection


async def rows(
    connection: asyncpg.Connection, statement: TextClause, values: Mapping[str, Any]
) -> Sequence[RowMapping]:
    """Run a text and return its rows. The driver's records are accessed by column name, as SQLAlchemy's rows are."""
    sent = _sent(statement)
    with tracing.statement(sent.sql):
        records: Sequence[RowMapping] = await connection.fetch(sent.sql, *(values[name] for name in sent.names))
    return records


async def run(connection: asyncpg.Connection, statement: TextClause, values: Mapping[str, Any]) -> int:
    """Run a text and return the number of rows that it affected."""
    sent = _sent(statement)
    with tracing.statement(sent.sql):
        status = await connection.execute(sent.sql, *(values[name] for name in sent.names))
    count = status.rpartition(" ")[2]
    return int(count) if count.isdigit() else 0


@lru_cache(maxsize=1_000)
def _sent(statement: TextClause) -> Sent:
    compiled = statement.compile(dialect=DIALECT)
    return Sent(str(compiled), tuple(compiled.positiontup or ()))
