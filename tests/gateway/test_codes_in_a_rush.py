"""G2: a positive turns codes while the codes of many new residents are being written."""

import asyncio

import asyncpg

from services.gateway.worker import WORKER
from shared.core.ids import new_id
from shared.feed.reader import Reader
from tests.gateway.test_codes import GRID, colours, publish, resident, tube
from tests.harness import District

WITHIN_SECONDS = 60
"""It would wait for ever: what is held up is let go of after it was looked at."""
WAITING = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'
    )
"""


async def test_a_positive_does_not_wait_for_the_codes_of_newcomers(district: District) -> None:
    known, other, newcomer = new_id(), new_id(), new_id()
    await publish(district, resident(known), resident(other))
    await publish(district, resident(newcomer), tube([known, other], "positive"), settle=False)
    await district.until_served()
    of_registry, of_testing = (
        Reader(district.contexts["gateway"], owner, WORKER.reactions) for owner in ("registry", "testing")
    )

    slow = await asyncpg.connect(district.database.owner_url)
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            held = slow.transaction()
            await held.start()
            await slow.execute(
                "INSERT INTO gateway.codes (resident_id, region, policy) VALUES ($1, $2, 1)", newcomer, GRID
            )
            writing = asyncio.create_task(of_registry.drain())
            while not await slow.fetchval(WAITING):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
            await of_testing.drain()
            assert await colours(district, [known, other]) == ["yellow", "yellow"]
            assert not writing.done()
            await held.rollback()
            await writing
    finally:
        await slow.close()
    assert await colours(district, [newcomer]) == ["green"]


async def test_who_moves_house_is_asked_for_in_the_new_place(district: District) -> None:
    person, stays = new_id(), new_id()
    await publish(district, resident(person), resident(stays))
    await publish(district, resident(person, 2, region="350582005002"), resident(stays, 2), resident(new_id()))
    rows = await district.sql("SELECT resident_id, region FROM gateway.codes")
    regions = {row["resident_id"]: row["region"] for row in rows}
    assert (regions[person], regions[stays], len(regions)) == ("350582005002", GRID, 3)
