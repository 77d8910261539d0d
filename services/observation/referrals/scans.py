"""Gets the scan of a door from the gateway before the transaction of a report begins."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import httpx
import msgspec
from fastapi import Request

from shared.contracts.parties import point_of
from shared.core.actors import Actor, Role, system
from shared.problems import UpstreamFailed
from shared.runtime.context import ServiceContext


class ScanFound(msgspec.Struct, frozen=True):
    """The person, region and time of a scan."""

    resident_id: UUID
    region: str
    at: datetime


class _ScanRequest(msgspec.Struct):
    scan_id: UUID | None = None


@asynccontextmanager
async def with_scan(context: ServiceContext, request: Request) -> AsyncIterator[None]:
    """Find the scan named in a door's report. Other errors of the body are left to its full validation."""
    caller: Actor = request.state.actor
    request.state.scan = None
    try:
        report = msgspec.json.decode(await request.body(), type=_ScanRequest)
    except msgspec.DecodeError:
        report = _ScanRequest()
    point_id = point_of(caller.party) if caller.role in Role.DOOR else None
    if report.scan_id is not None and point_id is not None:
        request.state.scan = await _find(context, caller, report.scan_id, point_id)
    yield


async def _find(context: ServiceContext, caller: Actor, scan_id: UUID, point_id: UUID) -> ScanFound | None:
    actor = system("observation").during(caller.request_id)
    path = f"/internal/scans/{scan_id}"
    answer = await context.service_clients.call("gateway", "GET", path, actor, params={"point_id": str(point_id)})
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    if answer.status_code != httpx.codes.OK:
        raise UpstreamFailed()
    return msgspec.json.decode(answer.content, type=ScanFound)
