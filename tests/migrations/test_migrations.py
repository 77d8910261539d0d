"""Migrations: up, down, and in agreement with the models; roles that own nothing and reach one schema only."""

import asyncio
from contextlib import suppress

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

import migrations
from migrations.metadata import differences
from shared.core.ids import new_id
from shared.core.settings import SERVICES, Service
from shared.database.engine import AUDIT_ROLES, GROUP_ROLES, group_of
from tests.harness import PASSWORDS, Database, District
from tests.observation.feeds import publish_to_observation, resident, tube


@pytest.mark.parametrize("service", SERVICES)
async def test_models_and_migrations_agree(database: Database, service: Service) -> None:
    engine = create_async_engine(database.owner_url.replace("postgresql:", "postgresql+asyncpg:", 1))
    async with engine.connect() as connection:
        found = await connection.run_sync(lambda sync: differences(sync, service))
        assert found == [], "\n\n".join(found)
    await engine.dispose()


async def test_what_the_migrations_lack_is_said_in_sql(database: Database) -> None:
    engine = create_async_engine(database.owner_url.replace("postgresql:", "postgresql+asyncpg:", 1))
    async with engine.connect() as connection:  # and never committed
        await connection.execute(text("ALTER TABLE registry.proxies DROP CONSTRAINT proxy_self"))
        await connection.execute(text("DROP INDEX registry.proxies_region_seq_idx"))
        await connection.execute(text("DROP TABLE registry.birthdays"))
        found = await connection.run_sync(lambda sync: differences(sync, "registry"))
    await engine.dispose()
    assert "the migrations lack CONSTRAINT proxy_self CHECK of proxies" in found
    assert "the migrations lack\nCREATE INDEX proxies_region_seq_idx ON registry.proxies (region, seq);" in found
    assert any(one.startswith("the migrations lack\nCREATE TABLE registry.birthdays") for one in found)
    assert len(found) == 3


async def test_every_schema_goes_down_to_nothing_and_up_again(database: Database) -> None:
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute("DROP DATABASE IF EXISTS down_and_up WITH (FORCE)")
    await owner.execute("CREATE DATABASE down_and_up")
    name = database.owner_url.split("/")[3].split("?")[0]
    url = database.owner_url.replace(f"/{name}?", "/down_and_up?", 1)
    try:
        await asyncio.to_thread(migrations.upgrade, url, PASSWORDS)
        for service in SERVICES:
            await asyncio.to_thread(migrations.downgrade, url, service, "base")
        other = await asyncpg.connect(url)
        left = await other.fetch(
            """
            SELECT relname FROM pg_class WHERE relnamespace = ANY($1::regnamespace[]) AND relname !~ '^alembic_version'
            """,
            list(SERVICES),
        )
        functions = await other.fetch(
            "SELECT proname FROM pg_proc WHERE pronamespace = ANY($1::regnamespace[])", list(SERVICES)
        )
        await other.close()
        assert (left, functions) == ([], [])
        await asyncio.to_thread(migrations.upgrade, url, PASSWORDS)
        assert await asyncio.to_thread(migrations.pending, url) == []
        assert await asyncio.to_thread(migrations.version_problem, url) is None
    finally:
        await owner.execute("DROP DATABASE down_and_up WITH (FORCE)")
        await owner.close()


async def test_a_newer_database_is_recognised(district: District) -> None:
    (known,) = await district.sql("SELECT version_num FROM testing.alembic_version")
    await district.sql("UPDATE testing.alembic_version SET version_num = '9999'")
    try:
        problem = await asyncio.to_thread(migrations.version_problem, district.database.owner_url)
    finally:
        await district.sql("UPDATE testing.alembic_version SET version_num = $1", known["version_num"])
    assert problem is not None
    assert "testing 9999" in problem


@pytest.mark.parametrize("service", SERVICES)
async def test_a_login_sees_nothing_by_itself_and_never_another_schema(database: Database, service: Service) -> None:
    connection = await asyncpg.connect(database.url_of(service))
    try:
        for schema in SERVICES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {schema}.feed LIMIT 1")
        for role in GROUP_ROLES:
            await connection.execute(f"SET ROLE {group_of(service, role)}")
            for schema in SERVICES:
                if schema != service:
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await connection.fetch(f"SELECT * FROM {schema}.feed_epochs")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"CREATE TABLE {service}.mine ()")
            await connection.execute("RESET ROLE")
        for other in SERVICES:
            if other != service:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(f"SET ROLE {group_of(other, 'system')}")
    finally:
        await connection.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_runtime_roles_own_nothing(district: District, service: Service) -> None:
    owned = await district.sql(
        """
        SELECT relname FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner
        WHERE starts_with(rolname, 'fangxian_' || $1)
        """,
        service,
    )
    assert owned == []


async def test_every_table_with_a_region_is_guarded_row_by_row(district: District) -> None:
    """A table with regions has row-level security, unless it is the feed's own, which only the system reads."""
    open_tables = await district.sql(
        """
        SELECT format('%s.%s', nspname, relname) AS name
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'region'
        WHERE nspname = ANY($1) AND relkind IN ('r', 'p') AND NOT relispartition AND NOT relrowsecurity
          AND relname NOT IN ('feed', 'feed_parked')
        """,
        list(SERVICES),
    )
    assert [row["name"] for row in open_tables] == []


GUARDED = """
    SELECT format('%s.%s', relnamespace::regnamespace, relname) AS name FROM pg_class
    WHERE relnamespace = $1::text::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND relrowsecurity
    ORDER BY 1
"""
OF_ALL = {"registry.regions", "observation.protocols", "gateway.policies"}
SEEN_WITHOUT_A_SCOPE = {("door", "gateway.codes"), *((role, "audit") for role in ("sealer", "system"))}
"""A door looks up whoever stands before it; the sealer chains every entry, and of each the system sees its place."""


@pytest.mark.parametrize("has_default", [True, False], ids=["as its role begins", "never set"])
async def test_a_forgotten_scope_sees_nothing(district: District, has_default: bool) -> None:
    """Neither as the login role begins, nor where whoever owns the database could give it no empty scope."""
    case, home = new_id(), new_id()
    await publish_to_observation(district, resident(case, home), resident(new_id(), home))
    await publish_to_observation(district, tube(new_id(), [case], "positive"))
    await district.settle()
    seen, full = set(), set()
    for service in SERVICES:
        url = district.database.url_of(service) if has_default else district.database.owner_url
        connection = await asyncpg.connect(url)
        try:
            for row in await district.sql(GUARDED, service):
                if (await district.sql(f"SELECT EXISTS (SELECT FROM {row['name']}) AS full"))[0]["full"]:
                    full.add(row["name"])
                for role in (*GROUP_ROLES, *AUDIT_ROLES):
                    await connection.execute(f"SET ROLE {group_of(service, role)}")
                    with suppress(asyncpg.PostgresError):  # it may not, or misses its scope
                        if await connection.fetchval(f"SELECT count(*) FROM {row['name']}"):
                            seen.add((role, "audit" if row["name"].endswith(".audit") else row["name"]))
                    await connection.execute("RESET ROLE")
        finally:
            await connection.close()
    assert {(role, table) for role, table in seen if table not in OF_ALL} <= SEEN_WITHOUT_A_SCOPE
    assert {"observation.referrals", "observation.orders", "gateway.codes", "gateway.facts"} <= full
