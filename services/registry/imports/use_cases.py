"""Use cases of imports: start, show and cancel them, and read their errors. `import_job.py` runs the job."""

import asyncio
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import BinaryIO, NamedTuple
from uuid import UUID

from sqlalchemy import text
from starlette.datastructures import UploadFile

from services.registry.imports import import_job
from services.registry.imports.error_file import Refusal, write_error_book, write_errors
from services.registry.imports.faults import FileFault
from services.registry.imports.messages import problem_of
from services.registry.imports.reading import FILE_BYTES, is_workbook, read_rows
from services.registry.imports.workbook import UNPACKED_BYTES
from shared.core.actors import Actor
from shared.core.clock import day_of
from shared.database.unit_of_work import UnitOfWork
from shared.jobs import queue
from shared.jobs.queue import Job
from shared.problems import Fault, InvalidInput, Language, LocalizedText, pointer
from shared.runtime.context import ServiceContext

KIND = "import"
LOOK_BYTES = 4 << 20
"""Files up to this size are read up to the first row during the upload, so that a wrong file is refused at once."""


AS_OF_AHEAD = LocalizedText(zh="文件日期不能晚于今天", en="The date of the file must not be after today")
SELECT_IS_WORKBOOK = text("SELECT coalesce(input ->> 'format', '') = 'xlsx' AS is_workbook FROM jobs WHERE id = :id")


class Kept(NamedTuple):
    """A file stored for an import."""

    id: UUID
    is_workbook: bool


@asynccontextmanager
async def keeping_file(context: ServiceContext, file: UploadFile) -> AsyncIterator[Kept]:
    """Check a file quickly and store it encrypted. It stays only if the import is started within this context."""
    try:
        await asyncio.to_thread(_look, file.file, file.size or 0)
    except FileFault as fault:
        raise problem_of(fault) from None
    kind = await asyncio.to_thread(is_workbook, file.file)
    async with queue.keeping_file(context, _parts(file)) as id_:
        yield Kept(id_, kind)


async def start_import(
    uow: UnitOfWork, file: Kept, *, dry_run: bool, rename: bool, overwrite_newer: bool, as_of: date | None
) -> Job:
    """Create the job, which the worker runs."""
    if as_of is not None and as_of > day_of(uow.now):
        raise InvalidInput(errors=[Fault("as_of_ahead", AS_OF_AHEAD, at=pointer("as_of"))])
    values = {
        "dry_run": dry_run,
        "rename": rename,
        "overwrite_newer": overwrite_newer,
        "as_of": as_of.isoformat() if as_of else None,
        "format": "xlsx" if file.is_workbook else "csv",
    }
    return await queue.add(uow, KIND, uow.actor.range[0], values, file=file.id)


def _look(file: BinaryIO, size: int) -> None:
    """Refuse a file that a short check shows to be wrong. The job checks the whole file."""
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
    # The reader refuses an archive that is declared too large before it unpacks anything.
    return unpacked <= LOOK_BYTES or unpacked > UNPACKED_BYTES


async def _parts(file: UploadFile) -> AsyncIterator[bytes]:
    await file.seek(0)
    while part := await file.read(queue.PART_BYTES):
        yield part


async def get_import(uow: UnitOfWork, import_id: UUID) -> Job:
    """Return the job of an import."""
    return await queue.get(uow, import_id, KIND)


async def cancel_import(uow: UnitOfWork, import_id: UUID) -> Job:
    """Cancel the job of an import."""
    return await queue.cancel(uow, import_id, KIND)


async def was_workbook(uow: UnitOfWork, import_id: UUID) -> bool:
    """Return whether the file of an import was a workbook."""
    await queue.get(uow, import_id, KIND)
    (row,) = await uow.rows(SELECT_IS_WORKBOOK, id=import_id)
    return bool(row["is_workbook"])


def error_book(uow: UnitOfWork, context: ServiceContext, import_id: UUID, language: Language) -> AsyncIterator[bytes]:
    """Return the failed rows as a workbook. The rows are read in pages while it is sent."""
    return write_error_book(lambda: _pages(context, uow.actor, import_id), language)


async def error_lines(
    uow: UnitOfWork, context: ServiceContext, import_id: UUID, language: Language
) -> AsyncIterator[bytes]:
    """Return the failed rows as CSV."""
    head = True
    async for page in _pages(context, uow.actor, import_id):
        text = b"".join(write_errors(page, language))
        yield text if head else text.split(b"\n", 1)[1]
        head = False


async def _pages(context: ServiceContext, actor: Actor, import_id: UUID) -> AsyncIterator[list[Refusal]]:
    """Yield the failed rows in pages. The first page is yielded even if it is empty."""
    after, is_first = 0, True
    while True:
        async with context.unit_of_work(actor) as uow:
            page = await import_job.errors_after(uow, import_id, after)
        if page or is_first:
            yield [(error.row, error.problems) for error in page]
        if len(page) < import_job.ERRORS_PAGE:
            return
        after, is_first = page[-1].row.line, False
