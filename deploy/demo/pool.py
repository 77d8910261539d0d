"""Step 3: one pool is positive. Ten people turn yellow, nine of them green again, and one red, with a family."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from deploy.demo import laboratory
from deploy.demo.devices import Record, Tally, seal, seal_of, send
from deploy.demo.world import World
from shared.core.ids import new_id

CODE = "/gateway/v1/code"
YELLOW_WITHIN_SECONDS = 1.0
LAST_YELLOW = "from the post to ten yellow codes"
EVERY_SECONDS = 0.04
PATIENCE_SECONDS = 30.0
"""How often each of the ten looks at their code."""


async def turn_yellow(world: World) -> None:
    """The laboratory posts one positive; its ten people look at their codes until they are yellow."""
    pool = world.plan.pool
    await world.meet(world.plan.watched)
    await _await_all(world, "ten are green before", pool.people, "green")
    watching = asyncio.gather(*(_watch(world, index, "yellow") for index in pool.people))
    await asyncio.sleep(2 * EVERY_SECONDS)
    posted = asyncio.get_running_loop().time()
    await laboratory.report(world.laboratory, {world.number(pool): "positive"})
    turned = await watching
    world.checks.equal("of the ten turn yellow", len(pool.people), sum(at is not None for at in turned))
    if all(at is not None for at in turned):
        latest = max(at for at in turned if at is not None)
        world.checks.within(LAST_YELLOW, YELLOW_WITHIN_SECONDS, latest - posted)


async def _watch(world: World, index: int, colour: str) -> float | None:
    """When somebody sees that their code has a colour, by the loop's clock; None if they never do."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while loop.time() < deadline:
        if (await world.people[index].get(CODE))["colour"] == colour:
            return loop.time()
        await asyncio.sleep(EVERY_SECONDS)
    return None


async def retest(world: World) -> None:
    """Call each of the ten people, swab each into a separate tube, and deliver the tubes."""
    pool = world.plan.pool
    await world.await_value("colours of everybody meanwhile", world.expectation.pending, world.colours)
    found = await world.command.get("/testing/v1/tubes", number=world.number(pool))
    world.pool_id = found["items"][0]["id"]

    async def called() -> Counter[str]:
        path, query = "/testing/v1/retests", {"pool_id": world.pool_id}
        return Counter([item["state"] async for item in world.command.items(path, **query)])

    await world.await_value("called to a retest", Counter(called=len(pool.people)), called)
    sampler = await world.sampler(pool.community)
    roll = {"campaign_id": world.campaign_id, "region": pool.grid, "capacity": 1, "count": len(pool.people)}
    numbers = (await sampler.post("/testing/v1/rolls", roll, once=True))["numbers"]
    world.singles = dict(zip(pool.people, numbers, strict=True))
    records = [_swab(world, index, number) for index, number in world.singles.items()]
    tally = Tally()
    await send(sampler, records, tally)
    await seal(sampler, [seal_of(record["tube_number"], [record]) for record in records], tally)
    world.checks.equal("single swabs", Counter(kept=len(records)), tally.answers)
    await laboratory.bring(sampler, world.laboratory, numbers)
    await world.await_value("swabbed again", Counter(sampled=len(records)), called)


def _swab(world: World, index: int, number: str) -> Record:
    return {
        "id": str(new_id()),
        "campaign_id": world.campaign_id,
        "tube_number": number,
        "resident_id": world.residents[index],
        "sampled_at": datetime.now(UTC).isoformat(),
        "offline": False,
    }


async def nine_are_free(world: World) -> None:
    """Check nine own negatives and nine green codes; the tenth person still waits."""
    positive = world.plan.family.positive
    nine = [index for index in world.plan.pool.people if index != positive]
    await laboratory.report(world.laboratory, {world.singles[index]: "negative" for index in nine})
    await _await_all(world, "nine green by their own negative", nine, "green")
    await _await_all(world, "the tenth still yellow", [positive], "yellow")


async def one_is_positive(world: World) -> Any:
    """One red code, one referral, and a household under observation; gives the referral."""
    family = world.plan.family
    await laboratory.report(world.laboratory, {world.singles[family.positive]: "positive"})
    await _await_all(world, "the tenth turns red", [family.positive], "red")
    await _await_all(world, "household, central: red", family.central, "red")
    await _await_all(world, "household, at home: yellow", family.home, "yellow")
    others = [index for index in world.plan.pool.people if index not in world.expectation.colours]
    await _await_all(world, "the others of the pool stay green", others, "green")
    await world.await_value("colours of everybody at the end", world.expectation.settled, world.colours)
    await world.await_states("observation orders", orders_expected(world), lambda: _orders(world))
    return await _referral(world)


async def _await_all(world: World, what: str, people: Iterable[int], colour: str) -> None:
    """Check that everybody sees a colour on their own code."""
    indices = list(people)

    async def colours() -> Counter[str]:
        codes = await asyncio.gather(*(world.people[index].get(CODE) for index in indices))
        return Counter(code["colour"] for code in codes)

    await world.await_value(what, Counter({colour: len(indices)}), colours)


def orders_expected(world: World) -> dict[str, str]:
    """Who should be observed, and where."""
    family = world.plan.family
    return dict.fromkeys(world.ids(family.central), "central") | dict.fromkeys(world.ids(family.home), "home")


async def _orders(world: World) -> dict[str, str]:
    """Who is observed and where, of all orders that are open anywhere in the township."""
    path = "/observation/v1/orders"
    return {item["resident_id"]: item["kind"] async for item in world.command.items(path, state="open")}


async def _referral(world: World) -> Any:
    referred = world.residents[world.plan.family.positive]

    async def all_of_them() -> list[Any]:
        return [item async for item in world.command.items("/observation/v1/referrals")]

    async def referral_states() -> dict[str, tuple[str, str]]:
        return {item["resident_id"]: (item["reason"], item["state"]) for item in await all_of_them()}

    await world.await_states("referred to hospital", {referred: ("positive", "reported")}, referral_states)
    return next(iter(await all_of_them()), None)
