"""Service points: what happens."""

from urllib.parse import urlsplit
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import select

from services.gateway.points.schemas import Asked, NewServicePoint, ServicePoint, ServicePointChange
from services.gateway.points.tables import PointRow
from services.gateway.verifications.problems import ServicePointNotFound
from shared.actors import Role
from shared.http.addresses import innermost, literal
from shared.http.texts import faults_of
from shared.problems import Forbidden, InvalidInput, Problem, Text
from shared.settings import SERVICES, Settings
from shared.work import Listed, Page, Work


class SlugTaken(Problem):
    """Another open point protects a service under the same name."""

    status = 409
    code = "slug_taken"
    title = Text(zh="该 slug 已被使用", en="This slug is taken")
    fix = Text(zh="请换一个 slug", en="Choose another slug")


class ServicePointClosed(Problem):
    """The point asks nobody any more."""

    status = 409
    code = "service_point_closed"
    title = Text(zh="验码点已关闭", en="The service point is closed")
    fix = Text(zh="请新建验码点", en="Create a new service point")


class UpstreamIsOurs(Problem):
    """The edge would call one of our own services as if it were foreign."""

    status = 422
    code = "upstream_is_ours"
    title = Text(zh="不能指向本系统自身的服务", en="The upstream is a service of this system itself")
    fix = Text(zh="请填写受保护的外部应用的网址", en="Give the URL of the external application to protect")


async def open_service_point(work: Work, new: NewServicePoint) -> ServicePoint:
    work.require_within(new.region)
    _check_upstream(work, None, new)
    row = PointRow(region=new.region)
    row.ask(new)
    work.add(row)
    await work.session.flush()
    return row.public()


async def list_service_points(work: Work, page: Page) -> Listed[ServicePoint]:
    return await work.page(select(PointRow), page, PointRow.public)


async def get_service_point(work: Work, point_id: UUID) -> ServicePoint:
    return (await work.get(PointRow, point_id, ServicePointNotFound)).public()


async def change_service_point(
    work: Work, point_id: UUID, change: ServicePointChange, if_match: str | None
) -> ServicePoint:
    row = await work.lock(PointRow, point_id, ServicePointNotFound)
    work.expect(row, if_match, required=True)
    if row.closed_at is not None:
        raise ServicePointClosed()
    held = row.public()
    given = change.model_dump(exclude_unset=True)
    try:
        asked = Asked.model_validate(held.model_dump(include=set(Asked.model_fields)) | given)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise InvalidInput(errors=faults_of(faults, given)) from None
    _check_upstream(work, held, asked)
    row.ask(asked)
    await work.session.flush()
    return row.public()


async def close_service_point(work: Work, point_id: UUID) -> ServicePoint:
    row = await work.lock(PointRow, point_id, ServicePointNotFound)
    if row.closed_at is None:
        row.closed_at = work.now
        await work.session.flush()
    return row.public()


def _check_upstream(work: Work, held: Asked | None, asked: Asked) -> None:
    """Only command says what protects which service, and where the edge sends people; never to ourselves."""
    if asked.slug is None or (held is not None and _protection(held) == _protection(asked)):
        return
    if work.actor.role is not Role.COMMAND:
        raise Forbidden()
    if asked.upstream_url is None:
        return
    host, port = _origin(asked.upstream_url)
    ours = _own_origins(work.house.settings)
    is_this_machine = host == HERE and port in {port for _, port in ours}
    if (host, port) in ours or is_this_machine:
        raise UpstreamIsOurs(at="/upstream_url")


def _protection(point: Asked) -> tuple[str | None, str | None, bool]:
    """What decides who reaches which service: a medical point lets strangers in."""
    return point.slug, point.upstream_url, point.medical


HERE = "127.0.0.1"
"""How this machine is written, whatever way it is said."""


def _own_origins(settings: Settings) -> set[tuple[str, int | None]]:
    return {_origin(settings.url_of(service)) for service in SERVICES}


def _origin(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    standard = 443 if parts.scheme == "https" else 80
    found = literal(host)
    is_here = host == "localhost" or (
        found is not None and (innermost(found).is_loopback or innermost(found).is_unspecified)
    )
    return (HERE if is_here else host, parts.port or standard)
