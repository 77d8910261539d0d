"""The outcome depends on the set of facts held, not on the order in which they came."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from shared.contracts.resource import Resource
from shared.core import clock
from shared.core.ids import new_id
from tests.harness import District
from tests.observation.feeds import OTHER_GRID, dead_letters, drain_at_once, publish, resident, tube

NAMES = ("case", "adult", "child", "second", "neighbour", "mover")

EXPECTED_ORDERS = {
    ("adult", "central", "late", OTHER_GRID),
    ("child", "home", "late", "3505820050010101"),
    ("mover", "home", "late", "3505820050010101"),
    ("neighbour", "central", "corrected", "3505820050010101"),
}
EXPECTED_REFERRALS = {("case", "positive", "early"), ("second", "positive", "late"), ("stranger", "positive", "alone")}


def history(who: dict[str, UUID], tubes: dict[str, UUID]) -> list[Resource]:
    """Residents who change, tubes that are corrected both ways, people nobody knows, a drill: all versions of all."""
    home, other = new_id(), new_id()
    now = clock.now()
    return [
        resident(who["case"], home),
        resident(who["adult"], home),
        resident(who["adult"], home, version=2, region=OTHER_GRID),
        resident(who["child"], home, "child"),
        resident(who["second"], home, "pregnant"),
        resident(who["mover"], home, version=1),
        resident(who["mover"], home, "dependent", version=2),
        resident(who["neighbour"], other),
        resident(who["other_case"], other),
        tube(tubes["early"], [who["case"]], "positive", sampled_at=now - timedelta(days=2)),
        tube(tubes["late"], [who["second"]], "negative", sampled_at=now - timedelta(days=1)),
        tube(tubes["late"], [who["second"]], "positive", version=2, sampled_at=now - timedelta(days=1)),
        tube(tubes["mistaken"], [who["child"]], "positive", sampled_at=now),
        tube(tubes["mistaken"], [who["child"]], "negative", version=2, sampled_at=now),
        tube(tubes["corrected"], [who["other_case"]], "negative", sampled_at=now - timedelta(hours=30)),
        tube(tubes["corrected"], [who["other_case"]], "positive", version=2, sampled_at=now - timedelta(hours=30)),
        tube(tubes["alone"], [who["stranger"]], "positive"),
        tube(tubes["drill"], [who["neighbour"]], "positive", drill=True),
        tube(tubes["pool"], [who["adult"], who["mover"]], "positive", capacity=10),
    ]


async def outcome(district: District, who: dict[str, UUID], tubes: dict[str, UUID]) -> tuple[Any, Any, Any]:
    people = {id_: name for name, id_ in who.items()}
    evidence = {id_: name for name, id_ in tubes.items()}
    orders = await district.sql("SELECT * FROM observation.orders WHERE state = 'open'")
    referrals = await district.sql("SELECT * FROM observation.referrals WHERE closed_at IS NULL")
    stale = await district.sql(
        """
        SELECT orders.id FROM observation.orders JOIN LATERAL (
            SELECT max(feed.version) AS version FROM observation.feed WHERE feed.subject = orders.id
        ) AS told ON told.version IS DISTINCT FROM orders.version
        """
    )
    assert stale == [], "what is kept is what was published"
    assert await dead_letters(district) == []
    return (
        {(people[row["resident_id"]], row["kind"], evidence[row["evidence_id"]], row["region"]) for row in orders},
        {(people[row["resident_id"]], row["reason"], evidence[row["evidence_id"]]) for row in referrals},
        {(people[row["resident_id"]], tuple(row["negatives"])) for row in orders if row["negatives"]},
    )


@pytest.mark.parametrize("seed", range(16))
async def test_a_history_in_any_order_with_repetitions(district: District, seed: int) -> None:
    """Each entry is read in its own transaction, or many together, or all three feeds at the same time."""
    chance = random.Random(seed)
    who = {name: new_id() for name in (*NAMES, "other_case", "stranger")}
    tubes = {name: new_id() for name in ("early", "late", "mistaken", "corrected", "alone", "drill", "pool")}
    entries = history(who, tubes)
    told = entries + chance.sample(entries, 6)
    chance.shuffle(told)
    while told:
        together = chance.choice([1, 1, 3, len(told)])
        await publish(district, *told[:together])
        told = told[together:]
        if chance.random() < 0.5:
            await drain_at_once(district)
        else:
            await district.drain("observation")
    orders, referrals, _ = await outcome(district, who, tubes)
    assert orders == EXPECTED_ORDERS
    assert referrals == EXPECTED_REFERRALS | {("other_case", "positive", "corrected")}


async def test_a_rebuild_from_snapshots_changes_nothing(district: District) -> None:
    """Testing's and the registry's snapshots may not know these entries: only what they name is compared."""
    who = {name: new_id() for name in (*NAMES, "other_case", "stranger")}
    tubes = {name: new_id() for name in ("early", "late", "mistaken", "corrected", "alone", "drill", "pool")}
    await publish(district, *history(who, tubes))
    await district.drain("observation")
    before = await outcome(district, who, tubes)
    # The reader forgets which versions it holds: everything in the log is applied again.
    await district.sql("TRUNCATE observation.feed_held, observation.feed_cursors")
    await district.drain("observation")
    assert await outcome(district, who, tubes) == before


@pytest.mark.parametrize("attempt", range(8))
async def test_the_last_two_facts_at_the_same_time(district: District, attempt: int) -> None:
    """A resident and the positive they live with, each in a transaction that cannot see the other yet."""
    household, case, mate = new_id(), new_id(), new_id()
    await publish(district, resident(case, household))
    await district.drain("observation")
    await publish(district, resident(mate, household), tube(new_id(), [case], "positive"))
    await drain_at_once(district)
    rows = await district.sql("SELECT resident_id FROM observation.orders WHERE state = 'open'")
    assert [row["resident_id"] for row in rows] == [mate]


async def test_what_cannot_be_handled_is_parked_and_leaves_no_trace(district: District) -> None:
    """One impossible tube among others: they are followed, and nothing is published that is not kept."""
    household, other, case, mate, far_case, far_mate = (new_id() for _ in range(6))
    await publish(district, resident(case, household), resident(mate, household))
    await publish(district, resident(far_case, other), resident(far_mate, other))
    await district.drain("observation")
    at_the_end_of_time = datetime(9999, 12, 31, tzinfo=UTC)
    impossible = tube(new_id(), [far_case], "positive", sampled_at=at_the_end_of_time - timedelta(hours=2))
    possible = [tube(new_id(), [case], "positive"), tube(new_id(), [new_id()], "positive")]
    async with district.contexts["testing"].system_unit_of_work() as uow:
        uow.publish_all([possible[0], impossible, possible[1]], change="test")
    await publish(district)
    await district.drain("observation")
    assert [(row["type"], row["error"]) for row in await dead_letters(district)] == [
        ("testing.tube.v1", "OverflowError")
    ]
    phantoms = await district.sql(
        """
        SELECT type, subject FROM observation.feed WHERE subject NOT IN (
            SELECT id FROM observation.referrals UNION ALL SELECT id FROM observation.orders
        )
        """
    )
    assert phantoms == []
    assert len(await district.sql("SELECT 1 FROM observation.referrals")) == 2
    assert [row["resident_id"] for row in await district.sql("SELECT resident_id FROM observation.orders")] == [mate]
