"""Paths 4 and 5: results for everybody until every code is updated; meanwhile a positive until the door refuses it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncpg

from deploy.bench.city import Round, Tube
from deploy.bench.generator import load
from deploy.bench.needs import Operations
from deploy.bench.page import Aim, Figure, milliseconds, not_measured, per_second
from deploy.bench.site import EIGHT
from deploy.bench.timing import Effort, percentile, until
from deploy.bench.window import NEEDS as DOOR
from deploy.bench.window import Window, open_window, verdict_of
from deploy.demo.devices import chunks
from deploy.demo.laboratory import RESULTS
from deploy.demo.parties import Party

AIM = Aim("at most", 5)
REFUSED_AIM = Aim("at most", 1_000, "ms")
WITHIN_SECONDS = 600.0
TUBES_PER_BATCH = 200
ANALYSERS = 4
"""Machines of the laboratory. Each posts its next batch after the answer to the previous one."""
EVERY_SECONDS = 0.2
"""Between two positives: they are posted at their times, whether or not the door has refused the last."""
LOOK_SECONDS = 0.01
GIVE_UP_SECONDS = 60.0

UPDATED = "SELECT count(*) >= $2 FROM gateway.codes WHERE last_negative >= $1"

# As many rows as results had people, in a table as wide and with the same indexes and checks as the codes.
FLOOR_TABLES = """
    DROP TABLE IF EXISTS bench.codes, bench.given;
    CREATE TABLE bench.codes (LIKE gateway.codes INCLUDING ALL) WITH (fillfactor = 80);
    INSERT INTO bench.codes SELECT * FROM gateway.codes;
    CREATE TABLE bench.given AS SELECT resident_id, now() AS sampled_at FROM gateway.codes;
    VACUUM ANALYZE bench.codes;
    VACUUM ANALYZE bench.given;
    CHECKPOINT
"""
FLOOR = """
    UPDATE bench.codes SET last_negative = given.sampled_at
    FROM bench.given AS given WHERE codes.resident_id = given.resident_id
"""


async def negatives(round_: Round, database: asyncpg.Connection) -> list[Figure]:
    """All results of a round, until all codes are updated, against one UPDATE … FROM."""
    people = round_.city.size
    round_.city.site.pin(EIGHT)
    meter = round_.city.site.meter()
    began = time.perf_counter()
    await report(round_.city.laboratory, round_.tubes)
    posted = time.perf_counter() - began
    seconds = await _all_updated(round_, database, people) - began
    busy = meter.busy()
    floor = await _update_seconds(database, people)
    return [
        Figure(
            "results",
            f"results for {people:,} people, {ANALYSERS} analysers, until every code is updated",
            f"{seconds:.2f} s, {per_second(people / seconds)}",
            f"UPDATE … FROM {floor:.2f} s",
            seconds / floor,
            AIM,
            [f"{people:,}: the laboratory had posted all after {posted:.2f} s; {busy}"],
            {
                "people": people,
                "results_seconds": seconds,
                "posted_seconds": posted,
                "update_seconds": floor,
                **busy.numbers(),
            },
        )
    ]


async def report(laboratory: Party, tubes: Sequence[Tube], outcome: str = "negative") -> None:
    """Post results, as many in a request as a laboratory does."""
    batches = iter(chunks(tubes, TUBES_PER_BATCH))

    async def analyse() -> None:
        for batch in batches:
            answer = await laboratory.post(RESULTS, {"items": [_result(tube, outcome) for tube in batch]})
            if any(item["status"] != "reported" for item in answer["items"]):
                raise ValueError(f"results should be reported and are {answer['items'][0]}")

    async with asyncio.TaskGroup() as group:
        for _ in range(ANALYSERS):
            group.create_task(analyse())


def _result(tube: Tube, outcome: str) -> dict[str, Any]:
    return {"tube_number": tube.number, "outcome": outcome, "tested_at": datetime.now(UTC).isoformat(), "revision": 1}


async def _all_updated(round_: Round, database: asyncpg.Connection, people: int) -> float:
    sampled_at = min(tube.sampled_at for tube in round_.tubes)

    async def updated() -> bool:
        return bool(await database.fetchval(UPDATED, sampled_at, people))

    return await until(updated, seconds=WITHIN_SECONDS, every=people / 400_000, what=f"{people} codes are updated")


async def _update_seconds(database: asyncpg.Connection, people: int) -> float:
    for statement in FLOOR_TABLES.split(";"):
        await database.execute(statement)
    began = time.perf_counter()
    done = await database.execute(FLOOR)
    seconds = time.perf_counter() - began
    await database.execute("DROP TABLE bench.codes, bench.given")
    if int(done.split()[-1]) != people:
        raise ValueError(f"the floor updated {done} for {people} people")
    return seconds


@dataclass
class Positives:
    """Positives posted one after the other while the negatives of the round are on their way."""

    round_: Round
    window: Window
    seconds: list[float] = field(default_factory=list)
    """Of each: from the post to the answer that refuses."""

    async def post_all(self, tubes: Sequence[Tube], background: "asyncio.Task[float]") -> None:
        """Post at fixed times for as long as the background lasts."""
        watching: list[asyncio.Task[None]] = []
        for tube in tubes:
            if background.done():
                break
            watching.append(asyncio.create_task(self._one(tube)))
            await asyncio.wait([background], timeout=EVERY_SECONDS)
        await asyncio.gather(*watching)

    async def _one(self, tube: Tube) -> None:
        (code,) = self.window.codes_of(tube.people[:1])
        if await self._verdict(code) != "pass":
            raise ValueError("somebody was refused before their result")
        began = time.perf_counter()
        posting = asyncio.create_task(report(self.round_.city.laboratory, [tube], "positive"))
        while await self._verdict(code) == "pass":
            if time.perf_counter() > began + GIVE_UP_SECONDS:
                raise ValueError(f"the door still lets a positive in after {GIVE_UP_SECONDS:.0f} s")
            await asyncio.sleep(LOOK_SECONDS)
        self.seconds.append(time.perf_counter() - began)
        await posting

    async def _verdict(self, code: str) -> str:
        verdicts: list[str] = []
        port = self.round_.city.site.port("gateway")
        scan = [self.window.scan(code)]
        done = await load(port, scan, connections=1, keep=lambda _, body: verdicts.append(verdict_of(body)))
        done.require(201)
        return verdicts[0]


async def positives(
    round_: Round, operations: Operations, database: asyncpg.Connection, effort: Effort
) -> list[Figure]:
    """Positives of a round, each until the door refuses one of its ten, while the negatives are being worked in."""
    operations.require(*DOOR)
    city = round_.city
    city.site.pin(EIGHT)
    window = await open_window(city.site, city.command)
    # Pools of all communities; a full one each.
    full = [tube for tube in round_.tubes if len(tube.people) == len(round_.tubes[0].people)]
    chosen = full[:: max(1, len(full) // effort.positives)][: effort.positives]
    others = [tube for tube in round_.tubes if tube not in chosen]
    people = sum(len(tube.people) for tube in others)

    async def work_in() -> float:
        await report(city.laboratory, others)
        return await _all_updated(round_, database, people)

    meter = city.site.meter()
    background = asyncio.create_task(work_in())
    posted = Positives(round_, window)
    try:
        await posted.post_all(chosen, background)
        await background
    finally:
        background.cancel()
    return [_refused(posted.seconds, people, str(meter.busy()))]


def _refused(seconds: Sequence[float], people: int, busy: str) -> Figure:
    what = f"positive posted → the door refuses, while results for {people:,} people come in"
    if not seconds:
        return not_measured("positive", what, "the results were worked in before the first positive")
    median, last = percentile(seconds, 0.5), percentile(seconds, 0.99)
    return Figure(
        "positive",
        what,
        f"p50 {milliseconds(median)}, p99 {milliseconds(last)}",
        value=last * 1000,
        aim=REFUSED_AIM,
        notes=[f"{people:,}: {len(seconds)} positives, one each {EVERY_SECONDS:g} s; {busy}"],
        numbers={"people": people, "positives": len(seconds), "p50_seconds": median, "p99_seconds": last},
    )
