"""The owner's side of the feed: entries, cursors, and what may be read already.

An entry's place is (epoch, xid, seq). Only entries of transactions older than every running one are served: a
transaction that got its id early and commits late is waited for, never skipped. Places are not causal; versions are.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession

from shared import straight
from shared.bulk import literal
from shared.contracts.resource import Resource

LANES = ("urgent", "normal")
MOST_ENTRIES = 2_000


class Cursor(NamedTuple):
    """A place in one owner's log; everything up to it has been read."""

    epoch: int = 0
    xid: int = 0
    seq: int = 0

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read `epoch.xid.seq`; ValueError if it is anything else."""
        epoch, xid, seq = (int(part) for part in value.split("."))
        if min(epoch, xid, seq) < 0 or max(xid, seq) >= 2**63:
            raise ValueError(value)
        return cls(epoch, xid, seq)

    def __str__(self) -> str:
        return f"{self.epoch}.{self.xid}.{self.seq}"


class Written(NamedTuple):
    """A resource as text, as the feed carries it and a statement may have made it."""

    id: UUID
    version: int
    region: str
    data: str

    @classmethod
    def of(cls, resource: Resource) -> Self:
        """A resource, written down."""
        return cls(resource.id, resource.version, resource.region, resource.model_dump_json())


class Entry(NamedTuple):
    """One change of one resource, about to be written."""

    type: str
    subject: UUID
    version: int
    region: str
    data: str
    change: str
    urgent: bool

    @property
    def lane(self) -> str:
        """The lane it takes."""
        return "urgent" if self.urgent else "normal"


# The columns travel as literals. JSON has no raw control character, and neither has any of the other texts.
WRITE = text("""
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
    """Append entries; of several for one subject only the last is kept."""
    last = {(entry.type, entry.subject): entry for entry in entries}.values()
    if last:
        columns = dict(zip(Entry._fields, map(literal, zip(*last, strict=True)), strict=True))
        await straight.run(await straight.connection_of(session), WRITE, columns)


HORIZON = text("""
    SELECT coalesce((SELECT max(epoch) FROM feed_epochs), 0) AS epoch,
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xid
""")


async def horizon(session: AsyncSession) -> Cursor:
    """The place up to which the log is complete: nothing will ever appear at or before it."""
    (row,) = await straight.rows(await straight.connection_of(session), HORIZON, {})
    return Cursor(row["epoch"], row["xid"], 0)


# The horizon is taken first: a transaction that ends between the two statements is served next time. Put in order
# before types are looked at, and by the columns: so a batch comes straight from the index, however much waits.
# What is only passed on comes as the text it is sent as: to make it a value and a text again took most of an answer.
READ = """
    SELECT epoch, xid::text::bigint AS xid, seq, to_json(at)::text AS at, type, subject::text AS subject, version,
        region, change, data::text AS data
    FROM (
        SELECT * FROM feed
        WHERE (epoch, xid, seq) > (:epoch, CAST(CAST(:xid AS text) AS xid8), :seq)
          AND (epoch, xid, seq) <= (:upto_epoch, CAST(CAST(:upto_xid AS text) AS xid8), 0)
          AND {lane}
        ORDER BY epoch, xid, seq OFFSET 0
    ) AS entry
    WHERE type = ANY(CAST(:types AS text[]))
    LIMIT :limit
"""
READ_LANE = {"urgent": text(READ.format(lane="urgent")), "normal": text(READ.format(lane="NOT urgent"))}
WAITS = """
    SELECT EXISTS (
        SELECT FROM feed
        WHERE (epoch, xid, seq) > (:epoch, CAST(CAST(:xid AS text) AS xid8), :seq)
          AND {lane}
          AND type = ANY(CAST(:types AS text[]))
    ) AS waits
"""
WAITS_IN_LANE = {"urgent": text(WAITS.format(lane="urgent")), "normal": text(WAITS.format(lane="NOT urgent"))}


class Page(NamedTuple):
    """Entries after a cursor."""

    rows: Sequence[RowMapping]
    following: Cursor
    """The cursor after them."""
    more: bool = False
    """Whether there are more of them to be read at once."""
    waits: bool = False
    """Whether there are more that may not be read yet, because an older transaction holds them up."""


async def read(session: AsyncSession, after: Cursor, lane: str, types: Sequence[str], limit: int) -> Page:
    """Entries after a cursor, and what follows them."""
    upto = await horizon(session)
    connection = await straight.connection_of(session)
    bounds = {"upto_epoch": upto.epoch, "upto_xid": str(upto.xid), "limit": limit + 1}
    rows = await straight.rows(connection, READ_LANE[lane], _place(after, types) | bounds)
    if len(rows) > limit:
        return Page(rows[:limit], place_of(rows[limit - 1]), more=True)
    following = max(after, upto)
    (left,) = await straight.rows(connection, WAITS_IN_LANE[lane], _place(following, types))
    return Page(rows, following, waits=left["waits"])


def _place(after: Cursor, types: Sequence[str]) -> dict[str, Any]:
    return {"epoch": after.epoch, "xid": str(after.xid), "seq": after.seq, "types": list(types)}


def place_of(row: RowMapping) -> Cursor:
    """The place of an entry."""
    return Cursor(row["epoch"], row["xid"], row["seq"])


# Also what may not be read yet, because a transaction holds it up: it is no less unread.
OLDEST = """
    SELECT extract(epoch FROM clock_timestamp() - at)::float8
    FROM feed
    WHERE (epoch, xid, seq) > (:epoch, CAST(CAST(:xid AS text) AS xid8), :seq)
      AND {lane}
      AND type = ANY(CAST(:types AS text[]))
    ORDER BY epoch, xid, seq
    LIMIT 1
"""
OLDEST_OF_LANE = {"urgent": text(OLDEST.format(lane="urgent")), "normal": text(OLDEST.format(lane="NOT urgent"))}


async def unread_seconds(session: AsyncSession, after: Cursor, lane: str, types: Sequence[str]) -> float:
    """The age of the oldest entry after a cursor; 0 if there is none."""
    found = (await session.execute(OLDEST_OF_LANE[lane], _place(after, types))).scalar_one_or_none()
    return 0.0 if found is None else max(0.0, float(found))


FLOOR = text("SELECT epoch, xid::text::bigint AS xid, seq FROM feed_floor")


async def floor(session: AsyncSession) -> Cursor | None:
    """The last place that retention has dropped, if it has dropped any."""
    rows = await straight.rows(await straight.connection_of(session), FLOOR, {})
    return place_of(rows[0]) if rows else None
