"""What doctor finds in a database and on a machine: each thing that goes wrong is named, with what to do."""

import asyncio
import importlib.util
import itertools
import os
import shutil
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest
from typer.testing import CliRunner

from deploy import data, doctor, feed, variables
from deploy.cli import app
from deploy.doctor import database as checks
from deploy.doctor.finding import Finding
from deploy.up import Installation, Options
from shared.core.settings import SERVICES
from tests.harness import Database

Examine = Callable[[], dict[str, Finding]]

FEED = """
    INSERT INTO registry.feed (at, epoch, type, subject, version, region, change, urgent, data)
    SELECT now() - interval '2 minutes', 1, 'registry.resident.v1', gen_random_uuid(), 1, '350582005001', '', false,
        '{}' FROM generate_series(1, 3)
"""
SILENT = "; ".join(
    f"UPDATE {reader}.feed_cursors SET moved_at = now() - interval '2 minutes' WHERE owner = 'registry'"
    for reader in ("testing", "observation", "gateway")
)
PARK = """
    INSERT INTO testing.feed_parked (type, subject, version, region, data, error)
    VALUES ('registry.resident.v1', gen_random_uuid(), 1, '350582005001', '{}', 'ValueError')
"""


def execute(database: Database, *statements: str) -> None:
    async def act() -> None:
        connection = await asyncpg.connect(database.owner_url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(act())


@pytest.fixture
def sound(database: Database) -> Iterator[Database]:
    """A database of this version whose feeds have just been read, with nothing in them."""

    def empty() -> None:
        for service in SERVICES:
            execute(database, *(f"DELETE FROM {service}.{table}" for table in ("feed", "feed_parked", "feed_cursors")))

    empty()
    for service in SERVICES:
        for owner in feed.read_by(service):
            execute(
                database,
                f"INSERT INTO {service}.feed_cursors (owner, lane, cursor, moved_at) "
                f"VALUES ('{owner}', 'urgent', '1.0.0', now()), ('{owner}', 'normal', '1.0.0', now())",
            )
    yield database
    empty()


@pytest.fixture
def examine(sound: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examine:
    for name in [name for name in os.environ if name.startswith(variables.PREFIX)]:  # the tests' own
        monkeypatch.delenv(name)
    options = Options(data=tmp_path / "data", database_url=sound.owner_url, redis_url=sound.redis_url)
    return lambda: {finding.name: finding for finding in doctor.examine(options)}


def test_nothing_is_wrong_with_a_sound_installation(examine: Examine) -> None:
    wrong = {name: finding.result for name, finding in examine().items() if not finding.is_ok}
    assert wrong == {"durability": "fsync, full_page_writes off"}  # the tests' server is in a hurry, and is told so


@pytest.mark.parametrize(
    ("what", "statement", "found", "mend"),
    [
        ("workers", "UPDATE testing.feed_cursors SET moved_at = now() - interval '2 minutes'", "testing", "-worker`"),
        (
            "workers",
            SILENT,
            "waiting for registry, which does not answer",
            "read `fangxian logs registry`",
        ),
        ("workers", "DELETE FROM observation.feed_cursors", "not reading: observation", "logs observation-worker"),
        ("feeds", FEED, "gateway is 3 entries behind registry (normal)", "feed lag"),
        ("parked", PARK, "1 entries could not be processed", "feed retry"),
    ],
    ids=["a worker has stopped", "an owner is silent", "a worker never ran", "a worker is late", "something is parked"],
)
def test_what_is_wrong_with_the_feeds(
    sound: Database, examine: Examine, what: str, statement: str, found: str, mend: str
) -> None:
    execute(sound, statement)
    finding = examine()[what]
    assert not finding.is_ok
    assert found in finding.result
    assert mend in finding.remedy


def test_the_lag_is_shown_as_an_age(sound: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation = Installation(data.at(tmp_path), Options(tmp_path), sound.owner_url, sound.redis_url, ())
    monkeypatch.setattr("deploy.commands.feed.installed", lambda _: installation)
    execute(sound, FEED)
    said = CliRunner().invoke(app, ["feed", "lag"]).stdout
    rows = {tuple(row[:3]): row[3:] for row in map(str.split, said.splitlines())}
    assert rows["gateway", "registry", "normal"][:3] == ["3", "2", "min"]
    assert rows["gateway", "registry", "urgent"] == ["0", "0", "s"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("DELETE FROM registry.alembic_version", "registry behind this version"),
        ("UPDATE registry.alembic_version SET version_num = '9999'", "made by a newer version"),
    ],
    ids=["behind", "ahead"],
)
def test_a_database_of_another_version(sound: Database, examine: Examine, change: str, found: str) -> None:
    execute(sound, "CREATE TABLE public.kept AS SELECT version_num FROM registry.alembic_version")
    try:
        execute(sound, change)
        findings = examine()
    finally:
        execute(
            sound,
            "DELETE FROM registry.alembic_version",
            "INSERT INTO registry.alembic_version SELECT version_num FROM public.kept",
            "DROP TABLE public.kept",
        )
    assert not findings["migrations"].is_ok
    assert found in findings["migrations"].result
    assert "parked" not in findings


def test_a_transaction_that_holds_up_the_feeds(
    sound: Database, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "LONGEST_TRANSACTION_SECONDS", 0.0)

    async def hold() -> dict[str, Finding]:
        connection = await asyncpg.connect(sound.owner_url)
        async with connection.transaction():
            await connection.execute("SELECT pg_current_xact_id()")
            found = await asyncio.to_thread(examine)
        await connection.close()
        return found

    finding = asyncio.run(hold())["transactions"]
    assert not finding.is_ok
    assert "pg_stat_activity" in finding.remedy


@pytest.mark.parametrize("skew", [-3.0, 3.0], ids=["behind", "ahead"])
def test_a_clock_that_differs_from_the_database(examine: Examine, monkeypatch: pytest.MonkeyPatch, skew: float) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + skew)
    finding = examine()["clocks"]
    assert not finding.is_ok
    assert "NTP" in finding.remedy


def test_a_slow_database_is_no_wrong_clock(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    right, skews = time.time, itertools.chain([-5.0], itertools.repeat(5.0))
    monkeypatch.setattr(checks, "time", SimpleNamespace(time=lambda: right() + next(skews)))
    assert examine()["clocks"].is_ok


@pytest.mark.parametrize(
    ("free", "found"), [(1 << 30, "1.0 GB free"), (100 << 20, "is full")], ids=["nearly full", "full"]
)
def test_a_disk_that_fills(examine: Examine, monkeypatch: pytest.MonkeyPatch, free: int, found: str) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 40, 0, free))
    finding = examine()["disk"]
    assert not finding.is_ok
    assert found in finding.result
    assert "make room" in finding.remedy


@pytest.mark.parametrize("installed", [True, False], ids=["installed", "not installed"])
def test_traces_that_are_wanted(examine: Examine, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    if not installed:
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *more: None if "opentelemetry" in name else find(name, *more)
        )
    assert examine()["traces"].is_ok is installed
