"""Where an installation is: any path a user may have, and one variable that every command knows."""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import asyncpg
import pytest
import redis

from deploy import secret_files
from deploy.embedded import home, postgres, valkey
from tests.deploy.starting import Started

Start = Callable[..., Started]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("name", "locale"),
    [("数据 一", "C.UTF-8"), ("数据 一", "C"), ('a,b "c" \\d', "C.UTF-8"), (os.fsdecode(b"not-utf-8-\xff"), "C")],
    ids=["Chinese", "Chinese in the locale C", "signs", "bytes in the locale C"],
)
def test_a_first_start_on_any_path(start: Start, run: Run, place: Path, name: str, locale: str) -> None:
    on = place / name / "一 二"
    one = start(on=on, fresh=True, LC_ALL=locale, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    one.wait_until_running()
    owner = on / "keys" / "owner"
    found = home.find(on)

    async def ask() -> int:
        address = postgres.owner_url(found, secret_files.read(owner / "database-owner.password"))
        connection = await asyncpg.connect(address)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM starts"))
        finally:
            await connection.close()

    assert asyncio.run(ask()) == 1
    with redis.Redis.from_url(valkey.redis_url(found, secret_files.read(owner / "valkey.password"))) as connection:
        assert connection.ping()
    said = run("status", "--data", str(on), LC_ALL=locale, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (said.returncode, said.stderr) == (0, "")
    doctor = run("doctor", "--data", str(on), LC_ALL=locale, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert "Traceback" not in doctor.stderr
    one.process.terminate()
    assert one.ended()[0] == 0
    second = start(on=on)
    second.wait_until_running()
    assert asyncio.run(ask()) == 2


def test_one_variable_says_where_for_every_command(start: Start, run: Run) -> None:
    one = start()
    one.wait_until_running()
    where = {"FANGXIAN_DATA": str(one.data)}
    assert run("status", **where).returncode == 0
    assert f"runs as process {one.process.pid}" in run("doctor", **where).stdout
    assert "Fangxian" in run("logs", "supervisor", **where).stdout
    assert str(one.data) in run("migrate", **where).stderr  # another runs there
    assert "other" in run("status", "--data", str(one.data / "other"), **where).stderr
    assert "FANGXIAN_DATA" not in run("doctor", **where).stdout  # a known setting


def test_status_says_where_it_is_and_what_it_is(start: Start, run: Run) -> None:
    one = start()
    one.wait_until_running()
    heading = {"gateway": one.url, "data": str(one.data), "mode": "development", "version": version("fangxian")}
    done = run("status", "--data", str(one.data))
    first = f"gateway {one.url}, data {one.data}, development, version {version('fangxian')}"
    assert done.stdout.splitlines()[0] == first
    told = json.loads(run("status", "--json", "--data", str(one.data)).stdout)
    processes = {process["process"]: process for process in told.pop("processes")}
    assert told == heading
    assert processes.keys() == {"postgres", "valkey", "gateway", "worker"}
    assert processes["gateway"]["pid"] == str(one.pid_of("gateway"))


def test_up_says_at_once_what_it_does(run: Run, start: Start) -> None:
    one = start()
    one.wait_until_running()
    done = run("up", "--data", str(one.data))
    assert done.stdout == f"Starting on {one.data} …\n"
    assert done.stderr.startswith(f"Another Fangxian runs on {one.data}")


@pytest.mark.parametrize("words", [("audit", "verify"), ("audit", "verify", "--day", "2021-01-20")])
def test_an_audit_that_is_not_there_is_no_traceback(run: Run, place: Path, words: tuple[str, ...]) -> None:
    done = run(*words, "--data", str(place / "data"))
    assert (done.returncode, done.stderr) == (
        1,
        f"Nothing is running on {place / 'data'}. Start it with `fangxian up`.\n",
    )
