"""Scans: whose code was shown at a door, asked of the gateway before the transaction of a report begins."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import httpx
import msgspec
from fastapi import Request

from shared.actors import Actor, Role, system
from shared.house import House
from shared.parties import point_of
from shared.problems import UpstreamFailed


class ScanFound(msgspec.Struct, frozen=True):
    """Whose code a scan was, where, and when."""

    resident_id: UUID
    region: str
    at: datetime


class _Asked(msgspec.Struct):
    scan_id: UUID | None = None


@asynccontextmanager
async def with_scan(house: House, request: Request) -> AsyncIterator[None]:
    """Find the scan that a door reports by. What is wrong with the body otherwise, is told by who reads it whole."""
    caller: Actor = request.state.actor
    request.state.scan = None
    try:
        asked = msgspec.json.decode(await request.body(), type=_Asked)
    except msgspec.DecodeError:
        asked = _Asked()
    point_id = point_of(caller.party) if caller.role in Role.DOOR else None
    if asked.scan_id is not None and point_id is not None:
        request.state.scan = await _find(house, caller, asked.scan_id, point_id)
    yield


async def _find(house: House, caller: Actor, scan_id: UUID, point_id: UUID) -> ScanFound | None:
    actor = system("observation").during(caller.request_id)
    path = f"/internal/scans/{scan_id}"
    answer = await house.peers.call("gateway", "GET", path, actor, params={"point_id": str(point_id)})
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    if answer.status_code != httpx.codes.OK:
        raise UpstreamFailed()
    return msgspec.json.decode(answer.content, type=ScanFound)
