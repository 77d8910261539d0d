"""The embedded servers: real, must be a directory of, and alive again after whatever happened to them."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil
import pytest
import redis
from arq.connections import RedisSettings, create_pool
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from deploy import embedded
from deploy.embedded import Servers, home, postgres, programs, valkey
from deploy.embedded.server import launch, stop, wait_until_ready
from deploy.embedded.user import may_pass, server_user
from deploy.trouble import Trouble

AS_ROOT = os.geteuid() == 0
STRANGER = 12_345
"""A user id that is neither ours nor the servers'."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with embedded.temporary() as running:
        yield running


def socket_directory(servers: Servers) -> Path:
    return Path(urlsplit(servers.redis_url).path).parent


def with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    user = parts.username or ""
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@"))


async def test_asyncpg_sqlalchemy_redis_and_arq_take_the_addresses_as_they_are(servers: Servers) -> None:
    connection = await asyncpg.connect(servers.owner_url)
    assert connection.get_server_version().major == 18
    row = await connection.fetchrow(
        "SELECT datcollate, pg_encoding_to_char(encoding) AS encoding, current_user AS owner FROM pg_database "
        "WHERE datname = current_database()"
    )
    assert tuple(row) == ("C", "UTF8", "fangxian_owner")
    await connection.close()
    engine = create_async_engine(servers.owner_url.replace("postgresql:", "postgresql+asyncpg:", 1))
    async with engine.connect() as session:
        assert (await session.execute(text("SELECT current_database()"))).scalar_one() == "fangxian"
    await engine.dispose()
    assert redis.Redis.from_url(servers.redis_url).ping()
    pool = await create_pool(RedisSettings.from_dsn(servers.redis_url))
    assert await pool.ping()
    await pool.aclose()


@pytest.mark.parametrize("password", ["", "wrong"])
async def test_nobody_gets_into_postgresql_without_the_password(servers: Servers, password: str) -> None:
    with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        await asyncpg.connect(with_password(servers.owner_url, password), passfile="/nonexistent")


async def test_every_role_needs_a_password_of_its_own(servers: Servers) -> None:
    connection = await asyncpg.connect(servers.owner_url)
    methods = await connection.fetch("SELECT type, auth_method FROM pg_hba_file_rules")
    assert {tuple(method) for method in methods} == {("local", "scram-sha-256")}
    await connection.execute("CREATE ROLE passwordless LOGIN")
    await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            f"postgresql://passwordless:x@/fangxian?host={socket_directory(servers)}", passfile="/nonexistent"
        )


@pytest.mark.parametrize("password", ["", "wrong"])
def test_nobody_gets_into_valkey_without_the_password(servers: Servers, password: str) -> None:
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(with_password(servers.redis_url, password)).ping()


def test_neither_listens_on_the_network(servers: Servers) -> None:
    for name in ("postgres", "valkey"):
        assert psutil.Process(servers.process(name).pid).net_connections("inet") == []


def test_no_password_is_on_a_command_line(servers: Servers) -> None:
    secrets = [urlsplit(url).password or "?" for url in (servers.owner_url, servers.redis_url)]
    for name in ("postgres", "valkey"):
        words = " ".join(psutil.Process(servers.process(name).pid).cmdline())
        assert not any(secret in words for secret in secrets)


def test_another_user_cannot_reach_the_sockets(servers: Servers) -> None:
    directory = socket_directory(servers)
    status = directory.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, server_user().uid)
    for path in (directory / ".s.PGSQL.5432", directory / "valkey.sock"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        if AS_ROOT:
            assert refused_to(STRANGER, path)


def refused_to(user: int, path: Path) -> bool:
    """Whether a user cannot connect to a socket that root can connect to."""
    with socket.socket(socket.AF_UNIX) as own:
        own.connect(str(path))
    child = os.fork()
    if child == 0:
        os.setgid(user)
        os.setuid(user)
        try:
            socket.socket(socket.AF_UNIX).connect(str(path))
        except PermissionError:
            os._exit(7)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


async def remember(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
    await connection.execute("INSERT INTO kept VALUES (1)")
    await connection.close()


async def remembered(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM kept"))
    finally:
        await connection.close()


async def test_data_passwords_and_addresses_are_there_after_a_restart(place: Path) -> None:
    first = embedded.start(place / "data", durable=False)
    await remember(first.owner_url)
    first.stop()
    second = embedded.start(place / "data", durable=False)
    try:
        assert (second.owner_url, second.redis_url) == (first.owner_url, first.redis_url)
        assert await remembered(second.owner_url) == 1
    finally:
        second.stop()


async def test_a_killed_cluster_comes_back_with_what_was_committed(place: Path) -> None:
    first = embedded.start(place / "data")
    await remember(first.owner_url)
    for name in ("postgres", "valkey"):
        first.process(name).kill()
        first.process(name).wait()
    second = embedded.start(place / "data")
    try:
        assert await remembered(second.owner_url) == 1
        assert redis.Redis.from_url(second.redis_url).ping()
    finally:
        second.stop()


def another_program() -> "subprocess.Popen[bytes]":
    """A program of the servers' user that has nothing to do with them."""
    return subprocess.Popen(["sleep", "600"], **server_user().popen)


async def test_a_pid_file_that_names_another_program_does_not_stop_the_start(place: Path) -> None:
    first = embedded.start(place / "data", durable=False)
    await remember(first.owner_url)
    first.process("postgres").kill()
    first.process("postgres").wait()
    first.stop()
    with another_program() as other:
        for name in ("postgres/postmaster.pid", "run/.s.PGSQL.5432.lock"):
            pid_file = place / "data" / "servers" / name
            lines = pid_file.read_text().splitlines()
            pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        try:
            second = embedded.start(place / "data", durable=False)
            assert await remembered(second.owner_url) == 1
            second.stop()
            assert other.poll() is None
        finally:
            other.kill()


async def test_a_path_too_long_for_a_socket_is_no_hindrance(place: Path) -> None:
    directory = place / ("long" * 20) / "data"
    directory.parent.mkdir(mode=0o711)
    directory.mkdir(mode=0o711)
    servers = embedded.start(directory, durable=False)
    try:
        sockets = socket_directory(servers)
        assert len(os.fsencode(sockets / ".s.PGSQL.5432")) <= home.LONGEST_SOCKET
        assert (sockets.stat().st_mode & 0o777, sockets.stat().st_uid) == (0o700, server_user().uid)
        await remember(servers.owner_url)
    finally:
        servers.stop()
        home.remove(directory)
    assert not sockets.exists()


def test_a_foreign_directory_in_the_place_of_the_sockets_is_not_used(place: Path) -> None:
    path = place / "sockets"
    path.mkdir(mode=0o777)
    path.chmod(0o777)
    with pytest.raises(Trouble, match="must be a directory of"):
        home.make_own(path, server_user())
    path.rmdir()
    path.symlink_to(place)
    with pytest.raises(Trouble, match="must be a directory of"):
        home.make_own(path, server_user())


async def test_a_directory_that_the_servers_user_cannot_pass_is_not_opened(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an ordinary user the servers' user is oneself, and the directory is used as it is."""
    monkeypatch.setattr(home, "ELSEWHERE", place / "var-lib")
    closed = place / "root"
    closed.mkdir(mode=0o700)
    before = modes(place)
    servers = embedded.start(closed / "data", durable=False)
    try:
        await remember(servers.owner_url)
        assert {path: path.stat().st_mode for path in before} == before
        assert (closed / "data" / "servers").is_symlink() == AS_ROOT
        assert may_pass(server_user(), (closed / "data" / "servers").resolve())
    finally:
        servers.stop()
        home.remove(closed / "data")
    assert not (place / "var-lib").exists()


def modes(place: Path) -> dict[Path, int]:
    return {path: path.stat().st_mode for path in (place.parent, place, *place.rglob("*")) if not path.is_symlink()}


async def test_programs_that_the_servers_user_cannot_run_are_copied(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = programs._runs
    monkeypatch.setattr(
        programs, "_runs", lambda program, user: "site-packages" not in str(program) and runs(program, user)
    )
    servers = embedded.start(place / "data", durable=False)
    try:
        await remember(servers.owner_url)
        for name in ("postgres", "valkey"):
            program = Path(psutil.Process(servers.process(name).pid).exe())
            assert (place / "data" / "servers" / "binaries").resolve() in program.parents
            assert psutil.Process(servers.process(name).pid).uids().real == server_user().uid
    finally:
        servers.stop()


def test_a_cluster_that_cannot_be_made_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "DATABASE", 'bad"name')
    with pytest.raises(Trouble, match="could not be created") as refused:
        embedded.start(place / "data", durable=False)
    left = [path.name for path in (place / "data" / "servers").iterdir()]
    assert left == ["run"], (refused.value, getattr(refused.value, "__notes__", []))


def test_a_server_that_ends_while_it_starts_is_told_of(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey, "CONFIGURATION", 'no-such-word "{socket}{password}{directory}"\n')
    with pytest.raises(Trouble, match=r"valkey ended with code 1 while starting; see .*valkey\.log"):
        embedded.start(place / "data", durable=False)
    assert [process for process in psutil.process_iter() if str(place) in " ".join(_command(process))] == []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_servers_end_with_the_process_that_started_them(place: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from deploy import embedded;"
        "s = embedded.start(Path(sys.argv[1]), durable=False);"
        "print(s.process('postgres').pid, s.process('valkey').pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(place / "data")],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    ) as starter:
        assert starter.stdout is not None
        started = [psutil.Process(int(pid)) for pid in starter.stdout.readline().split()]
        assert len(started) == 2
        starter.kill()
    gone, alive = psutil.wait_procs(started, timeout=60, callback=None)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == [], gone


def test_a_server_deaf_to_its_signal_is_ended_all_the_same(place: Path) -> None:
    servers = embedded.start(place / "data", durable=False)
    server, process = servers.running[0]
    process.send_signal(signal.SIGSTOP)
    stop(server, process, 0.5)
    assert process.returncode == -signal.SIGKILL
    again = launch(server, subprocess.DEVNULL)
    wait_until_ready(server, again, 30)
    stop(server, again)
    assert again.returncode == 0
    servers.stop()
