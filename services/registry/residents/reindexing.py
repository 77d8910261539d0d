"""Reindexes residents under a new index key while the service runs: fills the new column, or empties the old one.

Documents stay unique throughout. Once a new index key is in the key file, processes write both columns. A process that
has not read the file yet still writes the old column, which contains all residents. The old key is removed only when
the new column is complete, and its column is emptied when no process writes it any more.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.registry.residents.bulk_upsert import COLUMNS
from services.registry.residents.rules import Person, document_key
from shared.crypto.encryption import CannotOpenError, Keyring
from shared.crypto.key_files import SPREAD_SECONDS
from shared.database.unit_of_work import UnitOfWork
from shared.jobs.queue import Run

KIND = "reindex"
ROWS = 500
SETTLED_SECONDS = SPREAD_SECONDS + 5
"""Wait in seconds. A process may still run a transaction, or write a chunk prepared before it read the key file."""

SELECT_RESIDENTS = """
    SELECT id, seq, document_type, document_number_sealed, phone_sealed, phone_index, {column} AS document_index
    FROM residents WHERE seq > :after ORDER BY seq LIMIT :limit FOR UPDATE
"""
UPDATE_RESIDENT_INDEXES = """
    UPDATE residents AS held SET {column} = given.document_index, phone_index = given.phone_index
    FROM unnest(CAST(:ids AS uuid[]), CAST(:documents AS bytea[]), CAST(:phones AS bytea[]))
        AS given (id, document_index, phone_index)
    WHERE held.id = given.id
"""
SELECT_REGISTRATIONS = text("""
    SELECT id, seq, person_sealed FROM registrations
    WHERE state = 'received' AND seq > :after ORDER BY seq LIMIT :limit FOR UPDATE
""")
UPDATE_REGISTRATION_INDEXES = text("""
    UPDATE registrations AS held SET document_index = given.document_index
    FROM unnest(CAST(:ids AS uuid[]), CAST(:documents AS bytea[])) AS given (id, document_index)
    WHERE held.id = given.id
""")
CLEAR_OLD_INDEXES = """
    UPDATE residents SET {column} = NULL WHERE seq IN (
        SELECT seq FROM residents WHERE {column} IS NOT NULL AND {other} IS NOT NULL ORDER BY seq LIMIT :limit
        FOR UPDATE
    )
"""


async def reindex(job: Run) -> None:
    """Fill the column of the newest index key (`fill`), or empty the column that has no key any more (`empty`)."""
    # Wait until every process writes both columns (`fill`), or no process writes the old one any more (`empty`).
    await asyncio.sleep(SETTLED_SECONDS * job.context.settings.key_waits)
    if job.input["phase"] == "fill":
        await _fill(job)
    else:
        await _empty(job)


async def _fill(job: Run) -> None:
    for step in (_residents, _registrations):
        name = step.__name__
        if job.result.get("step") == name or "step" not in job.result:
            job.result.setdefault("after", 0)
            job.result["step"] = name
            while await step(job):
                pass
            job.result |= {"step": "_registrations", "after": 0}


async def _residents(job: Run) -> bool:
    ring = job.context.keyring
    column = COLUMNS[ring.index_keys[0].slot]
    async with job.unit_of_work() as uow:
        rows = await uow.rows(text(SELECT_RESIDENTS.format(column=column)), after=job.result["after"], limit=ROWS)
        indexed = [(row["id"], _document(ring, row), _phone(ring, row)) for row in rows]
        if indexed:
            ids, documents, phones = (list(values) for values in zip(*indexed, strict=True))
            statement = text(UPDATE_RESIDENT_INDEXES.format(column=column))
            await uow.run(statement, ids=ids, documents=documents, phones=phones)
        return await _next(job, uow, rows, sum(one is None for _, one, _ in indexed))


def _document(ring: Keyring, row: RowMapping) -> bytes | None:
    """Return the blind index of a resident's document, or None if the number can no longer be decrypted."""
    if row["document_index"] is not None:
        return bytes(row["document_index"])
    try:
        number = ring.decrypt("residents.document_number", row["id"], bytes(row["document_number_sealed"]))
    except CannotOpenError:
        return None
    return ring.index("document", document_key(row["document_type"], number))


def _phone(ring: Keyring, row: RowMapping) -> bytes | None:
    if row["phone_sealed"] is None:
        return None
    try:
        return ring.index("phone", ring.decrypt("residents.phone", row["id"], bytes(row["phone_sealed"])))
    except CannotOpenError:
        return bytes(row["phone_index"])


async def _registrations(job: Run) -> bool:
    ring = job.context.keyring
    async with job.unit_of_work() as uow:
        rows = await uow.rows(SELECT_REGISTRATIONS, after=job.result["after"], limit=ROWS)
        indexed: dict[Any, bytes] = {}
        for row in rows:
            try:
                opened = ring.decrypt("registrations.person", row["id"], bytes(row["person_sealed"]))
            except CannotOpenError:
                continue
            indexed[row["id"]] = ring.index("document", msgspec.json.decode(opened, type=Person).document)
        if indexed:
            await uow.run(UPDATE_REGISTRATION_INDEXES, ids=list(indexed), documents=list(indexed.values()))
        return await _next(job, uow, rows, len(rows) - len(indexed))


async def _next(job: Run, uow: UnitOfWork, rows: Sequence[RowMapping], unreadable: int) -> bool:
    if rows:
        job.result["after"] = rows[-1]["seq"]
    await job.progress(uow, len(rows), unreadable=unreadable)
    return len(rows) == ROWS


async def _empty(job: Run) -> None:
    used = job.context.keyring.index_keys[0].slot
    statement = text(CLEAR_OLD_INDEXES.format(column=COLUMNS[1 - used], other=COLUMNS[used]))
    while True:
        async with job.unit_of_work() as uow:
            emptied = await uow.run(statement, limit=ROWS)
            await job.progress(uow, emptied)
        if emptied < ROWS:
            return
