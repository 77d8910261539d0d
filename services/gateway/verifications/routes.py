"""Routes of visits (G4). endpoint.py creates visits."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query

from services.gateway.verifications import use_cases
from services.gateway.verifications.problems import ServicePointNotFound
from services.gateway.verifications.schemas import ScanFound, Visit
from shared.core.actors import Role
from shared.database.paging import MOST_PER_PAGE, InvalidCursor, Listed
from shared.http.router import Router, Uow, cursor_query
from shared.problems import Forbidden, NotFound

router = Router(prefix="/gateway/v1/visits", tags=["service points"])
internal = Router(prefix="/internal/scans", tags=["service points"])


@internal.get("/{scan_id}", role=Role.SERVICE, raises=[NotFound], include_in_schema=False)
async def find_scan(scan_id: UUID, point_id: UUID, uow: Uow) -> ScanFound:
    """Show whose code was scanned. Used when a doorkeeper reports a fever."""
    return await use_cases.find_scan(uow, scan_id, point_id)


@router.get("", role=Role.CASEWORKERS | Role.RESIDENT, raises=[ServicePointNotFound, InvalidCursor])
async def list_visits(
    uow: Uow,
    point_id: Annotated[UUID | None, Query(description="Only visits to this point. Staff only.")] = None,
    resident_id: Annotated[UUID | None, Query(description="Only visits of this person.")] = None,
    cursor: Annotated[str | None, cursor_query(use_cases.CURSOR)] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_PER_PAGE, description="Maximum number of items in a page.")] = 50,
) -> Listed[Visit]:
    """List visits with their reasons, newest first.

    Staff see visits to service points in their region. Residents see their own visits and those of their dependants.
    Every view is recorded in the audit.
    """
    if point_id is not None and uow.actor.role is Role.RESIDENT:
        raise Forbidden()
    return await use_cases.list_visits(uow, point_id, resident_id, cursor, limit)


@router.get("/{scan_id}", role=Role.CASEWORKERS | Role.RESIDENT, raises=[NotFound])
async def get_visit(
    scan_id: Annotated[
        UUID,
        Path(description="Id of the scan.", examples=["0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"]),
    ],
    uow: Uow,
) -> Visit:
    """Show one visit with its reason.

    The callers who may list a visit may also see it. A door cannot read visits; it sees only its own answer.
    """
    return await use_cases.get_visit(uow, scan_id)
