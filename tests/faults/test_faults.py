"""Faults in a running installation: after each nothing acknowledged is lost, nothing doubled, everything followed.

Real processes, a real PostgreSQL and a real Valkey, started by `fangxian up`. Parties send each act again until it is
acknowledged, as devices do, and the check knows only what was acknowledged. At the end publishing is switched off, and
rows are taken away and doubled by hand: each time the same check must notice, or it would be worth nothing.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from deploy.demo.population import TOWNSHIP
from shared.core.settings import SERVICES
from tests.faults.check import Differences
from tests.faults.site import PROCESSES, installed, until
from tests.faults.world import World

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

REDIS_AWAY_SECONDS = 10
TRIED_IN_VAIN = 3
HELD_SECONDS = 3


async def test_every_process_is_killed_at_some_moment(world: World) -> None:
    names = list(PROCESSES)
    world.random.shuffle(names)
    before, unacknowledged, killed = world.site.restarts(*names), world.line.unacknowledged, 0

    async def all_started_again() -> bool:
        return world.site.restarts(*names) >= before + killed

    async def kill(name: str) -> None:
        nonlocal killed
        await world.some_time(0.1, 0.8)
        await world.site.kill(name)
        killed += 1

    async def kill_each() -> None:
        """Callers wait in line while it starts again, so it is done until one of the kills meets somebody's act."""
        for name in names:
            await kill(name)
        while world.line.unacknowledged == unacknowledged:
            await until("each starts again", all_started_again)
            await kill("gateway")

    await world.during(kill_each())
    await until("each starts again", all_started_again)
    assert await world.differences() == {}
    assert world.site.restarts(*names) == before + killed, "each was killed, and none ended by itself"


async def test_redis_is_emptied_then_killed_then_paused(world: World) -> None:
    async def hurt() -> None:
        for _ in range(5):
            await world.some_time(0.1, 0.4)
            async with world.site.redis() as redis:
                await redis.flushall()
        await world.site.kill("valkey")
        async with world.site.paused("valkey"):
            await asyncio.sleep(REDIS_AWAY_SECONDS)

    await world.during(hurt())
    assert await world.differences() == {}


async def test_services_are_ready_while_redis_is_paused(world: World) -> None:
    async with world.site.paused("valkey"):
        await world.site.is_whole()


async def test_postgresql_is_killed(world: World) -> None:
    before, unacknowledged = world.site.restarts(*PROCESSES), world.line.unacknowledged

    async def kill() -> None:
        """It is back within moments, so it is killed until one of them meets somebody's act."""
        while world.line.unacknowledged == unacknowledged:
            await world.some_time(0.5, 2)
            await world.site.kill("postgres")

    await world.during(kill())
    assert await world.differences() == {}
    assert world.site.restarts(*PROCESSES) == before, "no process ends because its database is away"


async def test_a_transaction_that_began_first_and_commits_last_is_not_skipped(world: World) -> None:
    """It has changed one person before others committed, and another after: in the log both come before the others'."""
    journey = world.journey()
    await journey.until_received()
    early, late = journey.ids[-2], journey.ids[-3]
    grids = journey.community.grids

    async def hold() -> None:
        async with world.site.owner() as owner, owner.transaction():
            await _move(owner, early, grids[0])
            await journey.move(late, grids[0])
            await journey.move(late, grids[1])
            await asyncio.sleep(HELD_SECONDS)
            await _move(owner, late, grids[0])
        world.done.homes |= {early: grids[0], late: grids[0]}

    async with asyncio.TaskGroup() as group:
        group.create_task(journey.from_results())
        group.create_task(hold())
    assert await world.differences() == {}


async def test_entries_are_read_again_and_one_that_nobody_can_read_is_parked(world: World) -> None:
    async def put_back_and_poison() -> None:
        for _ in range(3):
            await world.some_time(0.5, 1.5)
            async with world.site.owner() as owner:
                for service in SERVICES:
                    await owner.execute(f"UPDATE {service}.feed_cursors SET cursor = '0.0.0'")
                await owner.execute("UPDATE gateway.webhook_cursors SET cursor = '0.0.0'")
                await _poison(world, owner, "testing.tube.v1", ("observation", "gateway"), urgent=True)
                await _poison(world, owner, "registry.resident.v1", ("testing", "observation", "gateway"))

    await world.during(put_back_and_poison())
    assert await world.differences() == {}
    code, shown = await world.site.operator("feed", "parked")
    assert code == 1, "the command says by its exit code that something is parked"
    assert all(subject in shown for _, subject in world.planned)


async def test_a_subscriber_is_away_for_a_while(world: World) -> None:
    async def be_away() -> None:
        await world.some_time(1, 2)
        world.subscriber.close()
        heard = len(world.subscriber.events)
        async with world.site.owner() as owner:

            async def in_vain() -> bool:
                failures = await owner.fetchval("SELECT max(failures) FROM gateway.webhook_endpoints")
                return bool(failures >= TRIED_IN_VAIN)

            await until(f"it is tried {TRIED_IN_VAIN} times in vain", in_vain)
        assert len(world.subscriber.events) == heard
        world.subscriber.open()

    await world.during(be_away())
    assert await world.differences() == {}


async def test_all_wake_ups_are_lost(world: World) -> None:
    await world.site.restart(FANGXIAN_WAKE_SUBSCRIBERS="false")
    await world.during()
    assert await world.differences() == {}


# The same check, where it must find something ------------------------------------------------------------------------


@dataclass(frozen=True)
class Unpublished:
    """An installation that published nothing during half a journey, and what the check finds in it."""

    world: World
    differences: Differences


@pytest.fixture(scope="module")
async def unpublished() -> AsyncIterator[Unpublished]:
    with installed() as site:
        async with World.open(site) as world:
            journey = world.journey(follows=False)
            await journey.until_received()
            assert await world.differences() == {}
            await world.site.restart(FANGXIAN_PUBLISH="false")
            await journey.move_somebody()
            await journey.from_results()
            yield Unpublished(world, await world.differences(patience=3))


@pytest.mark.parametrize("family", ["people", "codes", "orders", "referrals", "held", "webhooks"])
async def test_without_publishing_the_check_fails(unpublished: Unpublished, family: str) -> None:
    assert unpublished.differences.get(family), f"nothing was published, and the check of {family} found all well"


async def test_without_publishing_nothing_acknowledged_is_lost(unpublished: Unpublished) -> None:
    assert "acknowledged" not in unpublished.differences, "what the owner itself keeps does not rest on the feed"


LAST = "SELECT {0} FROM {1} ORDER BY {0} DESC LIMIT 1"
LOSSES = {
    "sample": f"DELETE FROM testing.samples WHERE id = ({LAST.format('id', 'testing.samples')})",
    "visit": f"DELETE FROM gateway.visits WHERE scan_id = ({LAST.format('scan_id', 'gateway.visits')})",
    "result": f"UPDATE testing.tubes SET outcome = 'inconclusive' WHERE id = ({LAST.format('id', 'testing.tubes')})",
    "message": f"DELETE FROM gateway.messages WHERE id = ({LAST.format('id', 'gateway.messages')})",
}
DOUBLES = {
    "box": "INSERT INTO testing.boxes (id, region, laboratory, tubes) SELECT uuidv7(), region, laboratory, tubes "
    "FROM testing.boxes ORDER BY id LIMIT 1",
    "message": "INSERT INTO gateway.messages (id, region, source, party, message_id, kind, occurred_at, received_at, "
    "data, fingerprint) SELECT uuidv7(), region, source, party, 'another', kind, occurred_at, received_at, data, "
    "fingerprint FROM gateway.messages ORDER BY id LIMIT 1",
}


@pytest.mark.parametrize("what", LOSSES)
async def test_the_check_notices_what_is_lost(unpublished: Unpublished, what: str) -> None:
    await _notices(unpublished.world, LOSSES[what], what)


@pytest.mark.parametrize("what", DOUBLES)
async def test_the_check_notices_what_is_doubled(unpublished: Unpublished, what: str) -> None:
    await _notices(unpublished.world, DOUBLES[what], what)


async def _notices(world: World, harm: str, what: str) -> None:
    async with world.site.owner() as owner:
        assert await owner.execute(harm) in ("DELETE 1", "UPDATE 1", "INSERT 0 1")
    found = await world.differences(patience=0)
    assert any(line.startswith(what) for line in found["acknowledged"]), found


async def _move(owner: asyncpg.Connection, resident_id: str, region: str) -> None:
    """Change a resident as the registry does, row and entry, in a transaction of one's own."""
    version = await owner.fetchval(
        "UPDATE registry.residents SET region = $2, version = version + 1 WHERE id = $1 RETURNING version",
        resident_id,
        region,
    )
    last = await owner.fetchval(
        "SELECT data::text FROM registry.feed WHERE subject = $1 ORDER BY version DESC LIMIT 1", resident_id
    )
    data = json.loads(last) | {"version": version, "region": region}
    await _entry(owner, "registry.resident.v1", resident_id, version, data)


async def _poison(
    world: World, owner: asyncpg.Connection, type_: str, readers: tuple[str, ...], *, urgent: bool = False
) -> None:
    """An entry that no reader can make sense of."""
    subject = str(uuid4())
    await _entry(owner, type_, subject, 1, {"id": subject, "version": 1, "region": TOWNSHIP, "odd": []}, urgent=urgent)
    world.planned |= {(reader, subject) for reader in readers}


async def _entry(
    owner: asyncpg.Connection, type_: str, subject: str, version: int, data: dict[str, Any], *, urgent: bool = False
) -> None:
    await owner.execute(
        f"""
        INSERT INTO {type_.split(".")[0]}.feed (epoch, type, subject, version, region, change, urgent, data)
        SELECT max(epoch), $1, $2, $3, $4, 'by hand', $5, $6 FROM {type_.split(".")[0]}.feed_epochs
        """,
        type_,
        subject,
        version,
        data["region"],
        urgent,
        json.dumps(data),
    )
