"""G2: who writes the same codes at once, by both lanes and a rebuild, leaves what the facts say and nothing else."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
import pytest

from services.gateway.codes import rules
from services.gateway.codes.use_cases import RENEW_LAST_NEGATIVES, facts_of, policy_now
from services.gateway.worker import WORKER
from shared.contracts.testing import Tube
from shared.core import clock
from shared.core.actors import system
from shared.core.ids import in_order, new_id
from shared.database.bulk import literal
from shared.feed.reader import Incoming, Reader
from shared.http.failures import is_transient
from tests.gateway.test_codes import publish, resident, tube
from tests.gateway.test_codes_in_a_rush import WAITING
from tests.harness import District

PEOPLE, TUBES, VERSIONS = 30, 60, 4
SIZES = itertools.cycle((1, 2, 7))


class SmallBatches(Reader):
    """Reads a few entries at a time, so that many transactions meet."""

    @property
    def _batch(self) -> int:
        return next(SIZES)


@dataclass
class Rebuilding(Reader):
    """Its owner holds these tubes."""

    held: Sequence[Tube] = ()

    async def _snapshot_page(self, type_name: str, after: str | None) -> list[Incoming]:
        following = [one for one in self.held if after is None or str(one.id) > after]
        return [
            Incoming(type_name, str(one.id), one.version, one.region, msgspec.Raw(one.model_dump_json().encode()))
            for one in sorted(following, key=lambda one: str(one.id))[:9]
        ]


def lives_of(drawn: random.Random, people: list[UUID]) -> list[list[Tube]]:
    """Tubes, each as it was from version to version: found, corrected, held, taken back."""
    lives: list[list[Tube]] = []
    for _ in range(TUBES):
        own = drawn.random() < 0.4
        inside = drawn.sample(people, 1 if own else drawn.randint(2, 10))
        at = clock.now() - timedelta(hours=drawn.choice((1, 2, 3, 50, 200, 800)), minutes=drawn.randint(0, 50))
        pools = [life[0].id for life in lives if life[0].capacity > 1 and inside[0] in people_in(life[0])]
        answers = tuple(drawn.sample(pools, min(1, len(pools)))) if own else ()
        first = tube(inside, None, at=at, answers=answers)
        life = [first]
        for version in range(2, VERSIONS + 1):
            outcome = drawn.choices(("negative", "positive", "inconclusive", "invalid"), (6, 2, 1, 1))[0]
            told = tube(inside, outcome, at=at, version=version, id=first.id, answers=answers)
            life.append(told.model_copy(update={"held": drawn.random() < 0.1, "capacity": first.capacity}))
        lives.append(life)
    return lives


def people_in(one: Tube) -> list[UUID]:
    return [sample.resident_id for sample in one.samples]


async def until_through(step: Callable[[], Awaitable[int]], met: list[str]) -> None:
    """As a worker does: what may succeed a little later is tried again."""
    while True:
        try:
            if await step() == 0:
                return
        except Exception as error:
            if not is_transient(error):
                raise
            met.append(type(error.__cause__).__name__)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_codes_raced_by_both_lanes_and_a_rebuild_are_what_the_facts_say(district: District, seed: int) -> None:
    drawn = random.Random(seed)
    people = [new_id() for _ in range(PEOPLE)]
    await publish(district, *map(resident, people))
    lives = lives_of(drawn, people)
    left = [list(life) for life in lives]
    while left:
        life = drawn.choice(left)
        async with district.contexts["testing"].system_unit_of_work() as uow:
            uow.publish_all([life.pop(0)], change="test", urgent=drawn.random() < 0.5)
        left = [life for life in left if life]
    await district.until_served()

    context, met = district.contexts["gateway"], list[str]()
    lanes = [SmallBatches(context, "testing", WORKER.reactions) for _ in ("urgent", "normal")]
    anew = Rebuilding(context, "testing", WORKER.reactions, held=[life[-1] for life in lives])
    async with asyncio.timeout(120):
        await asyncio.gather(
            until_through(lambda: lanes[0].drain(["urgent"]), met),
            until_through(lambda: lanes[1].drain(["normal"]), met),
            until_through(lambda: again(anew.rebuild()), met),
        )
    assert await district.sql("SELECT type, error FROM gateway.feed_parked") == []
    await check(district, people)


async def again(rebuilding: Awaitable[int]) -> int:
    await rebuilding
    return 0


async def check(district: District, people: list[UUID]) -> None:
    context = district.contexts["gateway"]
    async with context.unit_of_work(system("gateway"), "check") as uow:
        facts, policy, now = await facts_of(uow, people), await policy_now(uow), uow.now
    codes = await district.sql("SELECT resident_id, colour, until, last_negative FROM gateway.codes")
    negatives = await district.sql(
        "SELECT resident_id, max(sampled_at) AS latest FROM gateway.facts WHERE kind = 'negative' AND sampled_at > $1"
        " GROUP BY 1",
        now - rules.NEGATIVE_COUNTS,
    )
    latest: dict[UUID, datetime] = {row["resident_id"]: row["latest"] for row in negatives}
    assert len(codes) == len(people)
    coloured = 0
    for code in codes:
        who = code["resident_id"]
        said = rules.evaluate(facts[who], policy, now)
        assert (code["colour"], code["until"]) == (said.colour, said.until), who
        assert code["last_negative"] == latest.get(who), who
        coloured += said.colour > 1
    assert 0 < coloured < len(people), "or nothing was tried"


@pytest.mark.parametrize("many", [0, 20_000], ids=["few codes", "many codes"])
async def test_negatives_are_kept_in_the_order_in_which_codes_are_locked(district: District, many: int) -> None:
    people = [new_id() for _ in range(600)]
    await district.sql(
        "INSERT INTO gateway.codes (resident_id, region, policy)"
        " SELECT id, '3505820050010101', 1 FROM unnest($1::uuid[]) AS new (id) ORDER BY random()",
        [*people, *(new_id() for _ in range(many))],
    )
    await district.sql("ANALYZE gateway.codes")
    ids = in_order(people)

    async def renewing() -> None:
        async with district.contexts["gateway"].system_unit_of_work() as uow:
            await uow.run(RENEW_LAST_NEGATIVES, ids=literal(ids), sampled=literal([uow.now for _ in ids]))

    owner = await asyncpg.connect(district.database.owner_url)
    try:
        async with asyncio.timeout(60):
            async with owner.transaction():
                await owner.execute("SELECT FROM gateway.codes WHERE resident_id = $1 FOR UPDATE", ids[0])
                waits = asyncio.create_task(renewing())
                while not await owner.fetchval(WAITING):  # noqa: ASYNC110 - the server tells nobody
                    await asyncio.sleep(0.01)
                free = await district.sql(
                    "SELECT FROM gateway.codes WHERE resident_id = ANY($1) FOR UPDATE SKIP LOCKED", ids[1:]
                )
            await waits
    finally:
        await owner.close()
    assert len(free) == len(ids) - 1, "who waits for the first holds none of the others"
