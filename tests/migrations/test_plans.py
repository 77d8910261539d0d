"""Scope is found by an index: who may see a part never pays for reading the whole."""

import re

import asyncpg
import pytest

from deploy.bench.paths.scope import ENTER, plan_of
from shared.core.regions import range_of
from shared.core.settings import SERVICES, Service
from shared.database.engine import group_of
from tests.harness import District

# Every table whose rows staff see by their region, and so every one they list. Where a policy lets them see all rows,
# there is no scope to pay for.
SCOPED = """
    SELECT relname FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'region'
    WHERE relnamespace = $1::text::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND relrowsecurity
      AND has_table_privilege($2, c.oid, 'SELECT')
      AND NOT EXISTS (
          SELECT FROM pg_policies WHERE schemaname = $1 AND tablename = relname AND $2 = ANY (roles) AND qual = 'true')
    ORDER BY 1
"""


NEVER_LISTED = {
    "legal_holds": "looked up by whom they hold",
    "results": "looked up by their tube",
    "samples": "looked up by their tube or their person",
    "code_changes": "looked up by whose code it is",
}
"""Tables whose rows no operation lists by scope alone: an index of regions would only slow what writes them."""


PAGED = f"""
    {SCOPED.replace("ORDER BY 1", "")}
      AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'seq')
      AND relname NOT IN ('proposals', 'jobs', 'campaign_people')
    ORDER BY 1
"""
"""Those that are listed a page at a time; of proposals and jobs there are few, and people are
expected in one round at a time, which has an index of its own."""


# What tests before this one have left in the statistics decides between indexes that both begin with few values.
FORGET_STATISTICS = """
    DELETE FROM pg_statistic USING pg_class AS c WHERE starelid = c.oid AND relnamespace = '{schema}'::regnamespace;
    SELECT pg_clear_relation_stats('{schema}', relname) FROM pg_class
    WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'i')
"""


async def plans(district: District, service: Service, tables: str = SCOPED, order: str = "") -> dict[str, list[str]]:
    """How each of a service's tables is read by staff, were it large: empty ones are quicker read whole."""
    staff = group_of(service, "staff")
    names = [row["relname"] for row in await district.sql(tables, service, staff)]
    database = await asyncpg.connect(district.database.owner_url)
    try:
        async with database.transaction():
            await database.execute(FORGET_STATISTICS.format(schema=service))
            await database.execute("SET LOCAL enable_seqscan = off")
            if order:  # what could be read in order is, but for tables as small as here
                await database.execute("SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off")
            await database.fetch(ENTER, staff, *range_of("350582005001"))
            return {name: await plan_of(database, f"SELECT * FROM {service}.{name} {order}") for name in names}
    finally:
        await database.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_staff_read_every_table_by_the_index_of_its_region(district: District, service: Service) -> None:
    found = await plans(district, service)
    assert len(found) >= 5, found
    slow = {table: nodes for table, nodes in found.items() if "Seq Scan" in nodes or "region" not in str(nodes)}
    assert slow.keys() <= NEVER_LISTED.keys(), slow


@pytest.mark.parametrize("service", SERVICES)
async def test_staff_page_within_the_range_of_their_scope(district: District, service: Service) -> None:
    """Neither is sorted what the scope holds, nor walked what it does not."""
    found = await plans(district, service, PAGED, "ORDER BY region, seq LIMIT 50")
    assert len(found) >= 3, found
    for table, nodes in found.items():
        assert "Sort" not in nodes, (table, nodes)
        assert re.fullmatch(r"Index Scan \((region_taken|.*_region_seq_idx)\)", nodes[-1]), (table, nodes)


async def test_a_table_without_that_index_is_found(district: District) -> None:
    await district.sql("ALTER INDEX registry.residents_region_seq_idx RENAME TO hidden")
    await district.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'registry.hidden'::regclass")
    try:
        assert (await plans(district, "registry"))["residents"] == ["Seq Scan"]
    finally:
        await district.sql("UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'registry.hidden'::regclass")
        await district.sql("ALTER INDEX registry.hidden RENAME TO residents_region_seq_idx")
