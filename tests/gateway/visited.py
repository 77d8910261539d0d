"""Visits at a point, sealed and exported."""

import io
from collections.abc import Iterator
from datetime import UTC, date, datetime
from uuid import UUID

import asyncpg

from deploy.audit import export, verify_visits, visits
from services.gateway.verifications.chaining import chain_visits
from shared.audit import chaining
from shared.core import clock
from shared.core.ids import new_id
from tests.harness import District

VISIT = """
    INSERT INTO gateway.visits
        (scan_id, at, point_id, resident_id, region, colour, outcome, receipt_seconds, decided_at)
    VALUES ($1, now() - make_interval(secs => $2), $3, $4, '3505820050010101', 1, 16, 600, now())
"""


async def visit(district: District, person: UUID | None = None, days: float = 0) -> UUID:
    """One visit in a transaction of its own."""
    scan_id = new_id()
    await district.sql(VISIT, scan_id, days * 86_400, new_id(), person or new_id())
    return scan_id


async def chain_all(district: District) -> None:
    """What the gateway's worker does each half second, and then once more for the audit."""
    context = district.contexts["gateway"]
    await district.until_served()
    await chain_visits(context)
    await district.until_served()
    await chaining.chain_entries(context)


def today() -> date:
    """By the clock that says when visits are sealed."""
    return clock.day_of(datetime.now(UTC))


async def exported(district: District) -> tuple[bytes, bytes]:
    """The visits sealed today, and the gateway's audit of today."""
    connection = await asyncpg.connect(district.database.owner_url)
    try:
        async with connection.transaction():
            signer = district.contexts["gateway"].signer
            audit = [line + b"\n" async for line in export.lines(connection, signer, today())]
            told = visits.lines(connection, today(), b"".join(audit))
            return b"".join([line + b"\n" async for line in told]), b"".join(audit)
    finally:
        await connection.close()


def batches(file: bytes) -> Iterator[verify_visits.Batch]:
    """The batches of an export of visits."""
    return verify_visits.opened(io.BytesIO(file))[1]
