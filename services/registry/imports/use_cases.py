"""Imports: what happens. The job's chunks are in `taking.py`."""

import asyncio
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO
from uuid import UUID

from starlette.datastructures import UploadFile

from services.registry.imports import taking
from services.registry.imports.error_file import write_errors
from services.registry.imports.faults import FileFault
from services.registry.imports.reading import FILE_BYTES, read_rows
from services.registry.imports.words import problem_of, say
from services.registry.imports.workbook import UNPACKED_BYTES
from shared import jobs
from shared.actors import Actor
from shared.house import House
from shared.jobs import Job
from shared.problems import Language
from shared.work import Work

KIND = "import"
LOOK_BYTES = 4 << 20
"""A file up to this size is read up to its first row at once, so that who sends nonsense hears of it at once."""


@asynccontextmanager
async def keeping_file(house: House, file: UploadFile) -> AsyncIterator[UUID]:
    """Keep a file sealed, unless it can be seen to be wrong, for the import that is started before this ends."""
    try:
        await asyncio.to_thread(_look, file.file, file.size or 0)
    except FileFault as fault:
        raise problem_of(fault) from None
    async with jobs.keeping_file(house, _parts(file)) as id_:
        yield id_


async def start_import(work: Work, file: UUID, dry_run: bool) -> Job:
    """Leave the work to the worker."""
    return await jobs.add(work, KIND, work.actor.range[0], {"dry_run": dry_run}, file=file)


def _look(file: BinaryIO, size: int) -> None:
    """Refuse what can be seen to be wrong without long work; the job looks at all of it."""
    if size > FILE_BYTES:
        raise FileFault("too_large", bytes=size, limit=FILE_BYTES)
    if _is_quickly_read(file, size):
        next(read_rows(file), None)


def _is_quickly_read(file: BinaryIO, size: int) -> bool:
    if not zipfile.is_zipfile(file):
        return size <= LOOK_BYTES
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile:
        return True
    # What claims to be enormous is refused before any of it is unpacked.
    return unpacked <= LOOK_BYTES or unpacked > UNPACKED_BYTES


async def _parts(file: UploadFile) -> AsyncIterator[bytes]:
    await file.seek(0)
    while part := await file.read(jobs.PART_BYTES):
        yield part


async def get_import(work: Work, import_id: UUID) -> Job:
    return await jobs.get(work, import_id, KIND)


async def cancel_import(work: Work, import_id: UUID) -> Job:
    return await jobs.cancel(work, import_id, KIND)


async def error_file(work: Work, house: House, import_id: UUID, language: Language) -> AsyncIterator[bytes]:
    """The rows that were not taken, as a file to correct and send again; read in pages while it is sent."""
    await jobs.get(work, import_id, KIND)
    return _error_lines(house, work.actor, import_id, language)


async def _error_lines(house: House, actor: Actor, import_id: UUID, language: Language) -> AsyncIterator[bytes]:
    after, head = 0, True
    while True:
        async with house.work(actor) as work:
            page = await taking.errors_after(work, import_id, after)
        if not page and not head:
            return
        text = b"".join(write_errors((error.row, say(error.problems, language)) for error in page))
        yield text if head else text.split(b"\n", 1)[1]
        if len(page) < taking.ERRORS_PAGE:
            return
        after, head = page[-1].row.line, False
