"""Path 7: the rate of reading a feed, and the latency of a single entry.

The entries are results of invented tubes with ten real people each. Testing's own code publishes them while the locks
of the readers in the gateway and in observation are held. The minimal reader reads them first. Then the worker of the
gateway is released, and after it that of observation.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from deploy.bench.city import City
from deploy.bench.page import Aim, Figure, milliseconds, per_second
from deploy.bench.site import EIGHT, Site
from deploy.bench.timing import Effort, percentile, until
from deploy.demo.world import LABORATORY
from deploy.trouble import Trouble
from shared.contracts.registry import Resident
from shared.contracts.testing import Result, Sample, Tube
from shared.core.ids import new_id
from shared.database.locks import try_advisory_lock
from shared.runtime.context import ServiceContext

RATE_AIM = Aim("at least", 4_000, "entries/s")
LATENCY_AIM = Aim("at most", 100, "ms")
WITHIN_SECONDS = 120.0
POOL = 10
PER_COMMIT = 1_000
PAUSE_SECONDS = 0.05
LOOK_SECONDS = 0.001
LOCK_ATTEMPTS = 200

CURSOR = "SELECT cursor FROM gateway.feed_cursors WHERE owner = 'testing' AND lane = 'normal'"
HELD = "SELECT count(*) FROM gateway.feed_held WHERE type = $1 AND held_at >= $2"
NEXT_VERSION = """
    UPDATE registry.residents SET version = version + 1 WHERE id = $1
    RETURNING id, version, region, state, household_id
"""
HAS_ARRIVED = "SELECT version >= $3 FROM gateway.feed_held WHERE type = $1 AND subject = $2"


async def rate(city: City, database: asyncpg.Connection, effort: Effort) -> list[Figure]:
    """Entries a second of the gateway's reader, and of a bare one."""
    site = city.site
    site.pin(EIGHT)
    async with AsyncExitStack() as stack:
        testing, gateway, observation = [
            await stack.enter_async_context(site.context(name)) for name in ("testing", "gateway", "observation")
        ]
        await stack.enter_async_context(_held(observation))
        async with _held(gateway):
            after = await database.fetchval(CURSOR)
            began_at = await database.fetchval("SELECT clock_timestamp()")
            await _publish(testing, city, effort.entries)
            bare = await _read_bare(site, after, effort.entries)
            meter = site.meter()
            began = time.perf_counter()
        testing.wake_subscribers(["normal"])

        async def all_held() -> bool:
            return bool(await database.fetchval(HELD, Tube.type, began_at) >= effort.entries)

        seconds = await until(all_held, seconds=WITHIN_SECONDS, every=0.05, what="the gateway has read all") - began
        busy = meter.busy()
    entries = effort.entries / seconds
    return [
        Figure(
            "feed",
            f"feed: {effort.entries:,} results of ten people each, read by the gateway, codes and all",
            f"{seconds:.2f} s, {per_second(entries)}",
            f"bare reader {per_second(bare)} (× {entries / bare:.2f})",
            entries,
            RATE_AIM,
            [f"{city.size:,} people; batches as the reader asks for them; wake-up included; {busy}"],
            {"entries": effort.entries, "reader_per_second": entries, "bare_per_second": bare, **busy.numbers()},
        )
    ]


@asynccontextmanager
async def _held(context: ServiceContext) -> AsyncIterator[None]:
    """Keep a service's worker from reading testing's feed."""
    for _ in range(LOCK_ATTEMPTS):
        async with try_advisory_lock(context, "feed:testing:normal") as got:
            if got:
                yield
                return
        await asyncio.sleep(PAUSE_SECONDS)
    raise Trouble(f"{context.settings.service} never stops reading the feed of testing.")


async def _publish(testing: ServiceContext, city: City, count: int) -> None:
    people = [person for line in city.people.values() for person in line]
    now = datetime.now(UTC)
    for start in range(0, count, PER_COMMIT):
        async with testing.system_unit_of_work("bench") as uow:
            places = range(start, min(count, start + PER_COMMIT))
            uow.publish_all((_tube(people, place, now) for place in places), change="bench")


def _tube(people: Sequence[UUID], place: int, now: datetime) -> Tube:
    members = [people[(place * POOL + offset) % len(people)] for offset in range(POOL)]
    return Tube(
        id=new_id(),
        version=1,
        region="350582005001",
        campaign_id=UUID(int=0),
        number=f"bench-{place}",
        capacity=POOL,
        people="pool",
        state="resulted",
        drill=False,
        samples=tuple(Sample(id=new_id(), resident_id=person, sampled_at=now) for person in members),
        missing=0,
        sealed_at=now,
        received_at=now,
        laboratory=LABORATORY,
        result=Result(outcome="negative", revision=1, tested_at=now, reported_at=now),
    )


async def _read_bare(site: Site, after: str, count: int) -> float:
    task = {
        "database_url": site.installation.owner_url,
        "testing_url": site.installation.options.urls["testing"],
        "keys": str(site.installation.directory.keys / "gateway"),
        "type": Tube.type,
        "after": after,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.bench.floor_reader",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    site.cores.pin(process.pid, server=True)
    output, _ = await process.communicate(json.dumps(task).encode())
    entries, seconds = json.loads(output)
    if entries != count:
        raise ValueError(f"the bare reader read {entries} entries of {count}")
    return float(entries / seconds)


async def latency(city: City, database: asyncpg.Connection, effort: Effort) -> list[Figure]:
    """From the commit of a single change to the commit of its effect at the gateway, while nothing else happens."""
    site = city.site
    site.pin(EIGHT)
    people = [person for line in city.people.values() for person in line]
    chosen = random.Random(1).sample(people, min(len(people), effort.changes))  # noqa: S311 - the same each time
    arrived = await database.prepare(HAS_ARRIVED)
    seconds = []
    async with site.context("registry") as registry:
        for person in chosen:
            # At any phase of the workers' own clocks.
            await asyncio.sleep(PAUSE_SECONDS * (1 + random.random()))  # noqa: S311
            seconds.append(await _one_change(registry, database, arrived, person))
    median, last = percentile(seconds, 0.5), percentile(seconds, 0.99)
    return [
        Figure(
            "latency",
            "feed when idle: commit of a resident → committed at the gateway",
            f"p50 {milliseconds(median)}, p99 {milliseconds(last)}",
            value=median * 1000,
            aim=LATENCY_AIM,
            notes=[f"{len(seconds)} single changes, the median counts; looked for each {LOOK_SECONDS * 1000:g} ms"],
            numbers={"changes": len(seconds), "p50_seconds": median, "p99_seconds": last},
        )
    ]


async def _one_change(
    registry: ServiceContext,
    database: asyncpg.Connection,
    arrived: "asyncpg.prepared_stmt.PreparedStatement",
    person: UUID,
) -> float:
    row = await database.fetchrow(NEXT_VERSION, person)
    assert row is not None
    async with registry.system_unit_of_work("bench") as uow:
        uow.publish_all([Resident(**row)], change="bench")
    began = time.perf_counter()

    async def there() -> bool:
        return bool(await arrived.fetchval(Resident.type, person, row["version"]))

    return await until(there, seconds=30, every=LOOK_SECONDS, what="a single change has arrived") - began
