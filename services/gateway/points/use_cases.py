"""Use cases of service points."""

from urllib.parse import urlsplit
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import select

from services.gateway.points.schemas import Asked, NewServicePoint, ServicePoint, ServicePointChange
from services.gateway.points.tables import PointRow
from services.gateway.verifications.problems import ServicePointNotFound
from shared.core.actors import Role
from shared.core.settings import SERVICES, Settings
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.http.addresses import innermost, literal
from shared.http.validation_messages import faults_of
from shared.problems import Forbidden, InvalidInput, LocalizedText, Problem


class SlugTaken(Problem):
    """Another open service point has the same slug."""

    status = 409
    code = "slug_taken"
    title = LocalizedText(zh="该 slug 已被使用", en="This slug is taken")
    fix = LocalizedText(zh="请换一个 slug", en="Choose another slug")


class ServicePointClosed(Problem):
    """The service point is closed, so it cannot change."""

    status = 409
    code = "service_point_closed"
    title = LocalizedText(zh="验码点已关闭", en="The service point is closed")
    fix = LocalizedText(zh="请新建验码点", en="Create a new service point")


class UpstreamIsOurs(Problem):
    """The upstream URL points to a service of this system."""

    status = 422
    code = "upstream_is_ours"
    title = LocalizedText(zh="不能指向本系统自身的服务", en="The upstream URL is a service of this system")
    fix = LocalizedText(zh="请填写受保护的外部应用的网址", en="Enter the URL of the external application to protect")


async def open_service_point(uow: UnitOfWork, new: NewServicePoint) -> ServicePoint:
    """Create a service point. Raises RegionOutside, SlugTaken or UpstreamIsOurs."""
    uow.require_within(new.region)
    _check_upstream(uow, None, new)
    row = PointRow(region=new.region)
    row.ask(new)
    uow.add(row)
    await uow.session.flush()
    return row.public()


async def list_service_points(uow: UnitOfWork, page: Page) -> Listed[ServicePoint]:
    """List the service points that the caller may see."""
    return await uow.page(select(PointRow), page, PointRow.public)


async def get_service_point(uow: UnitOfWork, point_id: UUID) -> ServicePoint:
    """Return one service point. Raises ServicePointNotFound."""
    return (await uow.get(PointRow, point_id, ServicePointNotFound)).public()


async def change_service_point(
    uow: UnitOfWork, point_id: UUID, change: ServicePointChange, if_match: str | None
) -> ServicePoint:
    """Change the given fields of an open service point, and validate all fields together."""
    row = await uow.lock(PointRow, point_id, ServicePointNotFound)
    uow.require_version(row, if_match, required=True)
    if row.closed_at is not None:
        raise ServicePointClosed()
    current = row.public()
    given = change.model_dump(exclude_unset=True)
    try:
        requirements = Asked.model_validate(current.model_dump(include=set(Asked.model_fields)) | given)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise InvalidInput(errors=faults_of(faults, given)) from None
    _check_upstream(uow, current, requirements)
    row.ask(requirements)
    await uow.session.flush()
    return row.public()


async def close_service_point(uow: UnitOfWork, point_id: UUID) -> ServicePoint:
    """Close a service point. Closing it again changes nothing."""
    row = await uow.lock(PointRow, point_id, ServicePointNotFound)
    if row.closed_at is None:
        row.closed_at = uow.now
        await uow.session.flush()
    return row.public()


def _check_upstream(uow: UnitOfWork, current: Asked | None, new: Asked) -> None:
    """Check a change of slug, upstream or `medical`: only command may make it. The upstream must be another system."""
    if new.slug is None or (current is not None and _protection(current) == _protection(new)):
        return
    if uow.actor.role is not Role.COMMAND:
        raise Forbidden()
    if new.upstream_url is None:
        return
    host, port = _origin(new.upstream_url)
    ours = _own_origins(uow.context.settings)
    is_this_machine = host == HERE and port in {port for _, port in ours}
    if (host, port) in ours or is_this_machine:
        raise UpstreamIsOurs(at="/upstream_url")


def _protection(point: Asked) -> tuple[str | None, str | None, bool]:
    """The fields that decide who may reach which service. A medical point lets everybody in."""
    return point.slug, point.upstream_url, point.medical


HERE = "127.0.0.1"
"""Stands for every address of this machine."""


def _own_origins(settings: Settings) -> set[tuple[str, int | None]]:
    return {_origin(settings.url_of(service)) for service in SERVICES}


def _origin(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    standard = 443 if parts.scheme == "https" else 80
    address = literal(host)
    is_here = host == "localhost" or (
        address is not None and (innermost(address).is_loopback or innermost(address).is_unspecified)
    )
    return (HERE if is_here else host, parts.port or standard)
