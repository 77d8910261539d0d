"""Step 1: the command adds patches and grids, and imports everybody from one file."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from deploy.demo.population import TOWNSHIP, Region, read_communities
from deploy.demo.table import stopwatch
from deploy.demo.world import World, at_once, until

IMPORTS = "/registry/v1/imports"
IMPORT_WITHIN_SECONDS = 600.0
ENDED = {"succeeded", "failed", "cancelled"}
AT_A_TIME = 4
TAGS = ("people", "child", "elder", "pregnant", "dependent")


async def add_regions(world: World) -> None:
    """Patches, then the grids in them."""
    regions = world.population.regions
    with world.progression.bar("patches and grids added", len(regions)) as bar:

        async def add(region: Region) -> None:
            await world.command.post("/registry/v1/regions", {"code": region.code, "name": region.name}, once=True)
            bar.advance()

        for level in ("patch", "grid"):
            await at_once(add, [region for region in regions if region.level == level], AT_A_TIME)


async def import_people(world: World) -> None:
    """One CSV file, one job, watched until it is done."""
    people = world.expectation.people
    with world.progression.bar("people imported", people) as bar, stopwatch() as lap:
        job = await world.command.upload(IMPORTS, ("xintang.csv", _file(world), "text/csv"))

        async def look() -> Any:
            seen = await world.command.get(f"{IMPORTS}/{job['id']}")
            bar.to(seen["done"])
            return seen

        job = await until(look, lambda seen: seen["state"] in ENDED, IMPORT_WITHIN_SECONDS, every=0.2)
    world.checks.equal("import job", "succeeded", job["state"], lap.seconds)
    world.checks.equal("people created", people, job["result"].get("created"))


async def check_population(world: World) -> None:
    """The counts of the register, and of the codes that follow from it, are those of the file."""
    shown = await world.command.get("/registry/v1/population", region=TOWNSHIP)
    got = {child["region"]: _counter(child) for child in shown["children"]}
    expected = {one.code: world.expectation.communities.get(one.code, Counter()) for one in read_communities()}
    world.checks.equal("people by tag", world.expectation.tags, _counter(shown["total"]))
    await world.await_value("everybody has a green code", Counter(green=world.expectation.people), world.colours)
    world.checks.each("people and tags of each community", expected, got)


def _counter(tally: Any) -> Counter[str]:
    return Counter({tag: tally[tag] for tag in TAGS})


def _file(world: World) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "xintang.csv"
        world.population.to_csv(path)
        return path.read_bytes()
