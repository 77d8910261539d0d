"""Which problem an exception of the database or the network is, with a real database that really fails."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import redis.exceptions
import sqlalchemy.exc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.http.failures import account_of, is_transient, problem_of
from shared.problems import (
    Conflict,
    Forbidden,
    InternalError,
    LocalizedText,
    NotFound,
    Problem,
    Unavailable,
    UnstorableInput,
    UpstreamFailed,
    UpstreamTimeout,
)
from tests.harness import Database


class BoxFull(Problem):
    """A problem of these tests."""

    status = 409
    code = "test_box_full"
    title = LocalizedText(zh="箱子已满", en="The box is full")
    fix = LocalizedText(zh="请换 {number}", en="Use {number}")


@pytest.fixture
def url(database: Database) -> str:
    return database.owner_url


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    address = url.replace("postgresql:", "postgresql+asyncpg:", 1)
    made = create_async_engine(address, pool_size=1, max_overflow=0, pool_timeout=0.1)
    yield made
    await made.dispose()


TABLES = """
CREATE TEMP TABLE box (
    id int PRIMARY KEY, small smallint, day date, name text, parent int REFERENCES box,
    CONSTRAINT test_box_full CHECK (small < 10), CONSTRAINT unnamed CHECK (small > -10)
);
CREATE TEMP TABLE part (id int, day date, CHECK (id < 10)) PARTITION BY RANGE (day);
CREATE TEMP TABLE part_1 PARTITION OF part FOR VALUES FROM ('2022-01-01') TO ('2022-02-01');
CREATE UNIQUE INDEX part_1_test_box_full ON part_1 (id);
INSERT INTO part VALUES (1, '2022-01-02');
INSERT INTO box VALUES (1);
"""

STATEMENTS: list[tuple[str, dict[str, Any], type[Problem]]] = [
    ("INSERT INTO box (id, small) VALUES (2, 12)", {}, BoxFull),
    ("INSERT INTO part VALUES (1, '2022-01-03')", {}, BoxFull),
    ("INSERT INTO box (id) VALUES (1)", {}, Conflict),
    ("INSERT INTO box (id, parent) VALUES (2, 7)", {}, Conflict),
    ("INSERT INTO box (id, small) VALUES (2, -12)", {}, InternalError),
    ("INSERT INTO box (id) VALUES (NULL)", {}, InternalError),
    ("INSERT INTO box (id, name) VALUES (2, :name)", {"name": "Chen\0"}, UnstorableInput),
    ("INSERT INTO box (id, name) VALUES (2, :name)", {"name": "Chen\ud800"}, UnstorableInput),
    ("INSERT INTO box (id) VALUES (:id)", {"id": 2**40}, UnstorableInput),
    ("INSERT INTO box (id, small) VALUES (2, 70000)", {}, UnstorableInput),
    ("INSERT INTO box (id, day) VALUES (2, '2022-02-30')", {}, UnstorableInput),
    ("INSERT INTO box (id) VALUES (:id)", {"id": "Chen"}, InternalError),
    ("SELECT nothing FROM nowhere", {}, InternalError),
    ("SELECT 1/0", {}, InternalError),
    ("SET LOCAL statement_timeout = 20; SELECT pg_sleep(5)", {}, Unavailable),
    ("SELECT pg_terminate_backend(pg_backend_pid())", {}, Unavailable),
    ("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40P01'; END $$", {}, Unavailable),
    ("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40001'; END $$", {}, Unavailable),
    ("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '53300'; END $$", {}, Unavailable),
    ("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '25P04'; END $$", {}, Unavailable),
    ("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '42501'; END $$", {}, InternalError),
    (
        "DO $$ BEGIN RAISE EXCEPTION 'new row violates row-level security policy' USING ERRCODE = '42501'; END $$",
        {},
        Forbidden,
    ),
]


async def run_all(connection: AsyncConnection, sql: str, values: dict[str, Any]) -> None:
    for statement in sql.split("; ") if sql.startswith("SET") else [sql]:
        await connection.execute(text(statement), values)


@pytest.mark.parametrize(("sql", "values", "kind"), STATEMENTS)
async def test_what_the_database_says(
    engine: AsyncEngine, sql: str, values: dict[str, Any], kind: type[Problem]
) -> None:
    async with engine.connect() as connection:
        for statement in TABLES.split(";\n"):
            await connection.execute(text(statement or "SELECT 1"))
        with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
            await run_all(connection, sql, values)
    problem = problem_of(caught.value)
    assert type(problem) is kind
    assert is_transient(caught.value) is (kind is Unavailable)
    assert problem.body("en")["status"] == kind.status
    assert "Chen" not in str(account_of(caught.value))


async def test_the_driver_itself_is_understood(url: str) -> None:
    connection = await asyncpg.connect(url)
    with pytest.raises(asyncpg.PostgresError) as caught:
        await connection.execute(
            "CREATE TEMP TABLE b (i int CONSTRAINT test_box_full CHECK (i < 1)); INSERT INTO b VALUES (2)"
        )
    assert type(problem_of(caught.value)) is BoxFull
    assert account_of(caught.value)["constraint_name"] == "test_box_full"
    await connection.close()
    with pytest.raises(asyncpg.InterfaceError) as closed:
        await connection.fetch("SELECT 1")
    assert is_transient(closed.value)


async def test_a_deadlock_is_transient(url: str) -> None:
    one, two = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        for connection, key in ((one, 11), (two, 12)):
            await connection.execute(f"BEGIN; SET LOCAL deadlock_timeout = '50ms'; SELECT pg_advisory_xact_lock({key})")
        crossed = [one.execute("SELECT pg_advisory_xact_lock(12)"), two.execute("SELECT pg_advisory_xact_lock(11)")]
        failed = [
            error for error in await asyncio.gather(*crossed, return_exceptions=True) if isinstance(error, Exception)
        ]
    finally:
        await one.close()
        await two.close()
    assert [type(problem_of(error)) for error in failed] == [Unavailable]


async def test_a_pool_without_a_free_connection_is_transient(engine: AsyncEngine) -> None:
    async with engine.connect():
        with pytest.raises(sqlalchemy.exc.TimeoutError) as caught:
            await engine.connect()
    assert is_transient(caught.value)


async def test_a_stopped_server_is_transient(tmp_path: Path) -> None:
    for address in (f"postgresql+asyncpg://u:p@/d?host={tmp_path}", "postgresql+asyncpg://u:p@127.0.0.1:9/d"):
        engine = create_async_engine(address)
        with pytest.raises((OSError, sqlalchemy.exc.DBAPIError)) as caught:
            await engine.connect()
        assert is_transient(caught.value), address


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError(2, "no such file"), InternalError),
        (PermissionError(13, "no"), InternalError),
        (ConnectionResetError(), Unavailable),
        (OSError(113, "no route"), Unavailable),
        (TimeoutError(), Unavailable),
        (redis.exceptions.ConnectionError(), Unavailable),
        (httpx.ConnectError("no"), UpstreamFailed),
        (httpx.ReadTimeout("no"), UpstreamTimeout),
        (ExceptionGroup("one", [ExceptionGroup("in", [NotFound()])]), NotFound),
        (ExceptionGroup("two", [NotFound(), NotFound()]), InternalError),
        (KeyError("Chen"), InternalError),
    ],
)
def test_other_exceptions(error: Exception, kind: type[Problem]) -> None:
    assert type(problem_of(error)) is kind


def test_what_led_to_an_exception_counts() -> None:
    outer = RuntimeError("gave up")
    outer.__cause__ = ConnectionResetError()
    assert is_transient(outer)
    failed_check = AssertionError("not declared")
    failed_check.__cause__ = NotFound()
    assert type(problem_of(failed_check)) is InternalError
