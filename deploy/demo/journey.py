"""`fangxian demo`: from an empty district to a patient in hospital, through the public API of the gateway.

Read `run_story` first: it lists all steps. Each step is a module. `plan.py` says what will happen, and `expectation.py`
says what the results must be.
"""

import asyncio
import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from deploy.demo import campaign, outside, pool, registering, window
from deploy.demo.expectation import expect
from deploy.demo.installation import running
from deploy.demo.memory import MemoryMonitor
from deploy.demo.parties import Refused, parties_at
from deploy.demo.plan import draw
from deploy.demo.population import TOWNSHIP, Population
from deploy.demo.progress import Progression
from deploy.demo.receiver import Municipality, SampleService, serving
from deploy.demo.table import Checks, show, stopwatch
from deploy.demo.world import LABORATORY, World
from deploy.memory import METHOD
from shared.core import clock

MEGABYTE = 1024**2
PLAIN_WIDTH = 140
"""Line width in characters if the output is not a terminal."""
SETTINGS = {
    "FANGXIAN_DEMONSTRATION_IDS": "true",
    "FANGXIAN_DEVELOPMENT_ISSUER": "true",
    # One address sends the requests of all parties, and a device does in minutes what normally takes days.
    **{f"FANGXIAN_REQUESTS_A_MINUTE_PER_{who}": "100000000" for who in ("CLIENT", "RESIDENT", "STAFF", "MACHINE")},
    "FANGXIAN_HEADQUARTERS": "新塘街道疫情防控指挥部",
    "FANGXIAN_PLAN": "《新塘街道新冠肺炎疫情防控工作实施方案》（2021年1月20日）第十条",
    "FANGXIAN_WEBHOOK_NETWORKS": '["127.0.0.0/8"]',
}
"""Settings of the demo that no production installation may have."""


def demonstrate(people: int, seed: int, data: Path | None, port: int | None) -> bool:
    """Run all steps and show the checks. Returns whether all succeeded."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    progression = Progression(console)
    checks = Checks()
    console.print(f"Fangxian demo: {people:,} people of Xintang, seed {seed}.")
    with stopwatch() as whole, stopwatch() as starting, running(data, port, SETTINGS) as installation:
        console.print(f"   started at {installation.url} in {starting.seconds:.1f} s")
        with MemoryMonitor(installation.pid) as memory, stopwatch() as working, _noting(checks):
            asyncio.run(_journey(people, seed, installation.url, checks, progression))
        working_seconds = working.seconds
    show(checks, console)
    console.print(
        f"Time: {whole.seconds:.1f} s in all, {working_seconds:.1f} s between the start and the end of the servers. "
        f"Memory: {memory.peak // MEGABYTE:,} MB at most in {memory.processes} processes ({METHOD} summed), "
        f"{MemoryMonitor(os.getpid()).now() // MEGABYTE:,} MB in the demo itself."
    )
    return bool(checks.done) and not checks.failed


@contextlib.contextmanager
def _noting(checks: Checks) -> Iterator[None]:
    """Record an exception in a step as a failed check, so that the table is still shown."""
    try:
        yield
    except Refused as refused:
        checks.fail("the step continues", "a success", str(refused))
    except Exception as error:
        checks.fail("the step continues", "no error", f"{type(error).__name__}: {error}")
        traceback.print_exc()


async def _journey(people: int, seed: int, url: str, checks: Checks, progression: Progression) -> None:
    population = Population.generate(people, seed, today=clock.day_of(clock.now()))
    plan = draw(population, seed)
    city, service = Municipality(), SampleService()
    with serving(city.handle) as city_url, serving(service.handle) as service_url:
        async with parties_at(url) as parties:
            command = await parties.staff("command", TOWNSHIP)
            await parties.register_laboratory(LABORATORY)
            laboratory = await parties.machine("laboratory", LABORATORY)
            expectation = expect(population, plan)
            world = World(population, plan, expectation, parties, command, laboratory, checks, progression, seed)
            await run_story(world, Outside(city, city_url, service, service_url))


@dataclass
class Outside:
    """The systems of others: the receiver of the city and the computer of a window, with their addresses."""

    city: Municipality
    city_url: str
    service: SampleService
    service_url: str


async def run_story(world: World, others: Outside) -> None:
    """Run all steps in order."""
    with world.step(1, "Who lives here"):
        await registering.add_regions(world)
        watching = await outside.city_subscribes(world, others.city, others.city_url)
        await registering.import_people(world)
        await registering.check_population(world)
    with world.step(2, "One round of 10:1 over everybody"):
        await campaign.plan_and_open(world)
        await campaign.sample(world)
        await campaign.deliver(world)
        await campaign.report_negatives(world)
    with world.step(3, "One pool is positive"):
        await pool.turn_yellow(world)
        await pool.retest(world)
        await pool.nine_are_free(world)
        referral = await pool.one_is_positive(world)
    with world.step(4, "At the service window"):
        await window.show_codes(world, others.service, others.service_url)
    with world.step(5, "Messages to and from other systems"):
        await outside.desk_reports(world, referral)
        await outside.city_knows(world, watching)
        await campaign.check_progress(world)
