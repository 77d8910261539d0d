"""A dump restored into a new cluster, where transaction ids begin anew: every feed goes on where it was."""

import asyncio
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import migrations
from deploy import embedded
from deploy.embedded.home import find
from deploy.embedded.programs import postgres_programs
from shared.core.settings import SERVICES
from shared.crypto import encryption
from shared.feed.reader import Reader
from shared.problems import Unavailable
from shared.runtime.context import ServiceContext
from tests.harness import PASSWORDS, Database, District
from tests.shared.test_feed import drain, held, keep, publish, resident


@pytest.fixture
def elsewhere() -> Iterator[embedded.Servers]:
    with embedded.temporary() as servers:
        yield servers


async def test_feeds_go_on_after_a_restore_into_a_new_cluster(
    district: District, elsewhere: embedded.Servers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await district.sql("CREATE TABLE testing.probe (subject uuid PRIMARY KEY, version int, region text, effects int)")
    await district.sql("GRANT ALL ON testing.probe TO fangxian_testing_system")
    read, unread, afterwards = resident(), resident(), resident()
    owner = district.contexts["registry"]
    # More transactions than the restore takes in the new cluster: each of its 3,200 statements is one.
    await district.sql("""
        CREATE PROCEDURE burn() LANGUAGE plpgsql AS $$
        BEGIN FOR i IN 1..6000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$
    """)
    await district.sql("CALL burn()")
    await district.sql("DROP PROCEDURE burn")
    await publish(owner, read)
    await drain(district, Reader(district.contexts["testing"], "registry", [keep]))
    await publish(owner, unread)

    restored = await asyncio.to_thread(_restore, district.database, elsewhere)
    await district.sql("DROP TABLE testing.probe")
    with pytest.raises(Unavailable):
        await _open_and_close(restored)
    await asyncio.to_thread(migrations.upgrade, restored.owner_url, PASSWORDS)
    try:
        async with District.running(restored) as second:
            epochs = await second.sql("SELECT epoch FROM registry.feed_epochs ORDER BY epoch")
            assert [row["epoch"] for row in epochs] == [1, 2]
            old, new = await second.sql(
                "SELECT max(xid::text::bigint) FROM registry.feed UNION ALL SELECT pg_current_xact_id()::text::bigint"
            )
            assert old[0] > new[0], "the new cluster's transaction ids are the smaller ones"
            reader = Reader(second.contexts["testing"], "registry", [keep])
            await publish(second.contexts["registry"], afterwards)
            await drain(second, reader)
            assert await held(second) == {one.id: (1, 1) for one in (read, unread, afterwards)}
    finally:
        for context in district.contexts.values():
            encryption.use(context.keyring)


def _restore(database: Database, elsewhere: embedded.Servers) -> Database:
    """As docs/running.md says: roles first, then the database."""
    programs = postgres_programs(find(_directory_of(elsewhere)))
    for command, arguments in (
        ("pg_dumpall", ["--roles-only"]),
        ("pg_dump", ["--format=plain"]),
    ):
        dump = subprocess.run(
            [programs / command, f"--dbname={database.owner_url}", *arguments], capture_output=True, check=True
        )
        # The owner exists there already, with a password of its own; every other line must succeed.
        owners = re.compile(rb"^(CREATE|ALTER) ROLE fangxian_owner\b.*$", re.MULTILINE)
        lines = owners.sub(b"", dump.stdout)
        subprocess.run(
            [programs / "psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", elsewhere.owner_url],
            input=lines,
            check=True,
            capture_output=True,
        )
    return replace(database, owner_url=elsewhere.owner_url, redis_url=elsewhere.redis_url)


def _directory_of(servers: embedded.Servers) -> Path:
    sockets = parse_qs(urlsplit(servers.owner_url).query)["host"][0]
    return Path(sockets).parent.parent


async def _open_and_close(database: Database) -> None:
    for service in SERVICES:
        context = ServiceContext.build(database.settings(service))
        try:
            await context.open()
        finally:
            await context.close()
