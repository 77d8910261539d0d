"""Jobs: long work that a worker does in chunks. Each chunk is one transaction.

The row of the job is the source of truth; the queue only wakes a worker. If a worker is killed, its lock ends with its
connection, and another worker continues after the last chunk that committed.
"""

import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar
from uuid import UUID

import structlog
from pydantic import ConfigDict
from sqlalchemy import text

from shared.contracts.resource import Schema
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.core.regions import Range
from shared.database.locks import try_advisory_lock
from shared.database.unit_of_work import UnitOfWork
from shared.http.failures import account_of, is_transient, problem_of
from shared.observability import tracing
from shared.problems import InternalError, LocalizedText, NotFound, Problem
from shared.runtime.context import ServiceContext

logger = structlog.get_logger()

Item = TypeVar("Item")
State = Literal["queued", "running", "succeeded", "failed", "cancelled"]

PART_BYTES = 1 << 20
JOBS = "jobs"
"""The name of the loop that runs jobs, in wake-ups."""


class JobEnded(Problem):
    """The job cannot be cancelled, because it has ended."""

    status = 409
    code = "job_ended"
    title = LocalizedText(zh="任务已结束", en="The job has ended")
    fix = LocalizedText(zh="请查看任务结果", en="See the result of the job")


class Job(Schema):
    """Long work in the background: its state, its progress and its result."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d55",
                    "kind": "residents.import",
                    "state": "succeeded",
                    "total": 20000,
                    "done": 20000,
                    "result": {"created": 19990, "updated": 4, "unchanged": 3, "failed": 3},
                    "error": None,
                }
            ]
        }
    )

    id: UUID
    kind: str
    state: State
    total: int | None
    done: int
    result: dict[str, Any]
    error: str | None


class Cancelled(Exception):  # noqa: N818 - a decision, not an error
    """Somebody cancelled the job. The chunks that committed remain."""


INSERT_JOB = text("""
    INSERT INTO jobs (id, region, kind, actor, input)
    VALUES (:id, :region, :kind, CAST(:actor AS jsonb), CAST(:input AS jsonb))
    RETURNING id, kind, state, total, done, result, error
""")
SELECT_JOB = text("SELECT id, kind, state, total, done, result, error FROM jobs WHERE id = :id AND kind = ANY(:kinds)")
CANCEL_JOB = text("""
    UPDATE jobs SET state = 'cancelled', finished_at = now(), version = version + 1
    WHERE id = :id AND state IN ('queued', 'running')
    RETURNING id, kind, state, total, done, result, error
""")
INSERT_PART = text("INSERT INTO uploads (job_id, part, sealed) VALUES (:job_id, :part, :sealed)")
SELECT_PART = text("SELECT sealed FROM uploads WHERE job_id = :job_id AND part = :part")
SELECT_OPEN_JOBS = text(
    "SELECT id FROM jobs WHERE state IN ('queued', 'running') AND kind = ANY(:kinds) ORDER BY seq LIMIT 20"
)
BEGIN_JOB = text("""
    UPDATE jobs SET state = 'running', version = version + 1 WHERE id = :id AND state IN ('queued', 'running')
    RETURNING id, region, kind, actor, input, total, done, result
""")
SAVE_PROGRESS = text("""
    UPDATE jobs SET done = :done, total = coalesce(:total, total), result = CAST(:result AS jsonb),
        version = version + 1
    WHERE id = :id AND state = 'running'
""")
END_JOB = text("""
    UPDATE jobs SET state = :state, error = :error, finished_at = now(), version = version + 1
    WHERE id = :id AND state = 'running'
""")
DELETE_UPLOAD = text("DELETE FROM uploads WHERE job_id = :id")
# The role that cancels a job may not delete its file, and a worker never runs a cancelled job again.
DELETE_UPLOADS_OF_ENDED_JOBS = text(
    "DELETE FROM uploads USING jobs WHERE jobs.id = uploads.job_id AND jobs.finished_at IS NOT NULL"
)
DELETE_UNCLAIMED_UPLOAD = text("""
    DELETE FROM uploads WHERE job_id = :id AND NOT EXISTS (SELECT FROM jobs WHERE jobs.id = uploads.job_id)
""")
# Uploads older than an hour cannot belong to a request that is still running, so no job will claim them.
DELETE_LOST_UPLOADS = text("""
    DELETE FROM uploads
    WHERE kept_at < now() - interval '1 hour' AND NOT EXISTS (SELECT FROM jobs WHERE jobs.id = uploads.job_id)
""")


async def add(
    uow: UnitOfWork,
    kind: str,
    region: str,
    values: Mapping[str, Any],
    scope: Range | None = None,
    file: UUID | None = None,
) -> Job:
    """Queue a job on behalf of the caller, within the caller's scope or the given one.

    `values` must not contain personal data. Personal data belongs in a `file` that `keeping_file` stored.
    """
    caller = replace(uow.actor, range=scope) if scope else uow.actor
    rows = await uow.rows(
        INSERT_JOB,
        id=file or new_id(),
        region=region,
        kind=kind,
        actor=behalf_of(caller),
        input=json.dumps(dict(values)),
    )
    uow.context.notifier.wake(uow.context.settings.service, loop_names=[JOBS])
    return Job(**rows[0])


def behalf_of(actor: Actor) -> str:
    """Serialize the actor, scope, request id and trace for the row of a job."""
    return json.dumps({**actor.claims(), "request_id": actor.request_id, "trace": tracing.here()})


@asynccontextmanager
async def keeping_file(context: ServiceContext, chunks: AsyncIterable[bytes]) -> AsyncIterator[UUID]:
    """Store a file in encrypted parts for a job that is added (`add(…, file=id)`) inside the context.

    Each part is one transaction, because a large file on a slow disk takes longer than a transaction may. A file that
    no job claimed is removed at the end. If the process died or the outcome is unknown, it is removed after an hour.
    """
    id_ = new_id()
    try:
        await _keep(context, id_, chunks)
        yield id_
    except Exception as failure:
        if not is_transient(failure):  # after a transient failure the job may have been added
            await _drop_unclaimed(context, id_)
        raise
    else:
        await _drop_unclaimed(context, id_)


async def _keep(context: ServiceContext, id_: UUID, chunks: AsyncIterable[bytes]) -> None:
    part = 0
    async for chunk in chunks:
        ciphertext = context.keyring.encrypt_bytes(f"uploads.{part}", id_, chunk)
        async with context.system_unit_of_work() as uow:
            await uow.run(INSERT_PART, job_id=id_, part=part, sealed=ciphertext)
        part += 1


async def _drop_unclaimed(context: ServiceContext, id_: UUID) -> None:
    try:
        async with context.system_unit_of_work() as uow:
            await uow.run(DELETE_UNCLAIMED_UPLOAD, id=id_)
    except Exception as failure:
        if not is_transient(failure):  # after a transient failure the worker removes it later
            raise


async def get(uow: UnitOfWork, id: UUID, *kinds: str) -> Job:  # noqa: A002
    """Return a job of one of these kinds within the caller's scope. Raises `NotFound`."""
    rows = await uow.rows(SELECT_JOB, id=id, kinds=list(kinds))
    if not rows:
        raise NotFound()
    return Job(**rows[0])


async def cancel(uow: UnitOfWork, id: UUID, *kinds: str) -> Job:  # noqa: A002
    """Stop a job after its current chunk. Raises `NotFound` or `JobEnded`."""
    await get(uow, id, *kinds)
    rows = await uow.rows(CANCEL_JOB, id=id)
    if not rows:
        raise JobEnded()
    return Job(**rows[0])


@dataclass
class Run:
    """One job, as passed to its function."""

    context: ServiceContext
    id: UUID
    kind: str
    region: str
    actor: Actor
    input: dict[str, Any]
    done: int
    total: int | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def unit_of_work(self) -> UnitOfWork:
        """Start a transaction as the service, within the scope of the person who requested the job.

        The audit entry names that person's role and organisation, because the job is their act.
        """
        actor = Actor(self.actor.subject, Role.SERVICE, self.actor.range, purpose=self.actor.purpose)
        uow = self.context.unit_of_work(actor, f"job {self.kind}")
        uow.trail.actor = self.actor
        uow.trail.target = str(self.id)
        return uow

    async def progress(self, uow: UnitOfWork, items: int, **counts: int) -> None:
        """Save the progress of this chunk in its own transaction. Raises `Cancelled` if the job was cancelled."""
        self.done += items
        for name, count in counts.items():
            self.result[name] = self.result.get(name, 0) + count
        await self._save(uow)

    async def know_total(self, total: int) -> None:
        """Save the total number of items."""
        self.total = total
        async with self.unit_of_work() as uow:
            await self._save(uow)

    async def _save(self, uow: UnitOfWork) -> None:
        result = json.dumps(self.result)
        updated = await uow.run(SAVE_PROGRESS, id=self.id, done=self.done, total=self.total, result=result)
        if not updated:
            raise Cancelled

    async def file(self) -> AsyncIterator[bytes]:
        """Yield the job's file, part by part."""
        part = 0
        while True:
            async with self.unit_of_work() as uow:
                rows = await uow.rows(SELECT_PART, job_id=self.id, part=part)
            if not rows:
                return
            yield self.context.keyring.decrypt_bytes(f"uploads.{part}", self.id, bytes(rows[0]["sealed"]))
            part += 1

    async def chunks(self, items: AsyncIterable[Item], size: int) -> AsyncIterator[list[Item]]:
        """Yield the items in chunks, starting after the last chunk that committed."""
        skip, chunk = self.done, []
        async for item in items:
            if skip:
                skip -= 1
                continue
            chunk.append(item)
            if len(chunk) == size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


JobFunction = Callable[[Run], Awaitable[None]]


async def run_open_jobs(context: ServiceContext, functions: Mapping[str, JobFunction]) -> None:
    """Run every queued or abandoned job, one at a time, unless another worker holds its lock."""
    async with context.system_unit_of_work() as uow:
        await uow.run(DELETE_UPLOADS_OF_ENDED_JOBS)
        await uow.run(DELETE_LOST_UPLOADS)
        ids = [row["id"] for row in await uow.rows(SELECT_OPEN_JOBS, kinds=list(functions))]
    for id_ in ids:
        async with try_advisory_lock(context, f"job:{id_}") as got:
            if got:
                await _run(context, id_, functions)


async def _run(context: ServiceContext, id_: UUID, functions: Mapping[str, JobFunction]) -> None:
    async with context.system_unit_of_work() as uow:
        rows = await uow.rows(BEGIN_JOB, id=id_)
    if not rows:
        return
    row = rows[0]
    actor = Actor.claimed(row["actor"]).during(row["actor"]["request_id"])
    job = Run(context, id_, row["kind"], row["region"], actor, row["input"], row["done"], row["total"], row["result"])
    state, error = "succeeded", None
    try:
        with _traced(row["kind"], row["actor"]):
            await functions[row["kind"]](job)
    except Cancelled:
        return
    except Exception as failure:
        if is_transient(failure):
            raise  # the next run continues after the last committed chunk
        problem = problem_of(failure)
        if isinstance(problem, InternalError):
            logger.error("job.failed", kind=row["kind"], job=str(id_), **account_of(failure))
        state, error = "failed", problem.code
    async with context.system_unit_of_work() as uow:
        await uow.run(END_JOB, id=id_, state=state, error=error)
        await uow.run(DELETE_UPLOAD, id=id_)


@contextmanager
def _traced(kind: str, requester: Mapping[str, Any]) -> Iterator[None]:
    """Continue the trace of the request that added the job."""
    causes = [requester["trace"]] if requester.get("trace") else []
    with tracing.caused_by(causes), tracing.handling(f"job {kind}", request_id=requester["request_id"]):
        yield
