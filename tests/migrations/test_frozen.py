"""Versions are frozen: none changes once it is merged, and none depends on what may change."""

import ast
import hashlib
import json
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

import migrations
from migrations.roles import FACTS
from migrations.scripts import execute_script, run_script
from services.gateway.codes import policy
from shared.core.settings import SERVICES, Service
from tests.harness import Database, District

T = TypeVar("T")

ROOT = Path(migrations.__file__).parent
FILES = {
    str(path.relative_to(ROOT)): path
    for folder in ("common", *(f"{service}/versions" for service in SERVICES))
    for path in (ROOT / folder).iterdir()
    if path.is_file()
}
MAY_BE_IMPORTED = {"alembic", "sqlalchemy", "migrations.scripts"} | sys.stdlib_module_names


def test_no_version_changes_once_it_is_merged() -> None:
    lines = (ROOT / "frozen.sha256").read_text("utf-8").splitlines()
    frozen = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    changed = [name for name, digest in frozen.items() if name not in FILES or digest_of(FILES[name]) != digest]
    assert changed == [], "a database may have been made by it: write a new version"
    assert sorted(FILES.keys() - frozen.keys()) == [], "add the new version as docs/adding-a-capability.md says"
    assert {f"{service}/versions/0001_baseline.sql" for service in SERVICES} <= frozen.keys()


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith(".py")))
def test_a_version_imports_nothing_that_may_change(name: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse(FILES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or ".")
    assert imported, "without an import it does nothing"
    assert imported - MAY_BE_IMPORTED == set()


async def test_the_first_documents_are_those_of_the_services(district: District) -> None:
    """Versions have copies of their own, because the services' files may move or change their form."""
    (first,) = await district.sql("SELECT document FROM gateway.policies WHERE version = 1")
    assert json.loads(first["document"]) == policy.first().model_dump(mode="json")
    shipped = (files("services.observation.protocols") / "protocol_1.json").read_text("utf-8")
    (first,) = await district.sql("SELECT document FROM observation.protocols WHERE number = 1")
    assert json.loads(first["document"]) == json.loads(shipped)


@pytest.mark.parametrize("service", SERVICES)
async def test_every_policy_says_what_may_be_written(district: District, service: Service) -> None:
    """PostgreSQL would take USING for both. A reader should not have to know that."""
    rows = await district.sql(
        """
        SELECT format('%s on %s', policyname, tablename) AS name, with_check FROM pg_policies
        WHERE schemaname = $1 AND cmd IN ('ALL', 'INSERT', 'UPDATE')
        """,
        service,
    )
    assert len(rows) > 5
    assert [row["name"] for row in rows if row["with_check"] is None] == []


@pytest.mark.parametrize("service", SERVICES)
async def test_what_purges_is_no_statement_made_of_texts(district: District, service: Service) -> None:
    rows = await district.sql(
        r"""
        SELECT proname, prosrc, proacl::text[] AS acl FROM pg_proc
        WHERE pronamespace = $1::text::regnamespace AND proname LIKE 'purge\_%'
        """,
        service,
    )
    kinds = await district.sql(f"SELECT kind FROM {service}.retention_periods")
    assert {row["proname"] for row in rows} == {f"purge_{row['kind']}" for row in kinds}
    assert [row["proname"] for row in rows if "execute" in row["prosrc"].lower()] == []
    who = {entry.partition("=")[0] for row in rows for entry in row["acl"]}
    assert who == {"fangxian_owner", f"fangxian_{service}_system"}


# Scripts and roles ----------------------------------------------------------------------------------------------------


async def on_a_connection(database: Database, act: Callable[[Connection], T]) -> T:
    """Act as the owner, and commit nothing."""
    engine = create_async_engine(database.owner_url.replace("postgresql:", "postgresql+asyncpg:", 1))
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(act)
    finally:
        await engine.dispose()


async def test_a_script_of_many_statements_is_part_of_the_transaction(district: District) -> None:
    script = """
        CREATE TABLE public.first (at timestamptz);
        CREATE FUNCTION public.second() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$;
    """
    found = text("SELECT to_regclass('public.first') IS NOT NULL AND to_regproc('public.second') IS NOT NULL")

    def act(connection: Connection) -> bool:
        execute_script(connection, script)
        return bool(connection.execute(found).scalar())

    assert await on_a_connection(district.database, act)
    (row,) = await district.sql("SELECT to_regclass('public.first') IS NULL AS is_gone")
    assert row["is_gone"]


async def test_an_error_in_a_script_names_its_line(database: Database, tmp_path: Path) -> None:
    script = tmp_path / "script.sql"
    script.write_text("SELECT 1;\nSELECT 2;\nSELECT '{schema}', nothing;\n", encoding="utf-8")

    def act(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            run_script(str(script), schema="registry")

    with pytest.raises(asyncpg.UndefinedColumnError) as caught:
        await on_a_connection(database, act)
    assert [note.rpartition(", ")[2] for note in caught.value.__notes__] == ["line 3"]


async def test_passwords_of_any_characters_are_quoted_by_the_server(database: Database) -> None:
    passwords = ["plain", "it's", 'back\\slash "quoted"', "'; DROP SCHEMA registry; --", "汉字"]

    def act(connection: Connection) -> list[str]:
        quoted = connection.execute(FACTS, {"parameters": [], "passwords": passwords}).one().passwords
        return [connection.exec_driver_sql(f"SELECT {literal}").scalar_one() for literal in quoted]

    assert await on_a_connection(database, act) == passwords
