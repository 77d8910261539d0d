"""Routes of service points (G4, articles 4 and 6)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Response

from services.gateway.points import use_cases
from services.gateway.points.schemas import NewServicePoint, ServicePoint, ServicePointChange
from services.gateway.points.use_cases import ServicePointClosed, SlugTaken, UpstreamIsOurs
from services.gateway.verifications.problems import ServicePointNotFound
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.database.unit_of_work import RegionOutside
from shared.http.preconditions import etag_of
from shared.http.router import IfMatchRequired, PageAsked, Router, Uow

router = Router(prefix="/gateway/v1/service-points", tags=["service points"])

PointId = Annotated[UUID, Path(description="Id of a service point.", examples=["0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"])]
OFFICERS = Role.COMMAND | Role.COMMUNITY_OFFICER


@router.post(
    "",
    role=OFFICERS,
    raises=[RegionOutside, SlugTaken, UpstreamIsOurs],
    status=201,
    location="/gateway/v1/service-points/{id}",
    etag=True,
)
async def open_service_point(new: NewServicePoint, uow: Uow, response: Response) -> ServicePoint:
    """Create a service point that checks codes, such as a window, a gate or a clinic.

    The `party` of a doorkeeper's device is the id of the service point. Only `command` may set `slug` (which protects a
    service), `upstream_url` and `medical`. Source: articles 4 and 6.
    """
    return _tagged(response, await use_cases.open_service_point(uow, new))


@router.get("", role=Role.STAFF)
async def list_service_points(uow: Uow, page: PageAsked) -> Listed[ServicePoint]:
    """List the service points in the caller's region."""
    return await use_cases.list_service_points(uow, page)


@router.get("/{point_id}", role=Role.STAFF, raises=[ServicePointNotFound], etag=True)
async def get_service_point(point_id: PointId, uow: Uow, response: Response) -> ServicePoint:
    """Show one service point."""
    return _tagged(response, await use_cases.get_service_point(uow, point_id))


@router.patch(
    "/{point_id}",
    role=OFFICERS,
    raises=[
        ServicePointNotFound,
        ServicePointClosed,
        SlugTaken,
        UpstreamIsOurs,
    ],
    etag=True,
)
async def change_service_point(
    point_id: PointId, change: ServicePointChange, uow: Uow, response: Response, if_match: IfMatchRequired
) -> ServicePoint:
    """Change the requirements of a service point from the next scan on. Requires `If-Match` with the last ETag."""
    return _tagged(response, await use_cases.change_service_point(uow, point_id, change, if_match))


@router.post("/{point_id}/close", role=OFFICERS, raises=[ServicePointNotFound])
async def close_service_point(point_id: PointId, uow: Uow) -> ServicePoint:
    """Close a service point. The gateway no longer forwards to a service that the point protects."""
    return await use_cases.close_service_point(uow, point_id)


def _tagged(response: Response, point: ServicePoint) -> ServicePoint:
    response.headers["etag"] = etag_of(point.version)
    return point
