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

# A visit's bytes, their SHA-256, and its time behind it. PostgreSQL's own binary forms: text costs four times as much.
IN_BYTES = """
    uuid_send(scan_id) || uuid_send(point_id) || uuid_send(resident_id)
    || uuid_send(coalesce(shown_by, CAST('00000000-0000-0000-0000-000000000000' AS uuid)))
    || timestamptz_send(at) || timestamptz_send(decided_at) || xid8send(xid) || int4send(epoch)
    || int4send(receipt_seconds) || int2send(coalesce(temperature_tenths, CAST(0 AS smallint))) || int2send(colour)
    || int2send(outcome) || textsend(region)
"""
SEAL = text(f"""
    WITH batch AS MATERIALIZED (
        SELECT * FROM visits
        WHERE (epoch, xid) > (:epoch, CAST(CAST(:xid AS text) AS xid8))
          AND (epoch, xid) < (:upto_epoch, CAST(CAST(:upto_xid AS text) AS xid8))
        ORDER BY epoch, xid FETCH FIRST :most ROWS WITH TIES
    ), leaves AS (
        SELECT count(*) AS count, max(at) AS last_at, max(epoch) AS epoch,
            string_agg(sha256({IN_BYTES}) || timestamptz_send(at), '' ORDER BY scan_id, at) AS leaves
        FROM batch
    ), sealed AS (
        SELECT *, (SELECT max(xid) FROM batch WHERE batch.epoch = leaves.epoch) AS xid FROM leaves WHERE count > 0
    ), kept AS (
        INSERT INTO visit_seals (number, after_epoch, after_xid, epoch, xid, last_at, leaves)
        SELECT :number, :epoch, CAST(CAST(:xid AS text) AS xid8), epoch, xid, last_at, leaves FROM sealed
    )
    SELECT count, last_at, epoch, sha256(leaves) AS hash, CAST(CAST(xid AS text) AS bigint) AS xid FROM sealed
""")  # noqa: S608 (names of columns)
MOVE = text("""
    INSERT INTO visits_sealed (number, epoch, xid) VALUES (:number, :epoch, CAST(CAST(:xid AS text) AS xid8))
    ON CONFLICT ("only") DO UPDATE SET number = excluded.number, epoch = excluded.epoch, xid = excluded.xid
""")


async def seal_visits(house: House) -> None:
    """Seal all visits that are committed and in no batch yet, unless another process is at it."""
    while await _seal_some(house) >= AT_ONCE:
        pass


async def _seal_some(house: House) -> int:
    """Seal, leaves and cursor commit together: a sealer may die at any point, and the next goes on where it stood."""
    async with house.system_work("seal visits") as work:
        (took,) = await work.rows(TAKE, role=group_of("gateway", "sealer"), key=LOCK)
        if not took["pg_try_advisory_xact_lock"]:
            return 0
        held = await work.rows(CURSOR)
        number, after = (held[0]["number"], Cursor(held[0]["epoch"], held[0]["xid"])) if held else (0, Cursor())
        # The horizon first: a transaction that ends between the two statements is sealed next time.
        upto = await horizon(work.session)
        sealed = await work.rows(
            SEAL,
            number=number + 1,
            epoch=after.epoch,
            xid=str(after.xid),
            upto_epoch=upto.epoch,
            upto_xid=str(upto.xid),
            most=AT_ONCE,
        )
        if not sealed:
            return 0
        await _tell(work, number + 1, after, sealed[0])
        return int(sealed[0]["count"])


async def _tell(work: Work, number: int, after: Cursor, batch: RowMapping) -> None:
    """Leave the entry of a batch, and move on."""
    upto = Cursor(batch["epoch"], batch["xid"])
    work.audit(kind=Kind.VISITS, subjects=(), reason=canonical(seal_of(number, after, upto, batch)).decode())
    await work.run(MOVE, number=number, epoch=upto.epoch, xid=str(upto.xid))


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
