"""Path 8: from a positive until its ten codes are yellow, while a file with the same number of people is imported.

A reader gets only entries of a feed that are older than the oldest running transaction. So every chunk of an import
delays every feed of the cluster. This path measures for how long.
"""

import asyncio
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from uuid import UUID

import asyncpg

from deploy.bench.city import NEEDS, City, Round, Tube, bring_in, open_round, upload
from deploy.bench.needs import Operations
from deploy.bench.page import Aim, Figure, milliseconds, not_measured
from deploy.bench.paths import registering, results
from deploy.bench.site import EIGHT
from deploy.bench.timing import Effort, percentile, until
from deploy.demo.registering import IMPORTS
from shared.core.actors import Role

AIM = Aim("at most", 1_000, "ms")
ALONE = 10
"""Positives before the import."""
EVERY_SECONDS = 0.25
"""Between two of the others."""
LOOKING = 4
"""Connections that look for yellow codes."""
LOOK_SECONDS = 0.02
WITHIN_SECONDS = 60.0

NOT_GREEN = "SELECT resident_id FROM gateway.codes WHERE colour > 1"
YELLOW = "SELECT count(*) = cardinality($1::uuid[]) FROM gateway.codes WHERE colour = 2 AND resident_id = ANY($1)"


async def measure(city: City, operations: Operations, database: asyncpg.Connection, effort: Effort) -> list[Figure]:
    """Positives one after the other for as long as the import lasts."""
    operations.require(f"POST {IMPORTS}", *NEEDS)
    round_ = await _sampled(city, effort.positives, {row["resident_id"] for row in await database.fetch(NOT_GREEN)})
    file = registering.file_of(registering.newcomers(city.size))
    city.site.pin(EIGHT)
    async with asyncpg.create_pool(city.site.installation.owner_url, min_size=1, max_size=LOOKING) as looks:
        probe = Probe(city, looks)
        alone = percentile([await probe.one(tube) for tube in round_.tubes[:ALONE]], 0.5)
        meter = city.site.meter()
        importing = asyncio.create_task(registering.take_in(city.command, file, city.size))
        try:
            seconds = await probe.several(round_.tubes[ALONE:], importing)
            await importing
        finally:
            importing.cancel()
    what = f"positive posted → its ten codes are yellow, while {city.size:,} people are imported"
    if not seconds:
        return [not_measured("alongside", what, "the import ended before the first positive")]
    median, last = percentile(seconds, 0.5), percentile(seconds, 0.99)
    return [
        Figure(
            "alongside",
            what,
            f"p50 {milliseconds(median)}, p99 {milliseconds(last)}",
            f"while nothing else happens p50 {milliseconds(alone)}",
            value=last * 1000,
            aim=AIM,
            notes=[f"{city.size:,}: {len(seconds)} positives, one each {EVERY_SECONDS:g} s; {meter.busy()}"],
            numbers={"people": city.size, "positives": len(seconds), "p50_seconds": median, "p99_seconds": last}
            | {"alone_p50_seconds": alone},
        )
    ]


async def _sampled(city: City, count: int, spoken_for: AbstractSet[UUID]) -> Round:
    """Prepare a round with `count` full tubes of green people, delivered to the laboratory."""
    whole = await open_round(city, 3, minutes_ago=20)
    full = [
        tube
        for tube in whole.tubes
        if len(tube.people) == len(whole.tubes[0].people) and not spoken_for & set(tube.people)
    ]
    round_ = replace(whole, tubes=full[:: max(1, len(full) // count)][:count])
    _, answers = await upload(round_, "testing", lambda: city.site.inside("testing", Role.SAMPLER))
    people = sum(len(tube.people) for tube in round_.tubes)
    if answers["kept"] != people:
        raise ValueError(f"records should all be kept and are {dict(answers)}")
    await bring_in(round_)
    return round_


@dataclass(frozen=True)
class Probe:
    """Posts positives, and sees when their codes are yellow."""

    city: City
    looks: asyncpg.Pool

    async def several(self, tubes: Sequence[Tube], importing: "asyncio.Task[float]") -> list[float]:
        """One after the other, at their times, for as long as the import lasts."""
        watching: list[asyncio.Task[float]] = []
        for tube in tubes:
            if importing.done():
                break
            watching.append(asyncio.create_task(self.one(tube)))
            await asyncio.wait([importing], timeout=EVERY_SECONDS)
        return list(await asyncio.gather(*watching))

    async def one(self, tube: Tube) -> float:
        """Seconds from the post of a positive to ten yellow codes."""

        async def yellow() -> bool:
            return bool(await self.looks.fetchval(YELLOW, tube.people))

        began = time.perf_counter()
        posting = asyncio.create_task(results.report(self.city.laboratory, [tube], "positive"))
        seconds = await until(yellow, seconds=WITHIN_SECONDS, every=LOOK_SECONDS, what="all are yellow") - began
        await posting
        return seconds
