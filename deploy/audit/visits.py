"""The visits of a day as a file, batch by batch, and the check of the visits in the database."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import asyncpg

from deploy.audit.verify_visits import EVER, EXPORT, entries_in, link_in, removed_before
from shared.audit.canonical import canonical, timestamp
from shared.core.clock import start_of

FIELDS = (
    "at",
    "colour",
    "decided_at",
    "epoch",
    "outcome",
    "point_id",
    "receipt_seconds",
    "region",
    "resident_id",
    "scan_id",
    "shown_by",
    "temperature_tenths",
)
SELECT = f"SELECT {', '.join(FIELDS)}, xid::text::bigint AS xid FROM gateway.visits"  # noqa: S608 (names of columns)
LEAVES = "SELECT leaves FROM gateway.visit_seals WHERE number = $1"
BATCH = f"""
    {SELECT} WHERE (epoch, xid) > ($1, ($2::text)::xid8) AND (epoch, xid) <= ($3, ($4::text)::xid8)
    ORDER BY scan_id, at
"""
# Visits in no batch: with an impossible transaction id, or with epoch 0 although they were decided after sealing began.
STRAYS = f"""
    {SELECT} WHERE at >= $1 AND at < $2 AND (
        (epoch, xid) >= ((SELECT max(epoch) FROM gateway.feed_epochs), pg_snapshot_xmax(pg_current_snapshot()))
        OR epoch < 1 AND decided_at >= (SELECT min(at) FROM gateway.audit WHERE kind = 'visits')
    )
    ORDER BY scan_id
"""  # noqa: S608 (names of columns)
# Entries that are chained or will be soon. The check of the audit itself finds entries that the sealer passed.
PURGES = """
    SELECT operation, at, reason FROM gateway.audit
    WHERE kind = 'purge'
      AND (epoch, xid) < ((SELECT max(epoch) FROM gateway.feed_epochs), pg_snapshot_xmax(pg_current_snapshot()))
"""


async def lines(connection: asyncpg.Connection, day: date, audit: bytes) -> AsyncIterator[bytes]:
    """Yield the batches that were sealed on a day, by its audit, each followed by its visits that still exist."""
    bounds = start_of(day), start_of(day + timedelta(days=1))
    yield canonical({"format": EXPORT, "day": day.isoformat()})
    for _, entry in entries_in([audit]):
        link = link_in(entry["reason"]) if entry["kind"] == "visits" else None
        if link is None:  # if the audit itself is wrong, its own check reports it
            continue
        (epoch, xid), (upto_epoch, upto_xid) = link["after"], link["upto"]
        leaves = await connection.fetchval(LEAVES, link["batch"])
        yield canonical({"batch": link["batch"], "leaves": None if leaves is None else leaves.hex()})
        for visit in await connection.fetch(BATCH, epoch, str(xid), upto_epoch, str(upto_xid)):
            yield canonical({"visit": visit_of(visit)})
    if strays := await connection.fetch(STRAYS, *bounds):
        yield canonical({"batch": None, "leaves": None})
        for visit in strays:
            yield canonical({"visit": visit_of(visit)})


def visit_of(row: Any) -> dict[str, Any]:
    """Return a visit in the form in which it is hashed and exported."""
    texts = {name: str(row[name]) for name in ("point_id", "resident_id", "scan_id")}
    times = {name: timestamp(row[name]) for name in ("at", "decided_at")}
    shown_by = row["shown_by"] and str(row["shown_by"])
    return {**{name: row[name] for name in (*FIELDS, "xid")}, **texts, **times, "shown_by": shown_by}


async def purged_before(connection: asyncpg.Connection) -> str:
    """Return the time before which visits may be missing, by the purges in the audit."""
    rows = await connection.fetch(PURGES)
    times = (removed_before(row["operation"], timestamp(row["at"]), row["reason"]) for row in rows)
    return max(times, default=EVER)
