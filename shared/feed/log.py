"""The owner's side of the feed: entries, cursors, and the horizon up to which entries may be read.

The position of an entry is (epoch, xid, seq). Only entries of transactions that are older than every running one are
served, so that a transaction with an early id and a late commit is never skipped. Positions do not show causal order;
versions do.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession

from shared.contracts.resource import Resource
from shared.database import raw_sql
from shared.database.bulk import literal

PRIORITIES = ("urgent", "normal")
MOST_ENTRIES = 2_000


class Cursor(NamedTuple):
    """A position in one owner's log. The reader has read everything up to it."""

    epoch: int = 0
    xid: int = 0
    seq: int = 0

    @classmethod
    def parse(cls, value: str) -> Self:
        """Parse `epoch.xid.seq`. Raises ValueError for any other text."""
        epoch, xid, seq = (int(part) for part in value.split("."))
        if min(epoch, xid, seq) < 0 or max(xid, seq) >= 2**63:
            raise ValueError(value)
        return cls(epoch, xid, seq)

    def __str__(self) -> str:
        return f"{self.epoch}.{self.xid}.{self.seq}"


class Written(NamedTuple):
    """A serialized resource, as the feed sends it. A SQL statement can also build it."""

    id: UUID
    version: int
    region: str
    data: str

    @classmethod
    def of(cls, resource: Resource) -> Self:
        """Serialize a resource."""
        return cls(resource.id, resource.version, resource.region, resource.model_dump_json())


class Entry(NamedTuple):
    """One change of one resource, before it is written."""

    type: str
    subject: UUID
    version: int
    region: str
    data: str
    change: str
    urgent: bool

    @property
    def priority(self) -> str:
        """The lane of the entry."""
        return "urgent" if self.urgent else "normal"


# The columns are sent as array literals. Neither JSON nor any of the other texts contains a raw control character.
INSERT_ENTRIES = text("""
    INSERT INTO feed (epoch, type, subject, version, region, change, urgent, data)
    SELECT (SELECT max(epoch) FROM feed_epochs), type, subject, version, region, change, urgent, data::json
    FROM unnest(
        CAST(CAST(:type AS text) AS text[]), CAST(CAST(:subject AS text) AS uuid[]),
        CAST(CAST(:version AS text) AS bigint[]), CAST(CAST(:region AS text) AS text[]),
        CAST(CAST(:change AS text) AS text[]), CAST(CAST(:urgent AS text) AS boolean[]),
        CAST(CAST(:data AS text) AS text[])
    ) AS entry (type, subject, version, region, change, urgent, data)
""")


async def write(session: AsyncSession, entries: Iterable[Entry]) -> None:
    """Append entries. Of several entries for one subject, only the last is written."""
    last = {(entry.type, entry.subject): entry for entry in entries}.values()
    if last:
        columns = dict(zip(Entry._fields, map(literal, zip(*last, strict=True)), strict=True))
        await raw_sql.run(await raw_sql.connection_of(session), INSERT_ENTRIES, columns)


SELECT_HORIZON = text("""
    SELECT coalesce((SELECT max(epoch) FROM feed_epochs), 0) AS epoch,
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xid
""")


async def horizon(session: AsyncSession) -> Cursor:
    """Return the position up to which the log is complete. No entry will appear at or before it later."""
    (row,) = await raw_sql.rows(await raw_sql.connection_of(session), SELECT_HORIZON, {})
    return Cursor(row["epoch"], row["xid"], 0)


# The horizon is read first, so that a transaction that ends between the two statements is served the next time.
# The inner query orders by the key columns before the filter on types, so that a batch comes directly from the index
# even if many entries wait. Values that are only forwarded are read as text, because decoding and re-encoding them took
# most of the time of an answer.
SELECT_ENTRIES = """
    SELECT epoch, xid::text::bigint AS xid, seq, to_json(at)::text AS at, type, subject::text AS subject, version,
        region, change, data::text AS data
    FROM (
        SELECT * FROM feed
        WHERE (epoch, xid, seq) > (:epoch, CAST(CAST(:xid AS text) AS xid8), :seq)
          AND (epoch, xid, seq) <= (:upto_epoch, CAST(CAST(:upto_xid AS text) AS xid8), 0)
          AND {condition}
        ORDER BY epoch, xid, seq OFFSET 0
    ) AS entry
    WHERE type = ANY(CAST(:types AS text[]))
    LIMIT :limit
"""
SELECT_ENTRIES_OF_LANE = {
    "urgent": text(SELECT_ENTRIES.format(condition="urgent")),
    "normal": text(SELECT_ENTRIES.format(condition="NOT urgent")),
}
SELECT_HAS_MORE = """
    SELECT EXISTS (
        SELECT FROM feed
        WHERE (epoch, xid, seq) > (:epoch, CAST(CAST(:xid AS text) AS xid8), :seq)
          AND {condition}
          AND type = ANY(CAST(:types AS text[]))
    ) AS waits
"""
SELECT_HAS_MORE_IN_LANE = {
    "urgent": text(SELECT_HAS_MORE.format(condition="urgent")),
    "normal": text(SELECT_HAS_MORE.format(condition="NOT urgent")),
}


class Page(NamedTuple):
    """Entries after a cursor."""

    rows: Sequence[RowMapping]
    following: Cursor
    """The cursor after them."""
    more: bool = False
    """Whether more entries can be read now."""
    waits: bool = False
    """Whether there are entries that may not be read yet, because an older transaction is still running."""


async def read(session: AsyncSession, after: Cursor, priority: str, types: Sequence[str], limit: int) -> Page:
    """Read the entries after a cursor, up to the horizon."""
    upto = await horizon(session)
    connection = await raw_sql.connection_of(session)
    bounds = {"upto_epoch": upto.epoch, "upto_xid": str(upto.xid), "limit": limit + 1}
    rows = await raw_sql.rows(connection, SELECT_ENTRIES_OF_LANE[priority], _position(after, types) | bounds)
    if len(rows) > limit:
        return Page(rows[:limit], position_of(rows[limit - 1]), more=True)
    following = max(after, upto)
    (left,) = await raw_sql.rows(connection, SELECT_HAS_MORE_IN_LANE[priority], _position(following, types))
    return Page(rows, following, waits=left["waits"])


def _position(after: Cursor, types: Sequence[str]) -> dict[str, Any]:
    return {"epoch": after.epoch, "xid": str(after.xid), "seq": after.seq, "types": list(types)}


def position_of(row: RowMapping) -> Cursor:
    """Return the position of an entry."""
    return Cursor(row["epoch"], row["xid"], row["seq"])


# This includes entries that may not be read yet, because they count as unread too.
SELECT_OLDEST = """
    SELECT extract(epoch FROM clock_timestamp() - at)::float8
    FROM feed
    WHERE (epoch, xid, seq) > (:epoch, CAST(CAST(:xid AS text) AS xid8), :seq)
      AND {condition}
      AND type = ANY(CAST(:types AS text[]))
    ORDER BY epoch, xid, seq
    LIMIT 1
"""
SELECT_OLDEST_OF_LANE = {
    "urgent": text(SELECT_OLDEST.format(condition="urgent")),
    "normal": text(SELECT_OLDEST.format(condition="NOT urgent")),
}


async def unread_seconds(session: AsyncSession, after: Cursor, priority: str, types: Sequence[str]) -> float:
    """Return the age in seconds of the oldest entry after a cursor; 0 if there is none."""
    age = (await session.execute(SELECT_OLDEST_OF_LANE[priority], _position(after, types))).scalar_one_or_none()
    return 0.0 if age is None else max(0.0, float(age))


SELECT_FLOOR = text("SELECT epoch, xid::text::bigint AS xid, seq FROM feed_floor")


async def floor(session: AsyncSession) -> Cursor | None:
    """Return the position of the last entry that retention has dropped, or None."""
    rows = await raw_sql.rows(await raw_sql.connection_of(session), SELECT_FLOOR, {})
    return position_of(rows[0]) if rows else None
