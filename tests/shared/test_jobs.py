"""Long work: resumable after the last chunk that committed, cancelled between chunks, and one worker at a time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.core.actors import Actor, Role
from shared.core.regions import range_of
from shared.jobs import queue
from shared.jobs.queue import Job, Run, run_open_jobs
from shared.problems import Conflict, Unavailable
from shared.runtime.context import ServiceContext
from tests.harness import District

COMMAND = Actor("staff:1", Role.COMMAND, range_of("350582005"))


@pytest.fixture
def context(district: District) -> ServiceContext:
    return district.contexts["registry"]


async def items(count: int = 10) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def queued(context: ServiceContext) -> Job:
    async with context.unit_of_work(COMMAND) as uow:
        return await queue.add(uow, "probe", "350582005", {})


async def state_of(context: ServiceContext, job: Job) -> Job:
    async with context.unit_of_work(COMMAND) as uow:
        return await queue.get(uow, job.id, "probe")


async def test_a_job_goes_on_after_the_last_chunk_that_committed(context: ServiceContext) -> None:
    seen: list[int] = []
    broken = True

    async def count(run: Run) -> None:
        async for chunk in run.chunks(items(), size=3):
            if broken and chunk[0] == 6:
                raise Unavailable
            async with run.unit_of_work() as uow:
                await run.progress(uow, len(chunk), kept=len(chunk))
            seen.extend(chunk)

    job = await queued(context)
    with pytest.raises(Unavailable):
        await run_open_jobs(context, {"probe": count})
    halfway = await state_of(context, job)
    assert (halfway.state, halfway.done) == ("running", 6)
    broken = False
    await run_open_jobs(context, {"probe": count})
    ended = await state_of(context, job)
    assert (ended.state, ended.done, ended.result) == ("succeeded", 10, {"kept": 10})
    assert seen == list(range(10))


async def test_a_cancelled_job_stops_after_its_chunk(context: ServiceContext) -> None:
    async def count(run: Run) -> None:
        async for chunk in run.chunks(items(), size=2):
            async with run.unit_of_work() as uow:
                await run.progress(uow, len(chunk))
            if chunk[0] == 2:
                async with context.unit_of_work(COMMAND) as uow:
                    await queue.cancel(uow, job.id, "probe")

    job = await queued(context)
    await run_open_jobs(context, {"probe": count})
    ended = await state_of(context, job)
    assert (ended.state, ended.done) == ("cancelled", 4)
    with pytest.raises(queue.JobEnded):
        async with context.unit_of_work(COMMAND) as uow:
            await queue.cancel(uow, job.id, "probe")


async def test_a_job_that_fails_says_why_without_telling_anything_personal(context: ServiceContext) -> None:
    async def refuse(run: Run) -> None:
        raise Conflict

    async def break_down(run: Run) -> None:
        raise ValueError("张三")

    for function, error in ((refuse, "conflict"), (break_down, "internal_error")):
        job = await queued(context)
        await run_open_jobs(context, {"probe": function})
        ended = await state_of(context, job)
        assert (ended.state, ended.error) == ("failed", error)


async def test_two_workers_run_a_job_once(context: ServiceContext) -> None:
    runs = 0

    async def slow(run: Run) -> None:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.2)

    await queued(context)
    await asyncio.gather(*(run_open_jobs(context, {"probe": slow}) for _ in range(3)))
    assert runs == 1


async def test_the_file_of_a_job_is_sealed_and_gone_at_its_end(district: District, context: ServiceContext) -> None:
    content = "姓名,证件\n张三,1\n".encode()
    read = b""

    async def read_file(run: Run) -> None:
        nonlocal read
        async for part in run.file():
            read += part

    async def parts() -> AsyncIterator[bytes]:
        yield content[:7]
        yield content[7:]

    async with queue.keeping_file(context, parts()) as file, context.unit_of_work(COMMAND) as uow:
        await queue.add(uow, "probe", "350582005", {}, file=file)
    stored = await district.sql("SELECT sealed FROM registry.uploads")
    assert all("张三".encode() not in row["sealed"] for row in stored)
    await run_open_jobs(context, {"probe": read_file})
    assert read == content
    assert await district.sql("SELECT 1 FROM registry.uploads") == []


class Killed(BaseException):
    """As if the process died: nothing may catch it."""


@pytest.mark.parametrize(
    ("failure", "left"), [(Killed, 1), (Unavailable, 1), (Conflict, 0)], ids=["killed", "in-doubt", "refused"]
)
async def test_a_file_that_no_job_took_does_not_stay(
    district: District, context: ServiceContext, failure: type[BaseException], left: int
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"a part"

    with pytest.raises(failure):
        async with queue.keeping_file(context, parts()):
            raise failure
    for age, remaining in (("59 minutes", left), ("61 minutes", 0)):
        await district.sql(f"UPDATE registry.uploads SET kept_at = now() - interval '{age}'")
        await run_open_jobs(context, {})
        assert len(await district.sql("SELECT 1 FROM registry.uploads")) == remaining


async def test_the_file_of_a_job_that_waits_stays_however_long(district: District, context: ServiceContext) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"a part"

    async with queue.keeping_file(context, parts()) as file, context.unit_of_work(COMMAND) as uow:
        await queue.add(uow, "probe", "350582005", {}, file=file)
    await district.sql("UPDATE registry.uploads SET kept_at = now() - interval '3 days'")
    await run_open_jobs(context, {})
    assert [row["job_id"] for row in await district.sql("SELECT job_id FROM registry.uploads")] == [file]


async def test_a_job_is_seen_within_its_region_only(district: District, context: ServiceContext) -> None:
    from shared.problems import NotFound

    job = await queued(context)
    elsewhere = Actor("staff:2", Role.COMMAND, range_of("350582004"))
    with pytest.raises(NotFound):
        async with context.unit_of_work(elsewhere) as uow:
            await queue.get(uow, job.id, "probe")
