"""The job of an import: 2,000 rows a transaction, each with progress, errors, audit and feed entries.

While one chunk is written, a thread checks and encrypts the next. After a crash the job continues after the last
committed chunk. Earlier rows are checked again only to know their people, so that duplicates are found.
"""

import asyncio
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.registry.imports.checking import Checker
from services.registry.imports.faults import FileFault
from services.registry.imports.homes import Homes
from services.registry.imports.messages import RowProblem, problem_of
from services.registry.imports.reading import RawRow
from services.registry.imports.spool import Spool
from services.registry.residents import bulk_upsert
from services.registry.residents.bulk_upsert import Change, Knowledge, Prepared
from services.registry.residents.rules import Person
from services.registry.residents.use_cases import request_of
from shared.core import clock
from shared.crypto import encrypted_files
from shared.crypto.encryption import Keyring, Slots
from shared.database.unit_of_work import UnitOfWork
from shared.feed.log import Written
from shared.jobs.queue import Run
from shared.runtime.context import ServiceContext

ERRORS_KEPT = timedelta(days=30)
ERRORS_PAGE = 1_000
OBJECTS_BETWEEN_COLLECTIONS = 100_000
ROW_COLUMN = "import_errors.row"
COUNTS = ("created", "updated", "unchanged", "failed", "ignored")

SELECT_HOMES = text("SELECT region, name FROM regions WHERE length(region) IN (12, 14, 16) AND valid_until IS NULL")
INSERT_ERRORS = text("""
    INSERT INTO import_errors (job_id, line, region, row_sealed, created_at)
    SELECT :job_id, line, :region, row_sealed, :now
    FROM unnest(CAST(:lines AS integer[]), CAST(:rows AS bytea[])) AS given (line, row_sealed)
""")
SELECT_ERRORS = text("""
    SELECT line, row_sealed FROM import_errors WHERE job_id = :job_id AND line > :after ORDER BY line LIMIT :limit
""")
DELETE_OLD_ERRORS = text("DELETE FROM import_errors WHERE created_at < :before")
SELECT_OPEN_REQUESTS = text("""
    SELECT document_index FROM registrations
    WHERE state = 'received' AND document_index = ANY(CAST(:indexes AS bytea[]))
""")


class Refused(NamedTuple):
    """A failed row and its problems."""

    row: RawRow
    problems: list[RowProblem]


@dataclass
class Chunk:
    """Checked and encrypted rows, ready to be written."""

    rows: dict[bytes, RawRow]
    prepared: Prepared
    refused: list[Refused]
    ignored: int
    """Number of rows that an error file marked as duplicates."""

    def refuse(self, index: bytes, *problems: RowProblem) -> None:
        """Mark an accepted row as failed."""
        self.refused.append(Refused(self.rows[index], list(problems)))


@dataclass(frozen=True)
class Terms:
    """The caller's choices about people who are on record."""

    dry_run: bool
    rename: bool
    overwrite_newer: bool
    as_of: datetime | None
    """The start of the file's date."""

    @classmethod
    def of(cls, job: Run) -> "Terms":
        day = job.input.get("as_of")
        return cls(
            job.input["dry_run"],
            job.input["rename"],
            job.input["overwrite_newer"],
            clock.start_of(date.fromisoformat(day)) if day else None,
        )

    def conflicts(self, ring: Keyring, row: RowMapping, change: Change, person: Person) -> list[RowProblem]:
        """Return why a person on record is not changed: a different name, or newer data.

        If the file has no date, all data entered by hand count as newer.
        """
        problems = []
        if not self.rename and bulk_upsert.renames(ring, row, change, person):
            problems.append(RowProblem("name_differs", "name"))
        columns = [] if self.overwrite_newer else bulk_upsert.overwritten(row, change)
        if columns and (row["by_hand"] if self.as_of is None else row["known_at"] > self.as_of):
            day = clock.day_of(row["known_at"]).isoformat()
            code = "changed_by_hand" if row["by_hand"] else "newer_known"
            problems.append(RowProblem(code, ",".join(columns), value=day))
        return problems


async def import_file(job: Run) -> None:
    """Import the file of a job on behalf of its sender."""
    with _few_collections(), encrypted_files.temporary() as unnamed:
        spool = Spool(unnamed)
        await _fill(job, spool)
        if job.total is None:
            notes = spool.notes
            job.result = dict.fromkeys(COUNTS, 0) | {
                "heading_line": notes.heading_line,
                "columns_left_out": notes.columns,
                "sheets_left_out": notes.sheets,
            }
            await job.know_total(spool.rows)
        async with job.unit_of_work() as uow:
            homes = Homes([(row["region"], row["name"]) for row in await uow.rows(SELECT_HOMES)])
            checker = Checker(homes, clock.day_of(uow.now), job.context.settings.demonstration_ids)
        chunks = _checked(spool, checker, job.context.keyring, job.done)
        following = asyncio.create_task(asyncio.to_thread(next, chunks, None))
        try:
            while (chunk := await following) is not None:
                following = asyncio.create_task(asyncio.to_thread(next, chunks, None))
                await _take(job, chunk)
        finally:
            # Wait for the thread that reads the file before the file is closed.
            await asyncio.gather(following, return_exceptions=True)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Run the garbage collector rarely. Rows make no cycles, and collecting took a third of a chunk's time."""
    usual = gc.get_threshold()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


async def _fill(job: Run, spool: Spool) -> None:
    with encrypted_files.temporary() as file:
        async for part in job.file():
            file.write(part)
        try:
            await asyncio.to_thread(spool.fill, file)
        except FileFault as fault:
            raise problem_of(fault) from None


def _checked(spool: Spool, checker: Checker, ring: Keyring, done: int) -> Iterator[Chunk]:
    """Yield the chunks that are not written yet."""
    for rows in spool.chunks():
        checked = [(row, checker.check(row)) for row in rows if not row.is_ignored]
        if done >= len(rows):
            done -= len(rows)
            continue
        people = [(row, result) for row, result in checked if isinstance(result, Person)]
        prepared = bulk_upsert.prepare(ring, [person for _, person in people], checker.today)
        yield Chunk(
            rows=dict(zip(prepared.people, (row for row, _ in people), strict=True)),
            prepared=prepared,
            refused=[Refused(row, result) for row, result in checked if not isinstance(result, Person)],
            ignored=len(rows) - len(checked),
        )


async def _take(job: Run, chunk: Chunk) -> None:
    """Write one chunk in one transaction. A dry run rolls its effects back and keeps its counts and errors."""
    rows = len(chunk.rows) + len(chunk.refused) + chunk.ignored
    terms = Terms.of(job)
    async with job.unit_of_work() as uow:
        trial = await uow.session.begin_nested() if terms.dry_run else None
        created, updated, counts = await _write(uow, chunk, terms)
        if trial is not None:
            await trial.rollback()
        else:
            bulk_upsert.publish(uow, created, "created")
            bulk_upsert.publish(uow, updated, "changed")
        await _keep_errors(job, uow, chunk.refused)
        await job.progress(uow, rows, **counts, failed=len(chunk.refused), ignored=chunk.ignored)


async def _write(uow: UnitOfWork, chunk: Chunk, terms: Terms) -> tuple[list[Written], list[Written], dict[str, int]]:
    prepared = chunk.prepared
    knowledge = Knowledge(terms.as_of or uow.now, by_hand=False)
    created = await bulk_upsert.add(uow, prepared, knowledge)
    left = prepared.others_than(created)
    changes, unchanged = [], []
    for row in await bulk_upsert.known(uow, left.values()):
        index = prepared.key_of(row)
        left.pop(index, None)
        if terms.dry_run:
            # A dry run also reveals facts about people, so it is recorded in the audit.
            uow.record_access([row["id"]])
        if row["closed_reason"] in ("died", "entered_wrongly"):
            chunk.refuse(index, RowProblem("resident_closed", "document_number"))
            continue
        person = prepared.people[index]
        change = bulk_upsert.compare(uow.context.keyring, row, person, clock.day_of(uow.now))
        if change is None:
            unchanged.append(row["id"])
        elif conflicts := terms.conflicts(uow.context.keyring, row, change, person):
            uow.record_access([row["id"]])
            chunk.refuse(index, *conflicts)
        else:
            changes.append((row, change))
    updated = await bulk_upsert.change(uow, changes, knowledge)
    if terms.as_of is not None:
        await bulk_upsert.confirm(uow, unchanged, terms.as_of)
    requested = await _request_transfers(uow, left, prepared)
    counts = {
        "created": len(created) + requested,
        "updated": len(updated),
        "unchanged": len(unchanged) + len(left) - requested,
    }
    return created, updated, counts


async def _request_transfers(uow: UnitOfWork, left: Mapping[bytes, Slots], prepared: Prepared) -> int:
    """Create registration requests for people who live elsewhere. Returns how many, without those that exist already.

    They count as created, as new people do. People with an open request count as unchanged.
    """
    if not left:
        return 0
    indexes = sorted(index for slots in left.values() for index in slots if index is not None)
    open_requests = await uow.rows(SELECT_OPEN_REQUESTS, indexes=indexes)
    requested = {prepared.keys[row["document_index"]] for row in open_requests}
    for key in sorted(left.keys() - requested):
        request_of(uow, prepared.people[key])
    await uow.session.flush()
    return len(left.keys() - requested)


async def _keep_errors(job: Run, uow: UnitOfWork, refused: list[Refused]) -> None:
    if refused:
        ring = job.context.keyring
        await uow.run(
            INSERT_ERRORS,
            job_id=job.id,
            region=job.region,
            now=uow.now,
            lines=[one.row.line for one in refused],
            rows=[ring.encrypt(ROW_COLUMN, job.id, msgspec.json.encode(one).decode()) for one in refused],
        )


async def errors_after(uow: UnitOfWork, job_id: UUID, line: int) -> list[Refused]:
    """Return one page of failed rows after a line of the file."""
    rows = await uow.rows(SELECT_ERRORS, job_id=job_id, after=line, limit=ERRORS_PAGE)
    ring = uow.context.keyring
    return [
        msgspec.json.decode(ring.decrypt(ROW_COLUMN, job_id, bytes(row["row_sealed"])), type=Refused) for row in rows
    ]


async def forget_errors(context: ServiceContext) -> None:
    """Delete failed rows after their retention of 30 days."""
    async with context.system_unit_of_work("forget import errors") as uow:
        await uow.run(DELETE_OLD_ERRORS, before=uow.now - ERRORS_KEPT)
