"""Processes one by one, without a supervisor, as containers start them: from their environment, over real servers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from deploy import embedded, secret_files, status, up
from deploy.alone import settings_of
from deploy.own_servers import as_role
from deploy.trouble import Trouble
from shared.core.settings import SERVICES
from shared.database.engine import engine_of
from tests.deploy.starting import PATIENCE, ROOT, a_place, a_port, clean_environment, until

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Alone:
    """Servers, keys and addresses; and the processes that were started with them."""

    def __init__(self, place: Path, servers: embedded.Servers) -> None:
        self.place, self.servers, self.port = place, servers, a_port()
        self.started: list[subprocess.Popen[str]] = []

    def environment(self, service: str) -> dict[str, str]:
        host = self.servers.owner_url.partition("?")[2]
        urls = {f"FANGXIAN_{name.upper()}_URL": self.url(name) for name in SERVICES}
        return urls | {
            "FANGXIAN_DATABASE_URL": f"postgresql:///fangxian?{host}",
            "FANGXIAN_REDIS_URL": self.servers.redis_url,
            "FANGXIAN_KEYS": str(self.place / "state" / "keys" / service),
            "FANGXIAN_DEMONSTRATION_IDS": "true",
            "FANGXIAN_PRODUKTION": "true",
        }

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.port + SERVICES.index(service)}"

    def start(self, *words: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean_environment() | {"PYTHONPATH": str(ROOT)} | environment,
        )
        self.started.append(process)
        return process

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        process = self.start(*words, environment=environment)
        said, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, said


@pytest.fixture
def alone() -> Iterator[Alone]:
    """A PostgreSQL and a Valkey of their own, and nothing yet in them."""
    with embedded.temporary() as servers, a_place() as place:
        (place / "state").mkdir()
        one = Alone(place, servers)
        try:
            yield one
        finally:
            for process in one.started:
                process.kill()
                process.communicate()


def ask(url: str, token: str = "", **body: object) -> dict[str, object]:
    headers = {"content-type": "application/json", "idempotency-key": os.urandom(8).hex()}
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
    if token:
        request.add_header("authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return dict(json.loads(answer.read()))


def test_an_installation_of_single_processes(alone: Alone) -> None:
    """Keys, migrations, two APIs and two workers; a fact goes from one service to the other; all end in good order."""
    keys = alone.place / "state" / "keys"
    assert alone.run("keys", "make", str(keys))[0] == 0
    before = (keys / "owner" / "master.key").read_bytes()
    assert alone.run("keys", "make", str(keys))[0] == 0
    assert (keys / "owner" / "master.key").read_bytes() == before
    owner = {"DATABASE_URL": alone.servers.owner_url}
    assert alone.run("migrate", "--keys", str(keys / "owner"), **owner) == (
        0,
        "The database is at the installed version.\n",
    )
    processes = [
        alone.start(*words, environment=alone.environment(service))
        for service in ("registry", "gateway")
        for words in (
            ("serve", service, "--port", alone.url(service).rpartition(":")[2]),
            ("work", service),
        )
    ]
    until(lambda: all(status.is_ready(alone.url(service)) for service in ("registry", "gateway")))
    gateway = alone.url("gateway")
    officer = {"role": "community_officer", "region": "350582005"}
    token = str(ask(f"{gateway}/gateway/v1/development/tokens", **officer)["access_token"])
    person = {"name": "张三丰", "document_number": "003582199003070019", "region": "350582005001", "household": "H1"}
    ask(f"{gateway}/registry/v1/residents", token, **person)
    until(lambda: _codes(alone) == 1)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
        events = [json.loads(line)["event"] for line in said.splitlines()]
        assert "FANGXIAN_PRODUKTION is not a setting and has no effect; did you mean FANGXIAN_PRODUCTION?" in events


def _codes(alone: Alone) -> int:
    async def count() -> int:
        connection = await asyncpg.connect(alone.servers.owner_url)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM gateway.codes"))
        finally:
            await connection.close()

    return asyncio.run(count())


NEEDED = {"FANGXIAN_DATABASE_URL": "postgresql://db/fangxian", "FANGXIAN_REDIS_URL": "redis://", "FANGXIAN_KEYS": "/no"}


@pytest.mark.parametrize(
    ("words", "environment", "sentence"),
    [
        (("serve", "nobody"), NEEDED, "There is no service nobody. "),
        (("work", "testing"), {}, "The settings are wrong:\n- FANGXIAN_DATABASE_URL: is missing, as in 'postgresql://"),
        (
            ("serve", "testing"),
            NEEDED | {"FANGXIAN_PRODUCTION": "true"},
            "The settings are wrong:\n- FANGXIAN_PRODUCTION needs ",
        ),
        (("work", "testing"), NEEDED, "Keys are missing in /no (own.jwk, "),
        (
            ("migrate", "--keys", "/no"),
            {},
            "Set DATABASE_URL to the address of the database, with the login of its owner.",
        ),
        (("migrate", "--keys", "/no"), {"DATABASE_URL": "postgresql://db/x"}, "/no/database-registry.password cannot"),
    ],
    ids=["unknown service", "nothing set", "not for production", "no keys", "no database", "no passwords"],
)
def test_what_is_missing_is_one_sentence(
    run: Run, words: tuple[str, ...], environment: dict[str, str], sentence: str
) -> None:
    done = run(*words, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(sentence)
    assert "Traceback" not in done.stderr


def test_a_password_in_the_address_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deploy import alone, keys

    keys.make(tmp_path / "keys")
    monkeypatch.setenv("FANGXIAN_KEYS", str(tmp_path / "keys" / "testing"))
    monkeypatch.setenv("FANGXIAN_REDIS_URL", "redis://cache/0")
    password = secret_files.read(tmp_path / "keys" / "owner" / "database-testing.password")
    for given, expected in (
        ("postgresql://me:mine@db/fangxian", "postgresql://me:mine@db/fangxian"),
        ("postgresql://me@db:6432/fangxian", f"postgresql://me:{password}@db:6432/fangxian"),
        ("postgresql://db/fangxian", f"postgresql://fangxian_testing:{password}@db/fangxian"),
    ):
        monkeypatch.setenv("FANGXIAN_DATABASE_URL", given)
        assert alone.settings_of("testing").database_url.get_secret_value() == expected


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        (
            asyncpg.DiskFullError("could not extend file"),
            "The disk of the database is full. Make room and start again.",
        ),
        (
            asyncpg.InsufficientPrivilegeError("permission denied to create role\nCONTEXT: …"),
            "The database could not be migrated to this version: permission denied to create role.",
        ),
    ],
    ids=["disk full", "not allowed"],
)
def test_what_the_database_refuses_is_one_sentence(
    refused: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> None:
        try:
            raise refused
        except asyncpg.PostgresError as cause:
            said = Exception(f"{type(cause)}: {cause}")
            said.__cause__ = cause  # as SQLAlchemy's driver has it
            raise DBAPIError("CREATE …", None, said) from said

    monkeypatch.setattr("migrations.version_problem", refuse)
    with pytest.raises(Trouble) as trouble:
        up.migrate("postgresql:///fangxian", {})
    assert str(trouble.value) == sentence


def test_the_owner_of_the_database_need_be_no_superuser(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    """CREATEROLE and a database of one's own suffice, as on servers that others run; no scope still sees nothing."""
    place = f"postgresql:///theirs?{alone.servers.owner_url.partition('?')[2]}"
    keys = alone.place / "state" / "keys"

    async def hire() -> None:
        connection = await asyncpg.connect(alone.servers.owner_url)
        await connection.execute("CREATE ROLE chief LOGIN CREATEROLE PASSWORD 'modest'")
        await connection.execute("CREATE DATABASE theirs OWNER chief")
        await connection.close()

    async def regions_seen() -> int:
        engine = engine_of(settings_of("registry"))
        async with engine.connect() as connection:
            await connection.execute(text("SET ROLE fangxian_registry_staff"))
            seen = (await connection.execute(text("SELECT count(*) FROM regions"))).scalar_one()
        await engine.dispose()
        return int(seen)

    asyncio.run(hire())
    assert alone.run("keys", "make", str(keys))[0] == 0
    owner = {"DATABASE_URL": as_role(place, "chief", "modest")}
    assert alone.run("migrate", "--keys", str(keys / "owner"), **owner) == (
        0,
        "The database is at the installed version.\n",
    )
    for name, value in alone.environment("registry").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FANGXIAN_DATABASE_URL", place)
    assert asyncio.run(regions_seen()) == 0
