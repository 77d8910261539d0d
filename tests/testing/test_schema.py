"""The schema of testing: models and migrations agree, the way back works, and who may do what."""

import asyncio
import os
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

import migrations
from migrations.metadata import differences
from tests.harness import PASSWORDS, Database, District


async def test_models_and_migrations_agree(district: District) -> None:
    engine = create_async_engine(make_url(district.database.owner_url).set(drivername="postgresql+asyncpg"))
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(lambda sync: differences(sync, "testing")) == []
    finally:
        await engine.dispose()


def test_the_way_back_and_forth(database: Database, tmp_path: Path, worker_id: str) -> None:
    owner_url = os.environ["FANGXIAN_TEST_OWNER_URL"]
    with Database.cloned(owner_url, database.redis_url, f"way_back_{worker_id}", tmp_path) as own:
        migrations.downgrade(own.owner_url, "testing", "base")
        assert asyncio.run(_tables(own.owner_url)) == set()
        migrations.upgrade(own.owner_url, PASSWORDS)
        assert "tubes" in asyncio.run(_tables(own.owner_url))


async def _tables(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("""
            SELECT tablename FROM pg_tables
            WHERE schemaname = 'testing' AND tablename IN ('people', 'campaigns', 'tubes', 'boxes', 'retests')
        """)
        return {row["tablename"] for row in rows}
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "table",
    [
        "people",
        "observed",
        "campaign_people",
        "rolls",
        "tubes",
        "samples",
        "refused_samples",
        "boxes",
        "results",
        "retests",
    ],
)
async def test_every_table_with_people_is_behind_a_policy(district: District, table: str) -> None:
    [[secured]] = await district.sql(
        "SELECT relrowsecurity FROM pg_class WHERE oid = ('testing.' || $1)::regclass", table
    )
    assert secured
    doors = await district.sql(
        "SELECT FROM information_schema.role_table_grants WHERE grantee = 'fangxian_testing_door' AND table_name = $1",
        table,
    )
    assert doors == []
