"""The door: each scan becomes one visit on disk, with its verdict, before it is answered.

One statement reads the codes of a whole batch, picks each outcome and writes the visits. It reads the truth itself:
there is no cache of codes or points. The answer is what the visit says and nothing else, so a repeated scan id is
answered from its visit, as before, and is one visit.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

import asyncpg

from services.gateway.batcher import LARGEST_BATCH, Batcher, Connect, RunBatch
from services.gateway.verifications.problems import ScanIdTaken, ServicePointNotFound
from services.gateway.verifications.rules import LOWEST_FEVER_TENTHS, Outcome

_ASKED = "scan_id, at, point_id, resident_id, shown_by, temperature_tenths"
_UNNEST = "unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::uuid[], $5::uuid[], $6::smallint[])"
_ANSWERED = "scan_id, point_id, resident_id, colour, outcome, receipt_seconds, decided_at"
_RECORD = f"""
insert into gateway.visits (
    scan_id, at, point_id, resident_id, shown_by, region, colour, outcome, temperature_tenths, receipt_seconds,
    decided_at
)
select
    asked.scan_id, asked.at, asked.point_id, asked.resident_id, asked.shown_by, point.region, seen.colour,
    get_byte(
        point.outcomes,
        4 * seen.colour
        + 2 * coalesce(code.last_negative >= $7 - point.negative_within, false)::int
        + coalesce(asked.temperature_tenths >= point.fever_tenths, false)::int
    ),
    asked.temperature_tenths, point.receipt_seconds, $7
from {{asked}}
join gateway.points as point on point.id = asked.point_id and point.closed_at is null
left join gateway.codes as code on code.resident_id = asked.resident_id
cross join lateral (
    select case
        when code.resident_id is null then 0
        when code.green_from <= $7 then 1
        when code.until <= $7 then code.colour_after
        else code.colour
    end as colour
) as seen
order by asked.scan_id
on conflict do nothing
returning {_ANSWERED}
"""  # noqa: S608 (names of columns)
RECORD_VISITS = _RECORD.format(asked=f"{_UNNEST} as asked ({_ASKED})")
"""`seen` is `colour_at` of codes/rules.py. What `get_byte` picks is `outcomes` of rules.py; a test holds both together.

Sorted by scan id, so that two batches holding the same scans cannot deadlock. A scan that is there already, or whose
point nobody knows or that is closed, returns no row.
"""

RECORD_FEVERS = f"""
with asked ({_ASKED}) as materialized (select * from {_UNNEST}), hot as materialized (
    select distinct on (asked.scan_id) asked.*, point.region from asked
    join gateway.points as point on point.id = asked.point_id and asked.temperature_tenths >= point.fever_tenths
), recorded as ({_RECORD.format(asked="asked")}), told as (
    insert into gateway.feed (epoch, type, subject, version, region, change, urgent, data)
    select
        (select max(epoch) from gateway.feed_epochs), 'gateway.fever.v1', hot.scan_id, 1, hot.region, 'measured', true,
        json_build_object(
            'id', hot.scan_id, 'version', 1, 'region', hot.region, 'resident_id', hot.resident_id,
            'point_id', hot.point_id, 'celsius', round(hot.temperature_tenths / 10.0, 1), 'measured_at', hot.at
        )
    from hot join recorded on recorded.scan_id = hot.scan_id
)
select {_ANSWERED} from recorded
"""  # noqa: S608 (names of columns)
"""The same, and puts each fever on the feed in the same transaction. A scan that is repeated is not told again.

It takes the temperature from what is asked: a door may write temperatures, and read none.
"""

FIND_VISITS = """
select visit.scan_id, visit.point_id, visit.resident_id, visit.colour, visit.outcome, visit.receipt_seconds,
    visit.decided_at
from unnest($1::uuid[], $2::timestamptz[]) as asked (scan_id, at)
join gateway.visits as visit on visit.at = asked.at and visit.scan_id = asked.scan_id
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
    """What is on disk of a scan. `colour` is 0 for a person nobody knows."""

    scan_id: UUID
    point_id: UUID
    resident_id: UUID
    colour: int
    outcome: int
    receipt_seconds: int
    decided_at: datetime

    @property
    def said(self) -> Outcome:
        """The verdict, and what it rests on."""
        return Outcome.of(self.outcome)


Door: TypeAlias = Batcher[Scan, Visit]
"""The engine behind verifications. Asked about a scan, it answers with its visit, once that is on disk.

It raises Unavailable, ServicePointNotFound or ScanIdTaken. A caller that goes away while its scan is being written
leaves a visit behind; that is what happened.
"""


def door_over(connect: Connect, now: Callable[[], datetime], *, largest_batch: int = LARGEST_BATCH) -> Door:
    """A door that is not open yet: open while it is entered."""

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
    """Whether a temperature reaches the lowest limit that any point can have: only then a fever is looked for."""
    return scan.temperature_tenths is not None and scan.temperature_tenths >= LOWEST_FEVER_TENTHS


def _answer(scan: Scan, visit: Visit | None) -> Visit | Exception:
    if visit is None:
        return ServicePointNotFound()
    same = visit.resident_id == scan.resident_id and visit.point_id == scan.point_id
    return visit if same else ScanIdTaken(at="/scan_id")
