"""Use cases of visits: only reads, because door.py writes them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select, text, tuple_

from services.gateway.acts import VERIFIED
from services.gateway.points.tables import PointRow
from services.gateway.verifications.problems import ServicePointNotFound
from services.gateway.verifications.rules import made_at
from services.gateway.verifications.schemas import ScanFound, Visit
from services.gateway.verifications.tables import VisitRow
from shared.audit.acts import act_of, role_in_words
from shared.audit.kinds import Kind
from shared.audit.schemas import LookedAt
from shared.contracts.gateway import DoorFever
from shared.core.actors import Role
from shared.core.ids import in_order
from shared.database.paging import InvalidCursor, Listed
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Language, NotFound

SELECT_POINT_NAMES = text("SELECT id, name FROM points WHERE id = ANY(CAST(:ids AS uuid[]))")

VISIT = "visit-"
CURSOR = r"^0[0-9a-f]{11}7[0-9a-f]{3}[89ab][0-9a-f]{15}$"
"""A scan id in hexadecimal: a UUIDv7 whose time begins with 0, that is before the year 2527."""


async def list_visits(
    uow: UnitOfWork, point_id: UUID | None, resident_id: UUID | None, cursor: str | None, limit: int
) -> Listed[Visit]:
    """List visits, latest first, by the time of the scan. A scan id begins with this time."""
    listed = await _visits(uow, point_id, resident_id, cursor, limit)
    uow.record_access(visit.resident_id for visit in listed.items)
    return listed


async def get_visit(uow: UnitOfWork, scan_id: UUID) -> Visit:
    """Return one visit and record the access. Raises NotFound."""
    try:
        row = await uow.session.get(VisitRow, (made_at(scan_id), scan_id))
    except ValueError:  # not a UUIDv7, so it is not the id of a scan
        row = None
    if row is None:
        raise NotFound()
    uow.record_access([row.resident_id])
    return row.public((await _names(uow, [row])).get(row.point_id, ""))


async def find_scan(uow: UnitOfWork, scan_id: UUID, point_id: UUID) -> ScanFound:
    """Return the scan of one point. Raises NotFound if it belongs to another point."""
    try:
        row = await uow.session.get(VisitRow, (made_at(scan_id), scan_id))
    except ValueError:  # not a UUIDv7, so it is not the id of a scan
        row = None
    if row is None or row.point_id != point_id:
        raise NotFound()
    return ScanFound(resident_id=row.resident_id, region=row.region, at=row.at)


SELECT_FEVERS = text("""
    SELECT scan_id, visits.region, resident_id, point_id, temperature_tenths, at
    FROM visits JOIN points ON points.id = point_id
    WHERE temperature_tenths >= fever_tenths AND (at, scan_id) > (CAST(:at AS timestamptz), CAST(:after AS uuid))
    ORDER BY at, scan_id LIMIT :limit
""")


async def snapshot_of_fevers(uow: UnitOfWork, after: UUID | None, limit: int) -> Sequence[DoorFever]:
    """Return all fevers measured at doors, ordered by time and id of the scan."""
    at = datetime.min.replace(tzinfo=UTC) if after is None else made_at(after)
    rows = await uow.rows(SELECT_FEVERS, at=at, after=after or UUID(int=0), limit=limit)
    return [
        DoorFever(
            id=row["scan_id"],
            version=1,
            region=row["region"],
            resident_id=row["resident_id"],
            point_id=row["point_id"],
            celsius=row["temperature_tenths"] / 10,
            measured_at=row["at"],
        )
        for row in rows
    ]


async def looked_at_doors(uow: UnitOfWork, cursor: str | None, limit: int, language: Language) -> Listed[LookedAt]:
    """Return the caller's own visits as accesses to their data, latest first. `place_at_doors` makes the cursors."""
    listed = await _visits(uow, None, None, cursor, limit)
    return Listed(items=[_look(visit, language) for visit in listed.items], next_cursor=listed.next_cursor)


def place_at_doors(look: LookedAt) -> str:
    """Return the cursor that continues after an access."""
    return _cursor(UUID(look.id.removeprefix(VISIT)))


def _look(visit: Visit, language: Language) -> LookedAt:
    act = act_of("gateway", VERIFIED, Kind.LOOK)
    return LookedAt(
        id=f"{VISIT}{visit.scan_id}",
        service="gateway",
        at=visit.at,
        kind=Kind.LOOK,
        operation=VERIFIED,
        what=act.what.render(language),
        why=act.why.render(language),
        reason="",
        role=Role.DOORKEEPER.label,
        role_name=role_in_words(Role.DOORKEEPER.label, language),
        party=str(visit.point_id),
        organisation=visit.point_name,
        region=visit.region,
        purpose="",
        residents=[visit.resident_id],
    )


async def _visits(
    uow: UnitOfWork, point_id: UUID | None, resident_id: UUID | None, cursor: str | None, limit: int
) -> Listed[Visit]:
    query = select(VisitRow)
    if resident_id is not None:
        query = query.where(VisitRow.resident_id == resident_id)
    if point_id is not None:
        point = await uow.get(PointRow, point_id, ServicePointNotFound)
        # The region adds no restriction, but lets the planner use the index on (region, at).
        query = query.where(VisitRow.point_id == point_id, VisitRow.region == point.region)
    if cursor is not None:
        before = position_of(cursor)
        query = query.where(tuple_(VisitRow.at, VisitRow.scan_id) < (made_at(before), before))
    query = query.order_by(VisitRow.at.desc(), VisitRow.scan_id.desc()).limit(limit + 1)
    rows = (await uow.session.scalars(query)).all()
    visits = rows[:limit]
    names = await _names(uow, visits)
    return Listed(
        items=[visit.public(names.get(visit.point_id, "")) for visit in visits],
        next_cursor=_cursor(visits[-1].scan_id) if len(rows) > limit else None,
    )


async def _names(uow: UnitOfWork, visits: Sequence[VisitRow]) -> dict[UUID, str]:
    """The names of the visited points by id."""
    rows = await uow.rows(SELECT_POINT_NAMES, ids=in_order(visit.point_id for visit in visits))
    return {row["id"]: row["name"] for row in rows}


def _cursor(scan_id: UUID) -> str:
    return scan_id.hex


def position_of(cursor: str) -> UUID:
    """Return the scan id of a cursor. Raises `InvalidCursor`."""
    if not re.fullmatch(CURSOR, cursor, re.ASCII):
        raise InvalidCursor()
    return UUID(cursor)
