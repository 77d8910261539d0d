"""The sealing of visits: batch by batch in the order of their commits, each batch one entry of the gateway's audit.

A visit is the entry of its verification, and a chain over each would cost the door a second write. So a sealer follows
the commits, as that of the audit does, and leaves one entry of kind `visits` for all that came since. What is hashed is
said in docs/audit.md, byte for byte.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from shared.audit.canonical import canonical, said
from shared.audit.kinds import Kind
from shared.db import group_of
from shared.feed.log import Cursor, horizon
from shared.house import House
from shared.ids import named_id
from shared.work import Work

AT_ONCE = 2_000
"""Visits of a batch; as many more as their last transaction has."""
LOCK = named_id("lock", "gateway:visits").int % 2**63
SEAL_SECONDS = 0.5

TAKE = text("SELECT set_config('role', :role, true), pg_try_advisory_xact_lock(:key)")
CURSOR = text("SELECT number, epoch, xid::text::bigint AS xid FROM visits_sealed")

# A visit's canonical JSON, its SHA-256, and its time behind it; the order within a batch is whole by the scan's id.
WRITTEN_DOWN = """
    '{"at":"' || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    || '","colour":' || colour
    || ',"decided_at":"' || to_char(decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    || '","epoch":' || epoch
    || ',"outcome":' || outcome
    || ',"point_id":"' || point_id
    || '","receipt_seconds":' || receipt_seconds
    || ',"region":' || to_json(region)
    || ',"resident_id":"' || resident_id
    || '","scan_id":"' || scan_id
    || '","shown_by":' || coalesce('"' || shown_by || '"', 'null')
    || ',"temperature_tenths":' || coalesce(temperature_tenths::text, 'null')
    || ',"xid":' || xid || '}'
"""
BATCH = text(f"""
    WITH batch AS MATERIALIZED (
        SELECT * FROM visits
        WHERE (epoch, xid) > (:epoch, CAST(CAST(:xid AS text) AS xid8))
          AND (epoch, xid) < (:upto_epoch, CAST(CAST(:upto_xid AS text) AS xid8))
        ORDER BY epoch, xid FETCH FIRST :most ROWS WITH TIES
    ), leaves AS (
        SELECT count(*) AS count, max(at) AS last_at, max(epoch) AS epoch, string_agg(
            sha256(convert_to({WRITTEN_DOWN.replace(":", chr(92) + ":")}, 'UTF8'))
                || int8send((extract(epoch FROM at) * 1000000)\\:\\:bigint),
            '' ORDER BY epoch, xid, scan_id, at
        ) AS leaves
        FROM batch
    )
    SELECT count, last_at, epoch, leaves, sha256(leaves) AS hash,
        (SELECT max(xid) FROM batch WHERE batch.epoch = leaves.epoch)::text::bigint AS xid
    FROM leaves
""")  # noqa: S608 (names of columns)
KEEP = text("""
    INSERT INTO visit_seals (number, after_epoch, after_xid, epoch, xid, last_at, leaves)
    VALUES (
        :number, :after_epoch, CAST(CAST(:after_xid AS text) AS xid8), :epoch, CAST(CAST(:xid AS text) AS xid8),
        :last_at, :leaves
    )
""")
MOVE = text("""
    INSERT INTO visits_sealed (number, epoch, xid) VALUES (:number, :epoch, CAST(CAST(:xid AS text) AS xid8))
    ON CONFLICT ("only") DO UPDATE SET number = excluded.number, epoch = excluded.epoch, xid = excluded.xid
""")


async def seal_visits(house: House) -> None:
    """Seal all visits that are committed and in no batch yet, unless another process is at it."""
    while await _seal_some(house) >= AT_ONCE:
        pass


async def _seal_some(house: House) -> int:
    async with house.system_work("seal visits") as work:
        (took,) = await work.rows(TAKE, role=group_of("gateway", "sealer"), key=LOCK)
        if not took["pg_try_advisory_xact_lock"]:
            return 0
        held = await work.rows(CURSOR)
        number, after = (held[0]["number"], Cursor(held[0]["epoch"], held[0]["xid"])) if held else (0, Cursor())
        # The horizon first: a transaction that ends between the two statements is sealed next time.
        upto = await horizon(work.session)
        (batch,) = await work.rows(
            BATCH, epoch=after.epoch, xid=str(after.xid), upto_epoch=upto.epoch, upto_xid=str(upto.xid), most=AT_ONCE
        )
        if batch["count"]:
            await _keep(work, number + 1, after, batch)
        return int(batch["count"])


async def _keep(work: Work, number: int, after: Cursor, batch: RowMapping) -> None:
    """Seal, leaves and cursor commit together: a sealer may die at any point, and the next goes on where it stood."""
    upto = Cursor(batch["epoch"], batch["xid"])
    work.audit(kind=Kind.VISITS, subjects=(), reason=canonical(seal_of(number, after, upto, batch)).decode())
    place: dict[str, Any] = {"number": number, "epoch": upto.epoch, "xid": str(upto.xid)}
    await work.run(
        KEEP,
        **place,
        after_epoch=after.epoch,
        after_xid=str(after.xid),
        last_at=batch["last_at"],
        leaves=batch["leaves"],
    )
    await work.run(MOVE, **place)


def seal_of(number: int, after: Cursor, upto: Cursor, batch: RowMapping) -> dict[str, Any]:
    """What is said of a batch in the audit. Nobody is in it."""
    last_at: datetime = batch["last_at"]
    return {
        "after": [after.epoch, after.xid],
        "batch": number,
        "count": batch["count"],
        "hash": bytes(batch["hash"]).hex(),
        "last_at": said(last_at),
        "upto": [upto.epoch, upto.xid],
    }
