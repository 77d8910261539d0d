"""Verifications in batches: each scan is written as one visit, with its verdict, before the caller gets an answer.

One statement reads the codes of a whole batch, selects each outcome and writes the visits. It reads the tables, because
there is no cache of codes or points. The answer is made from the stored visit only, so a repeated scan id gets the same
answer and creates no second visit.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

import asyncpg

from services.gateway.batcher import LARGEST_BATCH, Batcher, Connect, RunBatch
from services.gateway.verifications.problems import ScanIdTaken, ServicePointNotFound
from services.gateway.verifications.rules import LOWEST_FEVER_TENTHS, Outcome

_SCAN_COLUMNS = "scan_id, at, point_id, resident_id, shown_by, temperature_tenths"
_UNNEST = "unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::uuid[], $5::uuid[], $6::smallint[])"
_VISIT_COLUMNS = "scan_id, point_id, resident_id, colour, outcome, receipt_seconds, decided_at"
_INSERT_VISITS = f"""
insert into gateway.visits (
    scan_id, at, point_id, resident_id, shown_by, region, colour, outcome, temperature_tenths, receipt_seconds,
    decided_at
)
select
    scan.scan_id, scan.at, scan.point_id, scan.resident_id, scan.shown_by, point.region, seen.colour,
    get_byte(
        point.outcomes,
        4 * seen.colour
        + 2 * coalesce(code.last_negative >= $7 - point.negative_within, false)::int
        + coalesce(scan.temperature_tenths >= point.fever_tenths, false)::int
    ),
    scan.temperature_tenths, point.receipt_seconds, $7
from {{scans}}
join gateway.points as point on point.id = scan.point_id and point.closed_at is null
left join gateway.codes as code on code.resident_id = scan.resident_id
cross join lateral (
    select case
        when code.resident_id is null then 0
        when code.green_from <= $7 then 1
        when code.until <= $7 then code.colour_after
        else code.colour
    end as colour
) as seen
order by scan.scan_id
on conflict do nothing
returning {_VISIT_COLUMNS}
"""  # noqa: S608 (names of columns)
RECORD_VISITS = _INSERT_VISITS.format(scans=f"{_UNNEST} as scan ({_SCAN_COLUMNS})")
"""`seen` repeats `colour_at` of codes/rules.py; `get_byte` reads from `outcomes` of rules.py. A test compares them.

The rows are sorted by scan id, so that two batches with the same scans cannot deadlock. No row is returned for a scan
that is stored already, or whose point is unknown or closed.
"""

RECORD_FEVERS = f"""
with scan ({_SCAN_COLUMNS}) as materialized (select * from {_UNNEST}), fever as materialized (
    select distinct on (scan.scan_id) scan.*, point.region from scan
    join gateway.points as point on point.id = scan.point_id and scan.temperature_tenths >= point.fever_tenths
), recorded as ({_INSERT_VISITS.format(scans="scan")}), published as (
    insert into gateway.feed (epoch, type, subject, version, region, change, urgent, data)
    select
        (select max(epoch) from gateway.feed_epochs), 'gateway.fever.v1', fever.scan_id, 1, fever.region, 'measured',
        true,
        json_build_object(
            'id', fever.scan_id, 'version', 1, 'region', fever.region, 'resident_id', fever.resident_id,
            'point_id', fever.point_id, 'celsius', round(fever.temperature_tenths / 10.0, 1), 'measured_at', fever.at
        )
    from fever join recorded on recorded.scan_id = fever.scan_id
)
select {_VISIT_COLUMNS} from recorded
"""  # noqa: S608 (names of columns)
"""As RECORD_VISITS, and writes each fever to the feed in the same transaction. A repeated scan publishes nothing.

The temperature comes from the parameters, because the door's database role may write temperatures but not read them.
"""

FIND_VISITS = """
select visit.scan_id, visit.point_id, visit.resident_id, visit.colour, visit.outcome, visit.receipt_seconds,
    visit.decided_at
from unnest($1::uuid[], $2::timestamptz[]) as scan (scan_id, at)
join gateway.visits as visit on visit.at = scan.at and visit.scan_id = scan.scan_id
"""


class Scan(NamedTuple):
    """One code shown at one point. `at` is the time inside the scan id."""

    scan_id: UUID
    at: datetime
    point_id: UUID
    resident_id: UUID
    shown_by: UUID | None = None
    temperature_tenths: int | None = None


class Visit(NamedTuple):
    """The stored visit of a scan. `colour` is 0 for an unknown person."""

    scan_id: UUID
    point_id: UUID
    resident_id: UUID
    colour: int
    outcome: int
    receipt_seconds: int
    decided_at: datetime

    @property
    def decided(self) -> Outcome:
        """The verdict and its reason."""
        return Outcome.of(self.outcome)


VerificationBatcher: TypeAlias = Batcher[Scan, Visit]
"""Records scans and returns their visits once they are on disk.

Raises Unavailable, ServicePointNotFound or ScanIdTaken. If a caller disconnects while its scan is being written, the
visit is kept, because the scan did take place.
"""


def batcher_over(
    connect: Connect, now: Callable[[], datetime], *, largest_batch: int = LARGEST_BATCH
) -> VerificationBatcher:
    """Return a batcher of verifications. It runs while it is entered as a context manager."""

    async def prepare(connection: asyncpg.Connection) -> RunBatch[Scan, Visit]:
        record = await connection.prepare(RECORD_VISITS)
        record_fevers = await connection.prepare(RECORD_FEVERS)
        find = await connection.prepare(FIND_VISITS)

        async def run(scans: Sequence[Scan]) -> Sequence[Visit | Exception]:
            columns = zip(*scans, strict=True)
            statement = record_fevers if any(map(_may_be_fever, scans)) else record
            rows = await statement.fetch(*map(list, columns), now())
            visits = {row[0]: Visit(*row) for row in rows}
            if missing := [scan for scan in scans if scan.scan_id not in visits]:
                rows = await find.fetch([scan.scan_id for scan in missing], [scan.at for scan in missing])
                visits.update((row[0], Visit(*row)) for row in rows)
            return [_answer(scan, visits.get(scan.scan_id)) for scan in scans]

        return run

    return Batcher(connect, prepare, largest_batch=largest_batch)


def _may_be_fever(scan: Scan) -> bool:
    """Whether a temperature reaches the lowest fever limit that a point can set. Only then is RECORD_FEVERS needed."""
    return scan.temperature_tenths is not None and scan.temperature_tenths >= LOWEST_FEVER_TENTHS


def _answer(scan: Scan, visit: Visit | None) -> Visit | Exception:
    if visit is None:
        return ServicePointNotFound()
    same = visit.resident_id == scan.resident_id and visit.point_id == scan.point_id
    return visit if same else ScanIdTaken(at="/scan_id")
