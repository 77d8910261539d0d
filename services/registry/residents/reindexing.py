"""Indexing anew, while the service serves: the new index key's column is filled, or the old one's emptied.

Uniqueness holds through it: from the moment a new index key lies in the key file everybody writes both columns, and
those who have not seen it yet still write the old one, in which all are. The old key goes only when the new column has
everybody, and its column is emptied when nobody writes it any more.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.registry.residents.rules import Person, document_key
from services.registry.residents.writing import COLUMNS
from shared.jobs import Run
from shared.key_files import SPREAD_SECONDS
from shared.sealing import CannotOpenError, Keyring
from shared.work import Work

KIND = "reindex"
ROWS = 500
SETTLED_SECONDS = SPREAD_SECONDS + 5
"""Who has read a key file may still be at a transaction, and at a chunk of a file that was prepared before it."""

RESIDENTS = """
    SELECT id, seq, document_type, document_number_sealed, phone_sealed, phone_index, {column} AS document_index
    FROM residents WHERE seq > :after ORDER BY seq LIMIT :limit FOR UPDATE
"""
INDEX_RESIDENTS = """
    UPDATE residents AS held SET {column} = given.document_index, phone_index = given.phone_index
    FROM unnest(CAST(:ids AS uuid[]), CAST(:documents AS bytea[]), CAST(:phones AS bytea[]))
        AS given (id, document_index, phone_index)
    WHERE held.id = given.id
"""
REGISTRATIONS = text("""
    SELECT id, seq, person_sealed FROM registrations
    WHERE state = 'received' AND seq > :after ORDER BY seq LIMIT :limit FOR UPDATE
""")
INDEX_REGISTRATIONS = text("""
    UPDATE registrations AS held SET document_index = given.document_index
    FROM unnest(CAST(:ids AS uuid[]), CAST(:documents AS bytea[])) AS given (id, document_index)
    WHERE held.id = given.id
""")
EMPTY = """
    UPDATE residents SET {column} = NULL WHERE seq IN (
        SELECT seq FROM residents WHERE {column} IS NOT NULL AND {other} IS NOT NULL ORDER BY seq LIMIT :limit
        FOR UPDATE
    )
"""


async def reindex(job: Run) -> None:
    """Fill the column of the newest index key (`fill`), or empty the one that no key has any more (`empty`)."""
    # Not before every process writes both columns, or has stopped writing the old one, with all it had begun.
    await asyncio.sleep(SETTLED_SECONDS * job.house.settings.key_waits)
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
    ring = job.house.keyring
    column = COLUMNS[ring.index_keys[0].slot]
    async with job.work() as work:
        rows = await work.rows(text(RESIDENTS.format(column=column)), after=job.result["after"], limit=ROWS)
        indexed = [(row["id"], _document(ring, row), _phone(ring, row)) for row in rows]
        if indexed:
            ids, documents, phones = (list(values) for values in zip(*indexed, strict=True))
            statement = text(INDEX_RESIDENTS.format(column=column))
            await work.run(statement, ids=ids, documents=documents, phones=phones)
        return await _next(job, work, rows, sum(one is None for _, one, _ in indexed))


def _document(ring: Keyring, row: RowMapping) -> bytes | None:
    """The index of a resident's document; None where the number is gone: nobody can be found by it any more."""
    if row["document_index"] is not None:
        return bytes(row["document_index"])
    try:
        number = ring.open("residents.document_number", row["id"], bytes(row["document_number_sealed"]))
    except CannotOpenError:
        return None
    return ring.index("document", document_key(row["document_type"], number))


def _phone(ring: Keyring, row: RowMapping) -> bytes | None:
    if row["phone_sealed"] is None:
        return None
    try:
        return ring.index("phone", ring.open("residents.phone", row["id"], bytes(row["phone_sealed"])))
    except CannotOpenError:
        return bytes(row["phone_index"])


async def _registrations(job: Run) -> bool:
    ring = job.house.keyring
    async with job.work() as work:
        rows = await work.rows(REGISTRATIONS, after=job.result["after"], limit=ROWS)
        indexed: dict[Any, bytes] = {}
        for row in rows:
            try:
                opened = ring.open("registrations.person", row["id"], bytes(row["person_sealed"]))
            except CannotOpenError:
                continue
            indexed[row["id"]] = ring.index("document", msgspec.json.decode(opened, type=Person).document)
        if indexed:
            await work.run(INDEX_REGISTRATIONS, ids=list(indexed), documents=list(indexed.values()))
        return await _next(job, work, rows, len(rows) - len(indexed))


async def _next(job: Run, work: Work, rows: Sequence[RowMapping], unreadable: int) -> bool:
    if rows:
        job.result["after"] = rows[-1]["seq"]
    await job.progress(work, len(rows), unreadable=unreadable)
    return len(rows) == ROWS


async def _empty(job: Run) -> None:
    used = job.house.keyring.index_keys[0].slot
    statement = text(EMPTY.format(column=COLUMNS[1 - used], other=COLUMNS[used]))
    while True:
        async with job.work() as work:
            emptied = await work.run(statement, limit=ROWS)
            await job.progress(work, emptied)
        if emptied < ROWS:
            return
