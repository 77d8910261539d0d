"""R2: an import that is killed, cancelled or made twice at once ends as one that was left alone."""

import asyncio
from typing import Any

import pytest

from services.registry.imports import import_job, spool
from shared.core.actors import Role
from shared.jobs.queue import run_open_jobs
from tests.harness import District
from tests.registry.people import counts, crowd, errors_of, person, published, send, table


@pytest.fixture
def command(district: District):
    return district.caller("registry", Role.COMMAND)


class Killed(BaseException):
    """As if the process died: nothing may catch it."""


async def test_a_killed_import_goes_on_where_it_stopped(
    district: District, command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "CHUNK", 3)
    rows = [*crowd(7), person(1, name="又一次"), person(9)]
    answer = await send(command, table(rows))
    context, worker = district.contexts["registry"], district.workers["registry"]
    real, calls = import_job._write, 0

    async def dies(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        written = await real(*arguments)
        if calls == 2:
            raise Killed
        return written

    monkeypatch.setattr(import_job, "_write", dies)
    with pytest.raises(Killed):
        await run_open_jobs(context, worker.jobs)
    job = (await command.get(answer.headers["location"])).json()
    assert (job["state"], job["total"], job["done"], counts(job)) == ("running", 9, 3, (3, 0, 0, 0))
    assert len(await published(district)) == 3
    await run_open_jobs(context, worker.jobs)
    job = (await command.get(answer.headers["location"])).json()
    assert (job["state"], job["done"], counts(job)) == ("succeeded", 9, (8, 0, 0, 1))
    assert "line 2" in (await errors_of(command, job))[0]["错误"]
    assert len(await published(district)) == len(await district.sql("SELECT * FROM registry.residents")) == 8


async def test_a_cancelled_import_stops_after_its_chunk(
    district: District, command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "CHUNK", 2)
    answer = await send(command, table(crowd(6)))
    url = answer.headers["location"]
    real = import_job._write

    async def cancels(*arguments: Any) -> Any:
        if not (await command.get(url)).json()["done"]:
            return await real(*arguments)
        assert (await command.post(f"{url}/cancel")).json()["state"] == "cancelled"
        return await real(*arguments)

    monkeypatch.setattr(import_job, "_write", cancels)
    await district.settle()
    job = (await command.get(url)).json()
    assert (job["state"], job["done"], counts(job)) == ("cancelled", 2, (2, 0, 0, 0))
    assert len(await district.sql("SELECT * FROM registry.residents")) == 2
    assert (await command.post(f"{url}/cancel")).json()["code"] == "job_ended"
    await district.settle()
    assert await district.sql("SELECT * FROM registry.uploads") == []


async def test_two_imports_of_one_file_at_once(district: District, command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "CHUNK", 5)
    rows = crowd(40)
    answers = [await send(command, table(rows)), await send(command, table(list(reversed(rows))))]
    context, worker = district.contexts["registry"], district.workers["registry"]
    await asyncio.gather(*(run_open_jobs(context, worker.jobs) for _ in range(2)))
    await district.settle()
    jobs = [(await command.get(answer.headers["location"])).json() for answer in answers]
    assert [job["state"] for job in jobs] == ["succeeded"] * 2
    assert tuple(map(sum, zip(*map(counts, jobs), strict=True))) == (40, 0, 40, 0)
    people = await district.sql("SELECT version FROM registry.residents")
    assert (len(people), {row["version"] for row in people}, len(await published(district))) == (40, {1}, 40)
