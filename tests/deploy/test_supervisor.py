"""The supervisor, as its operator meets it: what dies comes back, what ends leaves nothing, nothing runs twice."""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import asyncpg
import psutil
import pytest

from deploy import data, secret_files
from deploy.embedded import home, postgres
from tests.deploy.starting import PATIENCE, Started, a_port, is_alive, until

Start = Callable[..., Started]


def answer_of(url: str) -> int:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return int(answer.read())


def starts_remembered(directory: Path) -> int:
    """How many rows the stand-in's migration has left."""

    async def ask() -> int:
        password = secret_files.read(directory / "keys" / "owner" / "database-owner.password")
        connection = await asyncpg.connect(postgres.owner_url(home.find(directory), password))
        try:
            return int(await connection.fetchval("SELECT count(*) FROM starts"))
        finally:
            await connection.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_start_stop_start(start: Start, number: signal.Signals) -> None:
    first = start(fresh=True)
    first.wait_until_running()
    assert answer_of(first.url) == first.pid_of("gateway")
    first.until_printed("worker", "working")
    first.process.send_signal(number)
    code, said = first.ended()
    assert (code, said) == (0, f"Stopping ({number.name}).\nStopped.\n")
    assert first.survivors() == []
    assert first.log_of("worker").splitlines() == ["working", "ended in good order"]
    second = start()
    second.wait_until_running()
    assert starts_remembered(second.data) == 2


def test_ctrl_c_in_a_terminal_reaches_the_supervisor_alone(start: Start) -> None:
    """The terminal signals a whole process group: the children are not in it."""
    one = start()
    one.wait_until_running()
    groups = {os.getpgid(process.pid) for process in one.seen if is_alive(process)}
    assert os.getpgid(one.process.pid) not in groups


@pytest.mark.parametrize("ignored", [False, True], ids=["of its terminal", "under nohup"])
def test_a_hangup(start: Start, ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        one = start()
    finally:
        signal.signal(signal.SIGHUP, before)
    one.wait_until_running()
    one.process.send_signal(signal.SIGHUP)
    if ignored:
        time.sleep(0.5)
        assert answer_of(one.url) == one.pid_of("gateway")
    else:
        assert one.ended() == (0, "Stopping (SIGHUP).\nStopped.\n")


def test_requests_under_way_are_finished_on_the_way_out(start: Start) -> None:
    one = start()
    one.wait_until_running()
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=PATIENCE)
    connection.request("GET", "/slow")
    one.until_printed("gateway", "begun")
    one.process.terminate()
    assert connection.getresponse().status == 200
    assert one.ended()[0] == 0


def test_twice_on_one_directory_is_refused(start: Start) -> None:
    one = start()
    one.wait_until_running()
    other = start(at=a_port())
    code, said = other.ended()
    assert code == 1
    assert said == (
        f"Another Fangxian runs on {one.data} (process {one.process.pid}). Stop it, or choose another --data.\n"
    )
    assert answer_of(one.url) == one.pid_of("gateway")


def test_a_port_in_use_is_told_and_nothing_is_made(start: Start, place: Path) -> None:
    one = start()
    one.wait_until_running()
    other = start(on=place / "other")
    assert other.ended() == (1, f"Port {one.port} is in use by another program. Choose another --port.\n")
    assert not other.data.exists()


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_a_killed_child_comes_back(start: Start, name: str) -> None:
    one = start()
    one.wait_until_running()
    before = one.pid_of(name)
    os.kill(before, signal.SIGKILL)
    until(lambda: one.pid_of(name) not in {0, before})
    assert answer_of(one.url) == one.pid_of("gateway")
    assert one.state_of(name)["restarts"] == 1
    one.process.terminate()
    assert f"{name} was killed by SIGKILL. It restarts in 0.2 s (restart 1).\n" in one.ended()[1]


def test_callers_wait_in_line_while_an_api_starts_again(start: Start) -> None:
    one = start()
    one.wait_until_running()
    answers: list[int] = []
    callers = [threading.Thread(target=lambda: answers.append(answer_of(one.url))) for _ in range(20)]
    before = one.pid_of("gateway")
    killed = psutil.Process(before)
    killed.kill()
    until(lambda: not is_alive(killed))
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert answers == [one.pid_of("gateway")] * 20
    assert one.pid_of("gateway") != before


def test_a_child_that_cannot_work_is_tried_ever_later(start: Start) -> None:
    one = start("failing")
    one.wait_until_running()
    until(lambda: int(str(one.state_of("failing")["restarts"])) >= 4)
    assert answer_of(one.url) == one.pid_of("gateway")
    one.process.terminate()
    code, said = one.ended()
    assert code == 0
    lines = said.splitlines()[:4]
    assert lines == [
        f"failing ended with code 1. It restarts in {delay:g} s (restart {number})."
        for number, delay in enumerate((0.2, 0.4, 0.8, 1.6), 1)
    ]
    assert "RuntimeError: the worker does not like it here" in one.log_of("failing")


@pytest.mark.parametrize("whole_group", [False, True], ids=["server", "with its sessions"])
def test_a_killed_postgresql_comes_back_with_its_data(start: Start, whole_group: bool) -> None:
    one = start()
    one.wait_until_running()
    before = one.pid_of("postgres")
    (os.killpg if whole_group else os.kill)(before, signal.SIGKILL)
    until(lambda: one.pid_of("postgres") not in {0, before})
    place = home.find(one.data)
    until(lambda: postgres.is_ready(place.cluster, one.pid_of("postgres")))
    assert starts_remembered(one.data) == 2


def test_a_killed_valkey_comes_back(start: Start) -> None:
    one = start()
    one.wait_until_running()
    before = one.pid_of("valkey")
    os.kill(before, signal.SIGKILL)
    until(lambda: one.pid_of("valkey") not in {0, before})


def test_nothing_outlives_a_killed_supervisor_and_the_next_one_starts(start: Start) -> None:
    first = start("deaf")
    first.wait_until_running()
    first.process.kill()
    first.process.wait()
    second = start("worker")
    second.wait_until_running()
    until(lambda: first.survivors() == [])
    assert starts_remembered(second.data) == 3


def test_what_a_child_has_started_ends_with_it(start: Start) -> None:
    one = start("worker")
    one.wait_until_running()
    one.until_printed("worker", "working")
    (sleeper,) = psutil.Process(one.pid_of("worker")).children()
    one.process.terminate()
    one.ended()
    assert not is_alive(sleeper)


def test_a_child_deaf_to_the_signal_is_killed_when_asked_twice(start: Start) -> None:
    one = start("deaf")
    one.wait_until_running()
    one.until_printed("deaf", "deaf")
    one.process.terminate()
    one.until_printed("supervisor", "Stopping")
    time.sleep(1)
    assert one.process.poll() is None
    one.process.terminate()
    assert one.ended() == (0, "Stopping (SIGTERM).\nKilling.\nStopped.\n")
    assert one.survivors() == []


def test_a_newer_directory_is_left_alone(start: Start, place: Path) -> None:
    directory = place / "data"
    directory.mkdir()
    (directory / "version").write_text("99\n")
    one = start()
    assert one.ended() == (
        1,
        f"{directory} was made by a newer Fangxian (format 99; this one knows {data.FORMAT}). Install that version.\n",
    )
    assert [path.name for path in directory.iterdir()] == ["version"]


@pytest.mark.parametrize(
    ("name", "url", "sentence"),
    [
        ("DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/fangxian", "PostgreSQL at 127.0.0.1:1 (DATABASE_URL)"),
        ("REDIS_URL", "redis://:secret@127.0.0.1:1/0", "Redis at 127.0.0.1:1 (REDIS_URL)"),
    ],
)
def test_an_unreachable_server_is_told_without_its_password(start: Start, name: str, url: str, sentence: str) -> None:
    one = start(fresh=True, **{name: url})
    code, said = one.ended()
    assert code == 1
    assert said.startswith(f"{sentence} cannot be reached: ")
    assert said.count("\n") == 1
    assert "secret" not in said
    assert not one.data.exists()


def test_a_first_start_whose_migrations_fail_leaves_nothing(start: Start) -> None:
    one = start(fresh=True, REFUSED="could not extend file")
    assert one.ended() == (1, "RuntimeError: could not extend file\n")
    assert not one.data.exists()


def test_servers_of_ones_own_are_used_and_none_is_made(start: Start, place: Path) -> None:
    one = start()
    one.wait_until_running()
    password = secret_files.read(one.data / "keys" / "owner" / "database-owner.password")
    valkey_password = secret_files.read(one.data / "keys" / "owner" / "valkey.password")
    sockets = home.find(one.data).sockets
    other = start(
        on=place / "other",
        at=a_port(),
        DATABASE_URL=f"postgres://fangxian_owner:{password}@/fangxian?host={sockets}",
        REDIS_URL=f"unix://:{valkey_password}@{sockets}/valkey.sock?db=1",
    )
    other.wait_until_running()
    assert not (other.data / "servers").exists()
    assert starts_remembered(one.data) == 3
    state = json.loads((other.data / "status.json").read_text())
    assert [process["name"] for process in state["processes"]] == ["gateway", "worker"]


def test_a_copy_of_a_directory_that_is_at_rest_starts(start: Start, place: Path) -> None:
    """The backup of the embedded servers, as docs/running.md has it."""
    one = start(fresh=True)
    one.wait_until_running()
    one.process.terminate()
    one.ended()
    (place / "restored").mkdir()
    subprocess.run(["tar", "-C", one.data, "-chpf", place / "kept.tar", "."], check=True)
    subprocess.run(["tar", "-C", place / "restored", "-xpf", place / "kept.tar"], check=True)
    other = start(on=place / "restored")
    other.wait_until_running()
    assert starts_remembered(other.data) == 2


def test_a_database_that_other_keys_have_sealed_is_left_alone(start: Start, place: Path) -> None:
    """New keys would open nothing of it, and new passwords would lock its own processes out."""
    one = start()
    one.wait_until_running()
    password = secret_files.read(one.data / "keys" / "owner" / "database-owner.password")
    sockets = home.find(one.data).sockets
    url = f"postgresql://fangxian_owner:{password}@/sealed?host={sockets}"
    asyncio.run(make_sealed(url))
    other = start(on=place / "other", at=one.port + 1000, DATABASE_URL=url)
    code, said = other.ended()
    assert (code, said.count("\n")) == (1, 1)
    assert (
        f"contains data that other keys encrypted. Restore those keys into {other.data / 'keys'} from a backup" in said
    )
    assert not other.data.exists()


async def make_sealed(url: str) -> None:
    connection = await asyncpg.connect(url.replace("/sealed?", "/postgres?"))
    await connection.execute("CREATE DATABASE sealed")
    await connection.close()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE SCHEMA testing")
    await connection.execute("CREATE TABLE testing.data_keys AS SELECT 1 AS id")
    await connection.close()


def test_a_lost_cluster_is_not_replaced_by_an_empty_one(start: Start) -> None:
    first = start()
    first.wait_until_running()
    first.process.terminate()
    first.ended()
    cluster = home.find(first.data).cluster
    cluster.rename(cluster.with_name("elsewhere"))
    second = start()
    code, said = second.ended()
    assert (code, said.splitlines()[-1]) == (
        1,
        f"The database of {first.data} is missing from {cluster}. Restore it from a backup.",
    )
    assert not cluster.exists()


def test_lost_keys_are_not_replaced_by_new_ones(start: Start) -> None:
    first = start()
    first.wait_until_running()
    first.process.terminate()
    first.ended()
    keys = first.data / "keys"
    keys.rename(first.data.with_name("elsewhere"))
    code, said = start().ended()
    assert (code, said.splitlines()[-1]) == (
        1,
        f"The keys of {first.data} are missing from {keys}. Restore them from a backup.",
    )
    assert not keys.exists()


def test_a_wrong_setting_is_one_sentence(start: Start) -> None:
    one = start(fresh=True, FANGXIAN_PRODUCTION="true")
    code, said = one.ended()
    assert code == 1
    assert "FANGXIAN_DEVELOPMENT_ISSUER=false" in said
    assert not one.data.exists()
    assert one.survivors() == []
