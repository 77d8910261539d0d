"""Path 6: import one file of people until all services have them, compared with COPY of the same rows."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from deploy.bench.copying import copy_seconds
from deploy.bench.needs import Operations
from deploy.bench.page import Aim, Figure, per_second
from deploy.bench.site import EIGHT, Site
from deploy.bench.timing import until
from deploy.demo.parties import Party
from deploy.demo.population import Person, Population, Region, write_file
from deploy.demo.registering import ENDED, IMPORTS
from deploy.demo.world import at_once
from services.registry.residents.identity import DEMONSTRATION_PROVINCE, check_digit
from shared.core import clock

AIM = Aim("at least", 0.1)
WITHIN_SECONDS = 600.0
REGIONS = "/registry/v1/regions"
SEED = 1
HAVE = """
    SELECT least(
        (SELECT count(*) FROM testing.people), (SELECT count(*) FROM observation.people),
        (SELECT count(*) FROM gateway.codes)
    )
"""


async def measure(
    site: Site, operations: Operations, database: asyncpg.Connection, command: Party, people: int
) -> list[Figure]:
    """Import everybody, wait until the last subscriber has them, and compare."""
    operations.require(f"POST {IMPORTS}", f"POST {REGIONS}")
    site.pin(EIGHT)
    population = Population.generate(people, SEED, today=clock.day_of(datetime.now(UTC)))
    await _add_regions(command, population.regions)
    file = file_of(population.people)
    meter = site.meter()
    began = time.perf_counter()
    registered = await take_in(command, file, people) - began
    arrived = await until(
        lambda: _have(database, people), seconds=WITHIN_SECONDS, every=people / 400_000, what="everybody has arrived"
    )
    seconds, busy = arrived - began, meter.busy()
    rows, copying = await copy_seconds(database, "registry.residents")
    if rows != people:
        raise ValueError(f"{people} people should be registered and {rows} are")
    return [
        Figure(
            "import",
            f"import {people:,} people, until the last subscriber has them",
            f"{seconds:.2f} s, {per_second(people / seconds)}",
            f"COPY {copying:.2f} s, {per_second(people / copying)}",
            copying / seconds,
            AIM,
            [f"{people:,}: the registry had them after {registered:.2f} s; {busy}"],
            {
                "people": people,
                "import_seconds": seconds,
                "registered_seconds": registered,
                "copy_seconds": copying,
                **busy.numbers(),
            },
        )
    ]


async def _add_regions(command: Party, regions: list[Region]) -> None:
    async def add(region: Region) -> None:
        await command.post(REGIONS, {"code": region.code, "name": region.name}, once=True)

    for level in ("patch", "grid"):
        await at_once(add, [region for region in regions if region.level == level], 4)


def newcomers(people: int) -> list[Person]:
    """As many people as were imported, in the same homes, whom nobody knows."""
    population = Population.generate(people, SEED, today=clock.day_of(datetime.now(UTC)))
    return [replace(one, number=_other(one.number)) for one in population.people]


def _other(number: str) -> str:
    # Of the address digits, which are free in a demonstration's numbers, not even a city uses the highest.
    first17 = f"{DEMONSTRATION_PROVINCE}9{number[3:17]}"
    return first17 + check_digit(first17)


def file_of(people: Sequence[Person]) -> bytes:
    """The file that brings them in."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "people.csv"
        write_file(path, people)
        return path.read_bytes()


async def take_in(command: Party, file: bytes, people: int) -> float:
    """Upload the file and wait for its job; when that was done."""
    job = await command.upload(IMPORTS, ("people.csv", file, "text/csv"))
    seen: dict[str, Any] = {}

    async def ended() -> bool:
        seen.update(await command.get(f"{IMPORTS}/{job['id']}"))
        return seen["state"] in ENDED

    at = await until(ended, seconds=WITHIN_SECONDS, every=0.1, what="the import ends")
    if seen["state"] != "succeeded" or seen["result"].get("created") != people:
        raise ValueError(f"the import {seen['state']}: {seen['result']}")
    return at


async def _have(database: asyncpg.Connection, people: int) -> bool:
    return bool(await database.fetchval(HAVE) >= people)
