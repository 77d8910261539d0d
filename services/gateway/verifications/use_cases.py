"""Visits: what happens when they are looked at. They are written by the door alone (door.py)."""

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
from shared.actors import Role
from shared.audit.acts import act_of, role_in_words
from shared.audit.kinds import Kind
from shared.audit.schemas import LookedAt
from shared.contracts.gateway import DoorFever
from shared.ids import in_order
from shared.problems import Language, NotFound
from shared.work import InvalidCursor, Listed, Work

NAMES = text("SELECT id, name FROM points WHERE id = ANY(CAST(:ids AS uuid[]))")

VISIT = "visit-"
CURSOR = r"^0[0-9a-f]{11}7[0-9a-f]{3}[89ab][0-9a-f]{15}$"
"""The id of a scan: a UUIDv7 of this half millennium."""


async def list_visits(
    work: Work, point_id: UUID | None, resident_id: UUID | None, cursor: str | None, limit: int
) -> Listed[Visit]:
    """The latest first: by the scan's time, which is also the beginning of its id."""
    listed = await _visits(work, point_id, resident_id, cursor, limit)
    work.saw(visit.resident_id for visit in listed.items)
    return listed


async def get_visit(work: Work, scan_id: UUID) -> Visit:
    try:
        row = await work.session.get(VisitRow, (made_at(scan_id), scan_id))
    except ValueError:  # no scan has such an id
        row = None
    if row is None:
        raise NotFound()
    work.saw([row.resident_id])
    return row.public((await _names(work, [row])).get(row.point_id, ""))


async def find_scan(work: Work, scan_id: UUID, point_id: UUID) -> ScanFound:
    """A scan of one point; another point's is not found."""
    try:
        row = await work.session.get(VisitRow, (made_at(scan_id), scan_id))
    except ValueError:  # no scan has such an id
        row = None
    if row is None or row.point_id != point_id:
        raise NotFound()
    return ScanFound(resident_id=row.resident_id, region=row.region, at=row.at)


FEVERS = text("""
    SELECT scan_id, visits.region, resident_id, point_id, temperature_tenths, at
    FROM visits JOIN points ON points.id = point_id
    WHERE temperature_tenths >= fever_tenths AND (at, scan_id) > (CAST(:at AS timestamptz), CAST(:after AS uuid))
    ORDER BY at, scan_id LIMIT :limit
""")


async def snapshot_of_fevers(work: Work, after: UUID | None, limit: int) -> Sequence[DoorFever]:
    """All fevers that doors have read, in the order of their scans, whose ids begin with their times."""
    at = datetime.min.replace(tzinfo=UTC) if after is None else made_at(after)
    rows = await work.rows(FEVERS, at=at, after=after or UUID(int=0), limit=limit)
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


async def looked_at_doors(work: Work, cursor: str | None, limit: int, language: Language) -> Listed[LookedAt]:
    """The caller's own visits as the looks that they are, the latest first. Its cursors are `place_at_doors`."""
    listed = await _visits(work, None, None, cursor, limit)
    return Listed(items=[_look(visit, language) for visit in listed.items], next_cursor=listed.next_cursor)


def place_at_doors(look: LookedAt) -> str:
    """Where one goes on after a look."""
    return _cursor(UUID(look.id.removeprefix(VISIT)))


def _look(visit: Visit, language: Language) -> LookedAt:
    act = act_of("gateway", VERIFIED, Kind.LOOK)
    return LookedAt(
        id=f"{VISIT}{visit.scan_id}",
        service="gateway",
        at=visit.at,
        kind=Kind.LOOK,
        operation=VERIFIED,
        what=act.what.say(language),
        why=act.why.say(language),
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
    work: Work, point_id: UUID | None, resident_id: UUID | None, cursor: str | None, limit: int
) -> Listed[Visit]:
    asked = select(VisitRow)
    if resident_id is not None:
        asked = asked.where(VisitRow.resident_id == resident_id)
    if point_id is not None:
        point = await work.get(PointRow, point_id, ServicePointNotFound)
        # The region says nothing new, and leads to an index.
        asked = asked.where(VisitRow.point_id == point_id, VisitRow.region == point.region)
    if cursor is not None:
        before = place_of(cursor)
        asked = asked.where(tuple_(VisitRow.at, VisitRow.scan_id) < (made_at(before), before))
    asked = asked.order_by(VisitRow.at.desc(), VisitRow.scan_id.desc()).limit(limit + 1)
    found = (await work.session.scalars(asked)).all()
    kept = found[:limit]
    names = await _names(work, kept)
    return Listed(
        items=[visit.public(names.get(visit.point_id, "")) for visit in kept],
        next_cursor=_cursor(kept[-1].scan_id) if len(found) > limit else None,
    )


async def _names(work: Work, visits: Sequence[VisitRow]) -> dict[UUID, str]:
    """What the points of visits are called."""
    rows = await work.rows(NAMES, ids=in_order(visit.point_id for visit in visits))
    return {row["id"]: row["name"] for row in rows}


def _cursor(scan_id: UUID) -> str:
    return scan_id.hex


def place_of(cursor: str) -> UUID:
    """The scan a cursor names. Raises `InvalidCursor`."""
    if not re.fullmatch(CURSOR, cursor, re.ASCII):
        raise InvalidCursor()
    return UUID(cursor)
