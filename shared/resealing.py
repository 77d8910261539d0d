"""Sealing anew: a job that brings old ciphertexts under the newest data key of their month, while the service serves.

It goes over every sealed column, a chunk of rows a transaction, and notes in the job's result where it is: a worker
that is killed goes on after the last chunk. Rows keep their versions, for nothing that anybody is told has changed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from shared import sealing
from shared.db import declare_tables
from shared.house import KEYS_LOOK_SECONDS
from shared.jobs import Run
from shared.key_files import SPREAD_SECONDS
from shared.sealing import CannotOpenError, Keyring
from shared.settings import Service
from shared.work import Work

KIND = "reseal"
ROWS = 500


@dataclass(frozen=True, slots=True)
class Place:
    """Sealed columns of one table: how its rows are found in order, and what their ciphertexts are bound to."""

    table: str
    columns: tuple[tuple[str, str], ...]
    """Each with its place; `{part}` stands for that column's value."""
    key: tuple[tuple[str, str], ...] = (("id", "uuid"),)
    bound_to: str = "id"
    rows: int = field(default_factory=lambda: ROWS)


OF_THE_HOUSE = (
    Place("idempotency", (("answer", "idempotency.answer"),)),
    Place("proposals", (("reason_sealed", "proposals.reason"), ("decision_sealed", "proposals.decision"))),
    Place("uploads", (("sealed", "uploads.{part}"),), (("job_id", "uuid"), ("part", "integer")), "job_id", rows=8),
)
"""What every service has. Parts of files are of a megabyte."""

BESIDES: dict[str, tuple[Place, ...]] = {
    "registry": (
        Place(
            "import_errors", (("row_sealed", "import_errors.row"),), (("job_id", "uuid"), ("line", "integer")), "job_id"
        ),
    ),
}
"""Sealed columns whose rows have no id of their own."""


def places_of(service: Service) -> list[Place]:
    """All sealed columns of a service, by table."""
    declare_tables(service)
    by_table: dict[str, list[tuple[str, str]]] = {}
    for table, column, place in sealing.declared(service):
        by_table.setdefault(table, []).append((column, place))
    return [
        *(Place(table, tuple(columns)) for table, columns in sorted(by_table.items())),
        *BESIDES.get(service, ()),
        *OF_THE_HOUSE,
    ]


async def reseal(job: Run) -> None:
    """Seal anew what an older data key of its month has sealed."""
    # Not before every process seals with the newest keys, so that nothing is sealed behind the job's back.
    await asyncio.sleep((SPREAD_SECONDS + KEYS_LOOK_SECONDS * 2) * job.house.settings.key_waits)
    places = places_of(job.house.settings.service)
    begun = [place.table for place in places].index(job.result["table"]) if "table" in job.result else 0
    for place in places[begun:]:
        if job.result.get("table") != place.table:
            job.result |= {"table": place.table, "after": None}
        while await _chunk(job, place):
            pass


async def _chunk(job: Run, place: Place) -> bool:
    """Seal the next rows of a table anew; whether there may be more."""
    after = job.result["after"]
    async with job.work() as work:
        rows = await work.rows(text(_page(place, bool(after))), **_named(place, after), limit=place.rows)
        changed, unreadable = 0, 0
        for column, where in place.columns:
            found = [_anew(job.house.keyring, place, where, row, column) for row in rows]
            unreadable += sum(one == b"" for one in found)
            changed += await _write(work, place, column, rows, found)
        if rows:
            job.result["after"] = [str(rows[-1][name]) for name, _ in place.key]
        await job.progress(work, len(rows), sealed=changed, unreadable=unreadable)
    return len(rows) == place.rows


def _anew(ring: Keyring, place: Place, where: str, row: RowMapping, column: str) -> bytes | None:
    """A value sealed anew; None if it need not be, nothing at all if it does not open."""
    sealed = row[column]
    if sealed is None or not ring.is_old(bytes(sealed)):
        return None
    bound_to: UUID = row[place.bound_to]
    try:
        return ring.seal_again(where.format(**row), bound_to, bytes(sealed))
    except CannotOpenError:
        return b""


async def _write(work: Work, place: Place, column: str, rows: Sequence[RowMapping], found: list[bytes | None]) -> int:
    given = [(row, sealed) for row, sealed in zip(rows, found, strict=True) if sealed]
    if not given:
        return 0
    keys = {f"k{at}": [row[name] for row, _ in given] for at, (name, _) in enumerate(place.key)}
    return await work.run(text(_update(place, column)), **keys, sealed=[sealed for _, sealed in given])


def _page(place: Place, following: bool) -> str:
    names = ", ".join(name for name, _ in place.key)
    columns = ", ".join(column for column, _ in place.columns)
    given = ", ".join(f"CAST(:k{at} AS {kind})" for at, (_, kind) in enumerate(place.key))
    where = f"WHERE ({names}) > ({given})" if following else ""
    return f"SELECT {names}, {columns} FROM {place.table} {where} ORDER BY {names} LIMIT :limit FOR UPDATE"  # noqa: S608


def _update(place: Place, column: str) -> str:
    arrays = ", ".join(f"CAST(:k{at} AS {kind}[])" for at, (_, kind) in enumerate(place.key))
    names = ", ".join(f"k{at}" for at, _ in enumerate(place.key))
    same = " AND ".join(f"held.{name} = given.k{at}" for at, (name, _) in enumerate(place.key))
    return f"""
        UPDATE {place.table} AS held SET {column} = given.sealed
        FROM unnest({arrays}, CAST(:sealed AS bytea[])) AS given ({names}, sealed) WHERE {same}
    """  # noqa: S608


def _named(place: Place, after: list[str] | None) -> dict[str, Any]:
    if not after:
        return {}
    return {
        f"k{at}": UUID(value) if kind == "uuid" else int(value)
        for at, (value, (_, kind)) in enumerate(zip(after, place.key, strict=True))
    }
