"""SQL texts straight to the driver, on the connection and in the transaction that SQLAlchemy holds.

A text needs nothing of what SQLAlchemy does around a statement, which costs ten times what the driver takes for it, and
as much again for each row. So `Work.rows` and `Work.run` send texts this way; what the ORM says goes the ordinary one.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession

from shared import tracing

DIALECT = dialect()  # type: ignore[no-untyped-call]


class Sent(NamedTuple):
    """A text as the driver takes it: `$1` for the first of the names."""

    sql: str
    names: tuple[str, ...]


async def connection_of(session: AsyncSession) -> asyncpg.Connection:
    """The driver's connection, within the session's transaction."""
    raw = await (await session.connection()).get_raw_connection()
    found: asyncpg.Connection = raw.driver_connection
    return found


async def rows(
    connection: asyncpg.Connection, statement: TextClause, values: Mapping[str, Any]
) -> Sequence[RowMapping]:
    """What a text returns. The driver's records are read as SQLAlchemy's rows are: by the names of their columns."""
    sent = _sent(statement)
    with tracing.statement(sent.sql):
        found: Sequence[RowMapping] = await connection.fetch(sent.sql, *(values[name] for name in sent.names))
    return found


async def run(connection: asyncpg.Connection, statement: TextClause, values: Mapping[str, Any]) -> int:
    """Carry out a text; how many rows it touched."""
    sent = _sent(statement)
    with tracing.statement(sent.sql):
        said = await connection.execute(sent.sql, *(values[name] for name in sent.names))
    count = said.rpartition(" ")[2]
    return int(count) if count.isdigit() else 0


@lru_cache(maxsize=1_000)
def _sent(statement: TextClause) -> Sent:
    compiled = statement.compile(dialect=DIALECT)
    return Sent(str(compiled), tuple(compiled.positiontup or ()))
