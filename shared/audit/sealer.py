"""The sealer: it follows the commits and chains every entry of a service's day to the one before.

A chain made inside the transactions would queue every writer behind the last; so one process at a time follows them, in
an order in which nothing can appear later: (epoch, transaction, number), up to the oldest transaction that still runs.
Seals and cursor commit together, so a sealer may die at any point, and the next goes on where it stood.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from shared import telemetry
from shared.audit.canonical import ENTRY_FIELDS, beginning, chained, entry_of
from shared.clock import day_of
from shared.db import group_of
from shared.feed.log import Cursor, horizon
from shared.house import House
from shared.ids import named_id
from shared.work import Work, scalar

AT_ONCE = 1_000
LONGEST_TRANSACTION = timedelta(days=1)
"""How much earlier than the last sealed entry one that is not sealed yet can have begun."""

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

TAKE = text("SELECT set_config('role', :role, true), pg_try_advisory_xact_lock(:key)")
CURSOR = text("SELECT epoch, xid::text::bigint AS xid, seq, at FROM audit_sealed")
READ = text(f"""
    SELECT epoch, xid::text::bigint AS xid, {", ".join(ENTRY_FIELDS)} FROM audit
    WHERE at >= :since AND (epoch, xid, seq) > (:epoch, CAST(CAST(:xid AS text) AS xid8), :seq)
      AND (epoch, xid, seq) <= (:upto_epoch, CAST(CAST(:upto_xid AS text) AS xid8), 0)
    ORDER BY epoch, xid, seq
    LIMIT :limit
""")  # noqa: S608 (names of columns)
END = text("SELECT position, hash FROM audit_seals WHERE day = :day ORDER BY position DESC LIMIT 1")
SEAL = text("""
    INSERT INTO audit_seals (day, position, seq, hash)
    SELECT * FROM unnest(
        CAST(:days AS date[]), CAST(:positions AS bigint[]), CAST(:seqs AS bigint[]), CAST(:hashes AS bytea[])
    )
""")
MOVE = text("""
    INSERT INTO audit_sealed (epoch, xid, seq, at) VALUES (:epoch, CAST(CAST(:xid AS text) AS xid8), :seq, :at)
    ON CONFLICT ("only") DO UPDATE
        SET epoch = excluded.epoch, xid = excluded.xid, seq = excluded.seq, at = greatest(audit_sealed.at, excluded.at)
""")
UNSEALED = text("""
    SELECT coalesce(extract(epoch FROM now() - min(audit.at)), 0)::float8
    FROM audit LEFT JOIN audit_sealed AS held ON true
    WHERE audit.at >= coalesce(held.at - CAST(:back AS interval), '-infinity')
      AND (audit.epoch, audit.xid, audit.seq)
          > (coalesce(held.epoch, 0), coalesce(held.xid, '0'), coalesce(held.seq, 0))
""")


async def seal(house: House) -> None:
    """Chain all that is committed and not chained yet, unless another process is at it."""
    while await _seal_some(house) == AT_ONCE:
        pass


async def _seal_some(house: House) -> int:
    service = house.settings.service
    async with house.system_work("seal") as work:
        (took,) = await work.rows(
            TAKE, role=group_of(service, "sealer"), key=named_id("lock", f"{service}:audit").int % 2**63
        )
        if not took["pg_try_advisory_xact_lock"]:
            return 0
        entries = await _unsealed(work)
        if entries:
            await _chain(work, entries)
        return len(entries)


async def _unsealed(work: Work) -> Sequence[RowMapping]:
    held = await work.rows(CURSOR)
    after = Cursor(held[0]["epoch"], held[0]["xid"], held[0]["seq"]) if held else Cursor()
    # The horizon first: a transaction that ends between the two statements is sealed next time.
    upto = await horizon(work.session)
    return await work.rows(
        READ,
        since=held[0]["at"] - LONGEST_TRANSACTION if held else BEGINNING,
        epoch=after.epoch,
        xid=str(after.xid),
        seq=after.seq,
        upto_epoch=upto.epoch,
        upto_xid=str(upto.xid),
        limit=AT_ONCE,
    )


async def _chain(work: Work, entries: Sequence[RowMapping]) -> None:
    """Seal entries, each in the chain of its own day."""
    ends: dict[date, tuple[int, bytes]] = {}
    seals: dict[str, list[Any]] = {"days": [], "positions": [], "seqs": [], "hashes": []}
    for entry in entries:
        day = day_of(entry["at"])
        if day not in ends:
            ends[day] = await end_of(work, day)
        position, before = ends[day]
        ends[day] = position + 1, chained(before, entry_of(dict(entry)))
        for name, value in zip(seals, (day, position + 1, entry["seq"], ends[day][1]), strict=True):
            seals[name].append(value)
    await work.run(SEAL, **seals)
    await _move(work, dict(entries[-1]), max(entry["at"] for entry in entries))


async def _move(work: Work, last: Mapping[str, Any], at: Any) -> None:
    await work.run(MOVE, epoch=last["epoch"], xid=str(last["xid"]), seq=last["seq"], at=at)


async def end_of(work: Work, day: date) -> tuple[int, bytes]:
    """How long the chain of a day is, and its last hash."""
    found = await work.rows(END, day=day)
    if not found:
        return 0, beginning(work.house.settings.service, day)
    return found[0]["position"], bytes(found[0]["hash"])


async def measure(work: Work) -> None:
    """Set the gauge of how old the oldest entry is that is not sealed yet."""
    age = await scalar(work, UNSEALED.bindparams(back=LONGEST_TRANSACTION))
    telemetry.AUDIT_UNSEALED.labels(work.house.settings.service).set(age)
