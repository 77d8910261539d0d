"""Taking a file in: two thousand rows a transaction, each with its progress, errors, audit and feed entries.

While one chunk is being written, the next is checked and sealed beside it. A worker that is killed goes on after the
last chunk that was committed; the rows before are only looked at again, to know who was named already.
"""

import asyncio
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import text

from services.registry.imports.checking import Checker
from services.registry.imports.faults import FileFault
from services.registry.imports.reading import RawRow
from services.registry.imports.spool import Spool
from services.registry.imports.words import RowProblem, problem_of
from services.registry.residents import writing
from services.registry.residents.rules import Person
from services.registry.residents.use_cases import request_of
from services.registry.residents.writing import Prepared
from shared import clock, sealed_files
from shared.feed.log import Written
from shared.house import House
from shared.jobs import Run
from shared.sealing import Keyring, Slots
from shared.work import Work

ERRORS_KEPT = timedelta(days=30)
ERRORS_PAGE = 1_000
OBJECTS_BETWEEN_COLLECTIONS = 100_000
PLACE = "import_errors.row"
COUNTS = ("created", "updated", "unchanged", "failed")

HOMES = text("SELECT region FROM regions WHERE length(region) IN (12, 14, 16) AND valid_until IS NULL")
KEEP_ERRORS = text("""
    INSERT INTO import_errors (job_id, line, region, row_sealed, created_at)
    SELECT :job_id, line, :region, row_sealed, :now
    FROM unnest(CAST(:lines AS integer[]), CAST(:rows AS bytea[])) AS given (line, row_sealed)
""")
ERRORS = text("""
    SELECT line, row_sealed FROM import_errors WHERE job_id = :job_id AND line > :after ORDER BY line LIMIT :limit
""")
FORGET = text("DELETE FROM import_errors WHERE created_at < :before")
ASKED = text("""
    SELECT document_index FROM registrations
    WHERE state = 'received' AND document_index = ANY(CAST(:indexes AS bytea[]))
""")


class Refused(NamedTuple):
    """A row that was not taken, and why."""

    row: RawRow
    problems: list[RowProblem]


@dataclass
class Chunk:
    """Rows checked and sealed, ready to be written."""

    rows: dict[bytes, RawRow]
    prepared: Prepared
    refused: list[Refused]

    def refuse(self, index: bytes, code: str) -> None:
        """Do not take a row after all."""
        self.refused.append(Refused(self.rows[index], [RowProblem(code, "document_number")]))


async def take_file(job: Run) -> None:
    """Take in the file of a job on behalf of who sent it."""
    with _few_collections(), sealed_files.temporary() as unnamed:
        spool = Spool(unnamed)
        await _fill(job, spool)
        if job.total is None:
            job.result = dict.fromkeys(COUNTS, 0)
            await job.know_total(spool.rows)
        async with job.work() as work:
            homes = {row["region"] for row in await work.rows(HOMES)}
            checker = Checker(homes, clock.day_of(work.now), job.house.settings.demonstration_ids)
        chunks = _checked(spool, checker, job.house.keyring, job.done)
        following = asyncio.create_task(asyncio.to_thread(next, chunks, None))
        try:
            while (chunk := await following) is not None:
                following = asyncio.create_task(asyncio.to_thread(next, chunks, None))
                await _take(job, chunk)
        finally:
            # The file must not be closed under the thread that reads it.
            await asyncio.gather(following, return_exceptions=True)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Look for cycles of garbage rarely: rows make none, and looking costs a third of the time of a chunk."""
    usual = gc.get_threshold()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


async def _fill(job: Run, spool: Spool) -> None:
    with sealed_files.temporary() as file:
        async for part in job.file():
            file.write(part)
        try:
            await asyncio.to_thread(spool.fill, file)
        except FileFault as fault:
            raise problem_of(fault) from None


def _checked(spool: Spool, checker: Checker, ring: Keyring, done: int) -> Iterator[Chunk]:
    """The chunks that are still to be written."""
    for rows in spool.chunks():
        checked = [(row, checker.check(row)) for row in rows]
        if done >= len(rows):
            done -= len(rows)
            continue
        people = [(row, found) for row, found in checked if isinstance(found, Person)]
        prepared = writing.prepare(ring, [person for _, person in people], checker.today)
        yield Chunk(
            rows=dict(zip(prepared.people, (row for row, _ in people), strict=True)),
            prepared=prepared,
            refused=[Refused(row, found) for row, found in checked if not isinstance(found, Person)],
        )


async def _take(job: Run, chunk: Chunk) -> None:
    """Write one chunk, all or nothing. A dry run takes its effects back and keeps its counts and errors."""
    rows = len(chunk.rows) + len(chunk.refused)
    async with job.work() as work:
        trial = await work.session.begin_nested() if job.input["dry_run"] else None
        created, updated, counts = await _write(work, chunk)
        if trial is not None:
            await trial.rollback()
        else:
            writing.tell(work, created, "created")
            writing.tell(work, updated, "changed")
        await _keep_errors(job, work, chunk.refused)
        await job.progress(work, rows, **counts, failed=len(chunk.refused))


async def _write(work: Work, chunk: Chunk) -> tuple[list[Written], list[Written], dict[str, int]]:
    prepared = chunk.prepared
    created = await writing.add(work, prepared)
    left = prepared.others_than(created)
    changes, unchanged = [], 0
    for row in await writing.known(work, left.values()):
        index = prepared.key_of(row)
        left.pop(index, None)
        if row["closed_reason"] in ("died", "entered_wrongly"):
            chunk.refuse(index, "resident_closed")
            continue
        change = writing.compare(work.house.keyring, row, prepared.people[index], clock.day_of(work.now))
        if change is None:
            unchanged += 1
        else:
            changes.append((row, change))
    updated = await writing.change(work, changes)
    asked = await _ask_for(work, left, prepared)
    counts = {
        "created": len(created) + asked,
        "updated": len(updated),
        "unchanged": unchanged + len(left) - asked,
    }
    return created, updated, counts


async def _ask_for(work: Work, left: Mapping[bytes, Slots], prepared: Prepared) -> int:
    """Who lives elsewhere is asked for there, and counted as anybody new is; who is asked for already, as unchanged."""
    if not left:
        return 0
    indexes = sorted(index for slots in left.values() for index in slots if index is not None)
    asked = {prepared.keys[row["document_index"]] for row in await work.rows(ASKED, indexes=indexes)}
    for key in sorted(left.keys() - asked):
        request_of(work, prepared.people[key])
    await work.session.flush()
    return len(left.keys() - asked)


async def _keep_errors(job: Run, work: Work, refused: list[Refused]) -> None:
    if refused:
        ring = job.house.keyring
        await work.run(
            KEEP_ERRORS,
            job_id=job.id,
            region=job.region,
            now=work.now,
            lines=[one.row.line for one in refused],
            rows=[ring.seal(PLACE, job.id, msgspec.json.encode(one).decode()) for one in refused],
        )


async def errors_after(work: Work, job_id: UUID, line: int) -> list[Refused]:
    """Rows that were not taken, after a line of the file."""
    rows = await work.rows(ERRORS, job_id=job_id, after=line, limit=ERRORS_PAGE)
    ring = work.house.keyring
    return [msgspec.json.decode(ring.open(PLACE, job_id, bytes(row["row_sealed"])), type=Refused) for row in rows]


async def forget_errors(house: House) -> None:
    """Forget the rows that nobody corrected in time."""
    async with house.system_work("forget import errors") as work:
        await work.run(FORGET, before=work.now - ERRORS_KEPT)
