"""What the audit holds, and acts that it tells of."""

from datetime import date
from typing import Any
from uuid import UUID

from shared.audit import chaining
from shared.audit.canonical import beginning, chained, entry_of
from shared.core.actors import Actor, Role
from shared.core.regions import range_of
from shared.core.settings import Service
from shared.runtime.context import ServiceContext
from tests.harness import XINTANG, District

STAFF = Actor("staff:7", Role.GRID_WORKER, range_of(XINTANG), purpose="door visit", request_id="req-12345")
FIELDS = "kind, operation, target, actor, role, party, scope, purpose, reason, request_id, subjects"


async def entries(district: District, service: Service = "registry") -> list[Any]:
    return await district.sql(f"SELECT {FIELDS} FROM {service}.audit ORDER BY seq")


async def act(context: ServiceContext, *subjects: UUID) -> None:
    async with context.unit_of_work(STAFF, "GET /registry/v1/residents") as uow:
        uow.record_access(subjects)


async def chain_all(district: District, context: ServiceContext) -> None:
    await district.until_served()
    await chaining.chain_entries(context)


async def chain(district: District) -> list[tuple[int, int]]:
    """Position and number of every sealed entry; the hashes are checked as they are read."""
    rows = await district.sql("SELECT day, position, seq, hash FROM registry.audit_seals ORDER BY day, position")
    found = {row["seq"]: row for row in await district.sql("SELECT * FROM registry.audit")}
    ends: dict[date, bytes] = {}
    for row in rows:
        day = row["day"]
        ends[day] = chained(ends.get(day, beginning("registry", day)), entry_of(dict(found[row["seq"]])))
        assert row["hash"] == ends[day]
    return [(row["position"], row["seq"]) for row in rows]
