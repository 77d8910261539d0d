"""`fangxian bench`: what is measured, in which order, and how results are collected.

Two kinds of installation are measured. Each is started for it and removed afterwards. One has only codes, for the
doors. The other, one for each number of people, goes through everything from the import to the results.
"""

import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import asyncpg
import uvloop
from rich.console import Console

from deploy.bench import machine
from deploy.bench.city import NEEDS, City, Round, bring_in, open_round
from deploy.bench.cores import Cores
from deploy.bench.needs import Missing, Operations
from deploy.bench.page import Figure, Page, not_measured
from deploy.bench.paths import (
    alongside,
    audit,
    door,
    feed,
    flood,
    memory,
    registering,
    results,
    scope,
    upload,
    webhooks,
)
from deploy.bench.site import Site, started
from deploy.bench.timing import FULL, QUICK, Effort
from deploy.demo.parties import Parties, Party, parties_at
from deploy.demo.population import TOWNSHIP
from deploy.trouble import Trouble

AT_THE_DOOR = ("verify", "code", "growth", "generator", "audit", "webhooks", "flood", "scope")
IN_THE_CITY = ("import", "upload", "results", "positive", "feed", "latency", "memory", "alongside")
NAMES = (*AT_THE_DOOR, *IN_THE_CITY)
PEOPLE = (20_000, 100_000)
PEOPLE_QUICKLY = (3_000,)
PLAIN_WIDTH = 160

Measure = Callable[[], Awaitable[list[Figure]]]


@dataclass(frozen=True)
class Bench:
    """One run."""

    cores: Cores
    effort: Effort
    wanted: Collection[str]
    page: Page
    console: Console

    async def take(self, path: str, measure: Measure) -> bool:
        """Measure a path and store its figures. Returns whether it could be measured; if not, the page says why."""
        try:
            figures = await measure()
        except Missing as missing:
            figures = [not_measured(path, path, str(missing))]
        except Exception as error:  # whatever it is, the other paths are measured
            traceback.print_exc()
            figures = [not_measured(path, path, f"{type(error).__name__}: {error}", failed=True)]
        for figure in figures:
            if figure.path in self.wanted:
                self.page.figures.append(figure)
                self.console.print(f"  {figure.path}: {figure.measured}", highlight=False)
        return not any(figure.path == path and figure.measured in ("failed", "not measured") for figure in figures)


def bench(names: Sequence[str], people: Sequence[int], *, quick: bool, json: Path | None) -> Page:
    """Measure the named paths, or all; show the page. Trouble if there is no such path."""
    if unknown := sorted(set(names) - set(NAMES)):
        raise Trouble(f"There is no path {unknown[0]}. Choose one of: {', '.join(NAMES)}.")
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    page = Page(machine.describe() | ({"noise": "others work on this machine"} if machine.is_busy() else {}))
    cores = Cores.of_this_machine()
    run = Bench(cores, QUICK if quick else FULL, names or NAMES, page, console)
    if not cores.can_pin or cores.server == cores.other:
        page.machine = {**page.machine, "cores used": "one for all: figures are not comparable"}
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        _run(run, people or (PEOPLE_QUICKLY if quick else PEOPLE))
    finally:
        signal.signal(signal.SIGTERM, before)
    page.show(console)
    if json is not None:
        page.write(json)
    return page


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Stop on a signal: the installation ends cleanly, and its directory is removed."""
    raise KeyboardInterrupt


def _run(run: Bench, people: Sequence[int]) -> None:
    if set(AT_THE_DOOR) & set(run.wanted):
        run.console.print("An installation for the door.")
        with started(run.cores) as site:
            uvloop.run(_at_the_door(run, site))
            site.check_unharmed()
    if set(IN_THE_CITY) & set(run.wanted):
        for place, count in enumerate(people):
            run.console.print(f"An installation for {count:,} people.")
            with started(run.cores) as site:
                uvloop.run(_in_the_city(run, site, count, first=place == 0))
                site.check_unharmed()


@dataclass(frozen=True)
class Ground:
    """The common basis of all paths."""

    parties: Parties
    command: Party
    operations: Operations
    database: asyncpg.Connection

    @classmethod
    async def of(cls, site: Site, stack: AsyncExitStack) -> "Ground":
        """The ground of an installation."""
        parties = await stack.enter_async_context(parties_at(site.url))
        command = await parties.staff("command", TOWNSHIP)
        database = await stack.enter_async_context(site.database())
        return cls(parties, command, await Operations.of(parties), database)


async def _at_the_door(run: Bench, site: Site) -> None:
    async with AsyncExitStack() as stack:
        ground = await Ground.of(site, stack)
        if set(run.wanted) & {"verify", "code", "growth", "generator"}:
            await run.take(
                "verify",
                lambda: door.measure(site, ground.operations, ground.database, ground.command, run.effort),
            )
        if "audit" in run.wanted:
            await run.take(
                "audit",
                lambda: audit.measure(site, ground.operations, ground.database, ground.command, run.effort),
            )
        if "webhooks" in run.wanted:
            await run.take("webhooks", lambda: webhooks.measure(site, ground.command, run.effort))
        if "flood" in run.wanted:
            await run.take("flood", lambda: flood.measure(site, ground.database, run.effort))
        if "scope" in run.wanted:
            await run.take("scope", lambda: scope.measure(ground.database, run.effort))


async def _in_the_city(run: Bench, site: Site, people: int, *, first: bool) -> None:
    async with AsyncExitStack() as stack:
        ground = await Ground.of(site, stack)
        idle = site.memory()
        operations, database = ground.operations, ground.database
        if not await run.take(
            "import", lambda: registering.measure(site, operations, database, ground.command, people)
        ):
            return
        city = await City.of(site, ground.parties, database)
        if set(run.wanted) & {"upload", "results", "positive"}:
            await _rounds(run, city, ground)
        if first and "feed" in run.wanted:
            await run.take("feed", lambda: feed.rate(city, database, run.effort))
        if first and "latency" in run.wanted:
            await run.take("latency", lambda: feed.latency(city, database, run.effort))
        if "memory" in run.wanted:
            run.page.figures.append(memory.figure(idle, site.memory(), f"{people:,} people"))
        if "alongside" in run.wanted:
            await run.take("alongside", lambda: alongside.measure(city, operations, database, run.effort))


async def _rounds(run: Bench, city: City, ground: Ground) -> None:
    """Two rounds: the first measures the results alone, the second with positives among them."""
    database, rounds = ground.database, list[Round]()

    async def first() -> list[Figure]:
        ground.operations.require(*NEEDS)
        rounds.append(await open_round(city, 1, minutes_ago=90))
        return await upload.bypassing_the_edge(rounds[0], database)

    async def second() -> list[Figure]:
        rounds.append(await open_round(city, 2, minutes_ago=30))
        return await upload.through_the_edge(rounds[1], database)

    async def negatives() -> list[Figure]:
        await bring_in(rounds[0])
        return await results.negatives(rounds[0], database)

    async def positives() -> list[Figure]:
        await bring_in(rounds[1])
        return await results.positives(rounds[1], ground.operations, database, run.effort)

    if not await run.take("upload", first) or not await run.take("results", negatives):
        return
    if await run.take("upload", second) and "positive" in run.wanted:
        await run.take("positive", positives)
