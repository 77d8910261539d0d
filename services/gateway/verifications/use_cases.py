"""Visits: what happens when they are looked at. They are written by the door alone (door.py)."""

import re
from uuid import UUID

from sqlalchemy import select, text, tuple_

from services.gateway.points.tables import PointRow
from services.gateway.verifications.problems import ServicePointNotFound
from services.gateway.verifications.rules import made_at
from services.gateway.verifications.schemas import Visit
from services.gateway.verifications.tables import VisitRow
from shared.feed.log import uuids
from shared.work import InvalidCursor, Listed, Work

NAMES = text("SELECT id, name FROM points WHERE id = ANY(CAST(:ids AS uuid[]))")

CURSOR = r"^0[0-9a-f]{11}7[0-9a-f]{3}[89ab][0-9a-f]{15}$"
"""The id of a scan: a UUIDv7 of this half millennium."""


async def list_visits(
    work: Work, point_id: UUID | None, resident_id: UUID | None, cursor: str | None, limit: int
) -> Listed[Visit]:
    """The latest first: by the scan's time, which is also the beginning of its id."""
    asked = select(VisitRow)
    if resident_id is not None:
        asked = asked.where(VisitRow.resident_id == resident_id)
    if point_id is not None:
        point = await work.get(PointRow, point_id, ServicePointNotFound)
        # The region says nothing new, and leads to an index.
        asked = asked.where(VisitRow.point_id == point_id, VisitRow.region == point.region)
    if cursor is not None:
        before = _place(cursor)
        asked = asked.where(tuple_(VisitRow.at, VisitRow.scan_id) < (made_at(before), before))
    asked = asked.order_by(VisitRow.at.desc(), VisitRow.scan_id.desc()).limit(limit + 1)
    found = (await work.session.scalars(asked)).all()
    kept = found[:limit]
    names = {row["id"]: row["name"] for row in await work.rows(NAMES, ids=uuids(visit.point_id for visit in kept))}
    work.saw(visit.resident_id for visit in kept)
    return Listed(
        items=[visit.public(names.get(visit.point_id, "")) for visit in kept],
        next_cursor=_cursor(kept[-1].scan_id) if len(found) > limit else None,
    )


def _cursor(scan_id: UUID) -> str:
    return scan_id.hex


def _place(cursor: str) -> UUID:
    if not re.fullmatch(CURSOR, cursor, re.ASCII):
        raise InvalidCursor()
    return UUID(cursor)
