"""Step 2: a round is planned and opened, everybody is sampled, tubes are delivered, and all results are negative."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.demo import laboratory
from deploy.demo.devices import LATE_MINUTES, sample_everybody
from deploy.demo.expectation import Grid
from deploy.demo.plan import POOL_SIZE
from deploy.demo.population import TOWNSHIP
from deploy.demo.table import stopwatch
from deploy.demo.world import World, at_once, until

CAMPAIGNS = "/testing/v1/campaigns"
EVERYBODY_WITHIN_SECONDS = 120.0
AT_A_TIME = 4


async def plan_and_open(world: World) -> None:
    """Plan the round when testing knows everybody, open it, and let the devices fetch the expected people."""
    planned = await _plan(world)
    world.campaign_id = planned["id"]
    world.checks.equal("people expected in the round", world.expectation.people, planned["expected"])
    await world.command.post(f"{CAMPAIGNS}/{world.campaign_id}/open")
    await _issue_rolls(world)
    world.residents = await _lists(world)


async def _plan(world: World) -> Any:
    """Compare the round with the register, and plan again while people have not arrived at testing yet."""

    async def plan() -> Any:
        planned = await world.command.post(CAMPAIGNS, _campaign(), once=True)
        if planned["expected"] < world.expectation.people:
            await world.command.post(f"{CAMPAIGNS}/{planned['id']}/cancel")
        return planned

    return await until(
        plan, lambda planned: planned["expected"] >= world.expectation.people, EVERYBODY_WITHIN_SECONDS, every=1.0
    )


def _campaign() -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "name": "新塘街道第一轮全员核酸",
        "round": 1,
        "region": TOWNSHIP,
        "pool_size": POOL_SIZE,
        "opens_at": (now - timedelta(minutes=LATE_MINUTES + 30)).isoformat(),
        "closes_at": (now + timedelta(hours=12)).isoformat(),
        "drill": False,
    }


async def _issue_rolls(world: World) -> None:
    """Issue tube numbers for each grid, so that two devices never use the same number."""
    tubes = Counter(tube.grid for tube in world.plan.all_tubes)

    async def issue(grid: str) -> None:
        roll = {"campaign_id": world.campaign_id, "region": grid, "capacity": POOL_SIZE, "count": tubes[grid]}
        world.numbers[grid] = (await world.command.post("/testing/v1/rolls", roll, once=True))["numbers"]

    await at_once(issue, tubes, AT_A_TIME)


async def _lists(world: World) -> list[str]:
    """Return everybody's id, by index. Each device fetches the expected people of its community.

    A list contains ids and grids, no names. It does not matter which person has which id, except for the people of step
    3. These are searched one by one.
    """
    known = {index: await _look_up(world, index) for index in sorted(world.plan.watched)}
    expected: dict[str, list[str]] = {}
    for community in world.expectation.communities:
        sampler = await world.sampler(community)
        async for item in sampler.items(f"{CAMPAIGNS}/{world.campaign_id}/missing", region=community):
            if item["resident_id"] not in known.values():
                expected.setdefault(item["region"], []).append(item["resident_id"])
    people = world.population.people
    left = Counter(person.region for person in people if person.index not in known)
    world.checks.each("people expected in each grid", left, {grid: len(ids) for grid, ids in expected.items()})
    return [known.get(person.index) or expected[person.region].pop() for person in people]


async def _look_up(world: World, index: int) -> str:
    found = await world.command.post("/registry/v1/residents/search", {"document_number": _number(world, index)})
    return str(found["items"][0]["id"])


def _number(world: World, index: int) -> str:
    return world.population.people[index].number


async def sample(world: World) -> None:
    """Sample with all devices. Records arrive in any order, late, twice, and after the seals of their tubes."""
    samplers = {community: await world.sampler(community) for community in world.plan.tubes}
    with world.progression.bar("tubes sealed", len(world.plan.all_tubes)) as bar, stopwatch() as lap:
        tally = await sample_everybody(world, samplers, bar)
    world.checks.equal("records answered", world.expectation.answers, tally.answers, lap.seconds)
    world.checks.equal("tubes sealed", Counter(sealed=len(world.plan.all_tubes)), tally.seals)
    world.checks.each(
        "expected, sampled and sealed in each grid", world.expectation.grids, await _grids(world, "sealed")
    )
    world.checks.each("who is missing in a grid", *await _missing(world))


async def _grids(world: World, state: str) -> dict[str, Grid]:
    """Return what the grid workers see. `state` is the expected state of all tubes."""
    progress = await world.command.get(f"{CAMPAIGNS}/{world.campaign_id}/progress")
    return {
        region["region"]: Grid(region["expected"], region["sampled"], region[state]) for region in progress["regions"]
    }


async def _missing(world: World) -> tuple[dict[str, str], dict[str, str]]:
    """Return the expected and the actual missing people in the first grid where somebody did not come."""
    people = world.population.people
    grid = people[min(world.plan.absent)].region
    stayed_away = {world.residents[index]: grid for index in world.plan.absent if people[index].region == grid}
    worker = await world.parties.staff("grid_worker", grid)
    path = f"{CAMPAIGNS}/{world.campaign_id}/missing"
    return stayed_away, {item["resident_id"]: item["region"] async for item in worker.items(path, region=grid)}


async def deliver(world: World) -> None:
    """Deliver the boxes of every community: picked up, in transit, and counted in the laboratory."""
    tubes = world.plan.tubes
    with world.progression.bar("tubes received", len(world.plan.all_tubes)) as bar, stopwatch() as lap:

        async def deliver_from(community: str) -> list[Any]:
            numbers = [world.number(tube) for tube in tubes[community]]
            boxes = await laboratory.bring(await world.sampler(community), world.laboratory, numbers)
            bar.advance(len(numbers))
            return boxes

        boxes = [box for line in await at_once(deliver_from, tubes, AT_A_TIME) for box in line]
    trouble = sum(len(box["missing"]) + len(box["unexpected"]) + len(box["late"]) for box in boxes)
    world.checks.equal("tubes received", len(world.plan.all_tubes), sum(len(box["tube_numbers"]) for box in boxes))
    world.checks.equal("tubes missing, unexpected or late", 0, trouble, lap.seconds)


async def report_negatives(world: World) -> None:
    """Report negative results for all tubes except one, without waiting for the consequences."""
    numbers = [world.number(tube) for tube in world.plan.all_tubes if tube is not world.plan.pool]
    with stopwatch() as lap:
        answers = await laboratory.report(world.laboratory, dict.fromkeys(numbers, "negative"))
    world.checks.equal("negative results", Counter(reported=len(numbers)), answers, lap.seconds)


async def check_progress(world: World) -> None:
    """Check the round at the end: in addition the pool and ten single tubes, one of them positive."""
    progress = await world.command.get(f"{CAMPAIGNS}/{world.campaign_id}/progress")
    whole = world.expectation.whole
    got = {name: progress["total"][name] for name in ("expected", "sampled", "missing", "resulted", "positive")}
    singles = len(world.plan.pool.people)
    expected = {
        "expected": whole.expected,
        "sampled": whole.sampled,
        "missing": whole.missing,
        "resulted": whole.tubes + singles,
        "positive": 2,
    }
    world.checks.equal("the round in the end", expected, got)
