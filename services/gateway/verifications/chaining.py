"""Chains visits into the audit: in batches, in commit order, each batch as one entry of the gateway's audit.

A visit is itself the record of its verification, so it has no audit entry of its own: that would be a second write for
each verification. Instead a worker reads visits in commit order and writes one entry of kind `visits` for each batch.
docs/audit.md describes the hashed bytes.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from shared.audit.canonical import canonical, timestamp
from shared.audit.kinds import Kind
from shared.core.ids import named_id
from shared.database.engine import group_of
from shared.database.unit_of_work import UnitOfWork
from shared.feed.log import Cursor, horizon
from shared.runtime.context import ServiceContext

AT_ONCE = 2_000
"""Visits in a batch. A batch also includes the rest of its last transaction."""
LOCK = named_id("lock", "gateway:visits").int % 2**63
CHAIN_SECONDS = 0.5

BECOME_SEALER_AND_TRY_LOCK = text("SELECT set_config('role', :role, true), pg_try_advisory_xact_lock(:key)")
SELECT_CURSOR = text("SELECT number, epoch, xid::text::bigint AS xid FROM visits_sealed")

# The bytes of a visit. PostgreSQL's binary formats are used, because text costs four times as much.
VISIT_BYTES = """
    uuid_send(scan_id) || uuid_send(point_id) || uuid_send(resident_id)
    || uuid_send(coalesce(shown_by, CAST('00000000-0000-0000-0000-000000000000' AS uuid)))
    || timestamptz_send(at) || timestamptz_send(decided_at) || xid8send(xid) || int4send(epoch)
    || int4send(receipt_seconds) || int2send(coalesce(temperature_tenths, CAST(0 AS smallint))) || int2send(colour)
    || int2send(outcome) || textsend(region)
"""
SEAL_BATCH = text(f"""
    WITH batch AS MATERIALIZED (
        SELECT * FROM visits
        WHERE (epoch, xid) > (:epoch, CAST(CAST(:xid AS text) AS xid8))
          AND (epoch, xid) < (:upto_epoch, CAST(CAST(:upto_xid AS text) AS xid8))
        ORDER BY epoch, xid FETCH FIRST :most ROWS WITH TIES
    ), leaves AS (
        SELECT count(*) AS count, max(at) AS last_at, max(epoch) AS epoch,
            string_agg(sha256({VISIT_BYTES}) || timestamptz_send(at), '' ORDER BY scan_id, at) AS leaves
        FROM batch
    ), sealed AS (
        SELECT *, (SELECT max(xid) FROM batch WHERE batch.epoch = leaves.epoch) AS xid FROM leaves WHERE count > 0
    ), inserted AS (
        INSERT INTO visit_seals (number, after_epoch, after_xid, epoch, xid, last_at, leaves)
        SELECT :number, :epoch, CAST(CAST(:xid AS text) AS xid8), epoch, xid, last_at, leaves FROM sealed
    )
    SELECT count, last_at, epoch, sha256(leaves) AS hash, CAST(CAST(xid AS text) AS bigint) AS xid FROM sealed
""")  # noqa: S608 (names of columns)
SAVE_CURSOR = text("""
    INSERT INTO visits_sealed (number, epoch, xid) VALUES (:number, :epoch, CAST(CAST(:xid AS text) AS xid8))
    ON CONFLICT ("only") DO UPDATE SET number = excluded.number, epoch = excluded.epoch, xid = excluded.xid
""")


async def chain_visits(context: ServiceContext) -> None:
    """Write all committed visits that are in no batch yet into batches. Does nothing while another process does it."""
    while await _chain_some(context) >= AT_ONCE:
        pass


async def _chain_some(context: ServiceContext) -> int:
    """Audit entry, leaves and cursor commit together, so a run that is killed can be continued by another process."""
    async with context.system_unit_of_work("seal visits") as uow:
        (locked,) = await uow.rows(BECOME_SEALER_AND_TRY_LOCK, role=group_of("gateway", "sealer"), key=LOCK)
        if not locked["pg_try_advisory_xact_lock"]:
            return 0
        saved = await uow.rows(SELECT_CURSOR)
        number, after = (saved[0]["number"], Cursor(saved[0]["epoch"], saved[0]["xid"])) if saved else (0, Cursor())
        # Read the horizon first: then a transaction that ends between the two statements is left for the next run.
        upto = await horizon(uow.session)
        sealed = await uow.rows(
            SEAL_BATCH,
            number=number + 1,
            epoch=after.epoch,
            xid=str(after.xid),
            upto_epoch=upto.epoch,
            upto_xid=str(upto.xid),
            most=AT_ONCE,
        )
        if not sealed:
            return 0
        await _record_batch(uow, number + 1, after, sealed[0])
        return int(sealed[0]["count"])


async def _record_batch(uow: UnitOfWork, number: int, after: Cursor, batch: RowMapping) -> None:
    """Write the audit entry of a batch and save the cursor."""
    upto = Cursor(batch["epoch"], batch["xid"])
    uow.audit(kind=Kind.VISITS, subjects=(), reason=canonical(link_of(number, after, upto, batch)).decode())
    await uow.run(SAVE_CURSOR, number=number, epoch=upto.epoch, xid=str(upto.xid))


def link_of(number: int, after: Cursor, upto: Cursor, batch: RowMapping) -> dict[str, Any]:
    """The content of a batch's audit entry. It contains no personal data."""
    last_at: datetime = batch["last_at"]
    return {
        "after": [after.epoch, after.xid],
        "batch": number,
        "count": batch["count"],
        "hash": bytes(batch["hash"]).hex(),
        "last_at": timestamp(last_at),
        "upto": [upto.epoch, upto.xid],
    }
