"""The sealer: it chains every committed entry of a service's day to the previous entry.

Chaining inside the transactions would make every writer wait for the previous one. Therefore one process at a time
chains the entries after their commit, in the order (epoch, transaction, number), up to the oldest running transaction.
No entry can appear earlier in this order later. The chain and the cursor commit together, so the sealer may die at any
point, and the next one continues from the cursor.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from shared.audit.canonical import ENTRY_FIELDS, beginning, chained, entry_of
from shared.core.clock import day_of
from shared.core.ids import named_id
from shared.database.engine import group_of
from shared.database.unit_of_work import UnitOfWork, scalar
from shared.feed.log import Cursor, horizon
from shared.observability import telemetry
from shared.runtime.context import ServiceContext

AT_ONCE = 1_000
LONGEST_TRANSACTION = timedelta(days=1)
"""How much earlier than the last chained entry the transaction of an unchained entry can have begun."""

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

TAKE_SEALER_LOCK = text("SELECT set_config('role', :role, true), pg_try_advisory_xact_lock(:key)")
SELECT_CURSOR = text("SELECT epoch, xid::text::bigint AS xid, seq, at FROM audit_sealed")
SELECT_UNSEALED = text(f"""
    SELECT epoch, xid::text::bigint AS xid, {", ".join(ENTRY_FIELDS)} FROM audit
    WHERE at >= :since AND (epoch, xid, seq) > (:epoch, CAST(CAST(:xid AS text) AS xid8), :seq)
      AND (epoch, xid, seq) <= (:upto_epoch, CAST(CAST(:upto_xid AS text) AS xid8), 0)
    ORDER BY epoch, xid, seq
    LIMIT :limit
""")  # noqa: S608 (names of columns)
SELECT_END = text("SELECT position, hash FROM audit_seals WHERE day = :day ORDER BY position DESC LIMIT 1")
INSERT_SEALS = text("""
    INSERT INTO audit_seals (day, position, seq, hash)
    SELECT * FROM unnest(
        CAST(:days AS date[]), CAST(:positions AS bigint[]), CAST(:seqs AS bigint[]), CAST(:hashes AS bytea[])
    )
""")
MOVE_CURSOR = text("""
    INSERT INTO audit_sealed (epoch, xid, seq, at) VALUES (:epoch, CAST(CAST(:xid AS text) AS xid8), :seq, :at)
    ON CONFLICT ("only") DO UPDATE
        SET epoch = excluded.epoch, xid = excluded.xid, seq = excluded.seq, at = greatest(audit_sealed.at, excluded.at)
""")
SELECT_UNSEALED_SECONDS = text("""
    SELECT coalesce(extract(epoch FROM now() - min(audit.at)), 0)::float8
    FROM audit LEFT JOIN audit_sealed AS held ON true
    WHERE audit.at >= coalesce(held.at - CAST(:back AS interval), '-infinity')
      AND (audit.epoch, audit.xid, audit.seq)
          > (coalesce(held.epoch, 0), coalesce(held.xid, '0'), coalesce(held.seq, 0))
""")


async def chain_entries(context: ServiceContext) -> None:
    """Chain all committed entries that are not chained yet, unless another process is doing it."""
    while await _chain_some(context) == AT_ONCE:
        pass


async def _chain_some(context: ServiceContext) -> int:
    service = context.settings.service
    async with context.system_unit_of_work("seal") as uow:
        (lock,) = await uow.rows(
            TAKE_SEALER_LOCK, role=group_of(service, "sealer"), key=named_id("lock", f"{service}:audit").int % 2**63
        )
        if not lock["pg_try_advisory_xact_lock"]:
            return 0
        entries = await _unchained(uow)
        if entries:
            await _chain(uow, entries)
        return len(entries)


async def _unchained(uow: UnitOfWork) -> Sequence[RowMapping]:
    rows = await uow.rows(SELECT_CURSOR)
    after = Cursor(rows[0]["epoch"], rows[0]["xid"], rows[0]["seq"]) if rows else Cursor()
    # The horizon is read first, so that a transaction that ends between the two statements is chained the next time.
    upto = await horizon(uow.session)
    return await uow.rows(
        SELECT_UNSEALED,
        since=rows[0]["at"] - LONGEST_TRANSACTION if rows else BEGINNING,
        epoch=after.epoch,
        xid=str(after.xid),
        seq=after.seq,
        upto_epoch=upto.epoch,
        upto_xid=str(upto.xid),
        limit=AT_ONCE,
    )


async def _chain(uow: UnitOfWork, entries: Sequence[RowMapping]) -> None:
    """Add entries to the chains of their days."""
    ends: dict[date, tuple[int, bytes]] = {}
    links: dict[str, list[Any]] = {"days": [], "positions": [], "seqs": [], "hashes": []}
    for entry in entries:
        day = day_of(entry["at"])
        if day not in ends:
            ends[day] = await end_of(uow, day)
        position, before = ends[day]
        ends[day] = position + 1, chained(before, entry_of(dict(entry)))
        for name, value in zip(links, (day, position + 1, entry["seq"], ends[day][1]), strict=True):
            links[name].append(value)
    await uow.run(INSERT_SEALS, **links)
    await _move(uow, dict(entries[-1]), max(entry["at"] for entry in entries))


async def _move(uow: UnitOfWork, last: Mapping[str, Any], at: Any) -> None:
    await uow.run(MOVE_CURSOR, epoch=last["epoch"], xid=str(last["xid"]), seq=last["seq"], at=at)


async def end_of(uow: UnitOfWork, day: date) -> tuple[int, bytes]:
    """Return the length of a day's chain and its last hash."""
    rows = await uow.rows(SELECT_END, day=day)
    if not rows:
        return 0, beginning(uow.context.settings.service, day)
    return rows[0]["position"], bytes(rows[0]["hash"])


async def measure(uow: UnitOfWork) -> None:
    """Set the gauge for the age of the oldest entry that is not chained yet."""
    age = await scalar(uow, SELECT_UNSEALED_SECONDS.bindparams(back=LONGEST_TRANSACTION))
    telemetry.AUDIT_UNCHAINED.labels(uow.context.settings.service).set(age)
