"""G2: codes follow from facts, and from nothing else."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.gateway.codes.use_cases import forget_negatives
from shared.contracts.observation import Order, Referral
from shared.contracts.registry import Resident
from shared.contracts.resource import Resource
from shared.contracts.testing import Result, Sample, Tube
from shared.core import clock
from shared.core.actors import Role
from shared.core.days import SHANGHAI
from shared.core.ids import new_id
from shared.feed.reader import Reader
from tests.harness import District

GRID = "3505820050010101"
NOW = datetime.now(UTC) - timedelta(hours=12)
"""When the pool was resulted: everything below has happened already."""


def resident(id_: UUID, version: int = 1, region: str = GRID) -> Resident:
    return Resident(id=id_, version=version, region=region, state="active", household_id=None)


def tube(people: list[UUID], outcome: Any = None, *, at: datetime = NOW, version: int = 1, **values: Any) -> Tube:
    given: dict[str, Any] = {
        "id": new_id(),
        "version": version,
        "region": GRID,
        "campaign_id": new_id(),
        "number": "T1",
        "capacity": 10 if len(people) > 1 else 1,
        "people": "pool" if len(people) > 1 else "single",
        "state": "resulted" if outcome else "received",
        "drill": False,
        "samples": tuple(Sample(id=new_id(), resident_id=one, sampled_at=at - timedelta(hours=2)) for one in people),
        "missing": 0,
        "result": outcome and Result(outcome=outcome, revision=1, tested_at=at, reported_at=at),
    }
    return Tube(**(given | values))


async def publish(district: District, *resources: Resource, settle: bool = True) -> None:
    for one in resources:
        async with district.contexts[one.type.split(".")[0]].system_unit_of_work() as uow:
            uow.publish_all([one], change="test")
    if settle:
        await district.drain("gateway")


async def code(district: District, person: UUID) -> dict[str, Any]:
    staff = district.caller("gateway", Role.GRID_WORKER)
    answer = await staff.get(f"/gateway/v1/codes/{person}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def colours(district: District, people: list[UUID]) -> list[str]:
    return [(await code(district, one))["colour"] for one in people]


async def test_everybody_is_green_without_a_fact_that_says_otherwise(district: District) -> None:
    person = new_id()
    await publish(district, resident(person))
    found = await code(district, person)
    assert (found["colour"], found["reasons"], found["policy"]) == ("green", [], 1)


async def test_a_positive_pool_turns_its_ten_yellow_and_each_frees_itself(district: District) -> None:
    people = [new_id() for _ in range(10)]
    pool = tube(people, "positive")
    await publish(district, *map(resident, people), pool)
    assert set(await colours(district, people)) == {"yellow"}
    later = NOW + timedelta(hours=6)
    own = [tube([one], "negative", at=later, answers=(pool.id,)) for one in people[:9]]
    await publish(district, *own, tube([people[9]], "positive", at=later, answers=(pool.id,)))
    assert await colours(district, people) == ["green"] * 9 + ["red"]


async def test_a_tube_for_one_person_that_holds_two_is_a_pool_as_long_as_it_does(district: District) -> None:
    first, second = people = [new_id(), new_id()]
    shared = tube(people, "positive", capacity=1)
    assert (shared.capacity, shared.people) == (1, "pool")
    await publish(district, *map(resident, people), shared)
    assert await colours(district, people) == ["yellow", "yellow"]
    alone = tube([first], "positive", version=2, id=shared.id)
    await publish(district, alone)
    assert await colours(district, people) == ["red", "green"]
    await publish(district, shared.model_copy(update={"version": 3}))
    assert await colours(district, people) == ["yellow", "yellow"]
    # Its negative frees nobody, whatever it says that it answers.
    pool = tube([second, new_id()], "positive")
    later = NOW + timedelta(hours=6)
    mixed = tube(people, "negative", at=later, capacity=1, answers=(pool.id, shared.id))
    await publish(district, pool, mixed)
    assert await colours(district, people) == ["yellow", "yellow"]


async def test_a_negative_retracts_only_what_it_answers(district: District) -> None:
    person, other = new_id(), new_id()
    pool = tube([person, other], "positive")
    later = NOW + timedelta(hours=6)
    await publish(district, resident(person), pool, tube([person, new_id()], "negative", at=later))
    assert (await code(district, person))["colour"] == "yellow", "another pool's negative answers nothing"
    await publish(district, tube([person], "negative", at=later))
    assert (await code(district, person))["colour"] == "yellow", "a single tube that was no retest answers nothing"
    early = tube([person], "negative", at=NOW - timedelta(hours=1), answers=(pool.id,))
    await publish(district, early)
    assert (await code(district, person))["colour"] == "yellow", "nor does a swab taken before the pool's result"


async def test_reasons_name_rule_evidence_and_way_out_in_both_languages(district: District) -> None:
    person = new_id()
    pool = tube([person, new_id()], "inconclusive")
    await publish(district, resident(person), pool)
    staff = district.caller("gateway", Role.COMMUNITY_OFFICER)
    for language, word in (("zh-CN", "橙码"), ("en", "Orange")):
        found = (await staff.get(f"/gateway/v1/codes/{person}", headers={"accept-language": language})).json()
        (reason,) = found["reasons"]
        assert reason["evidence_id"] == str(pool.id)
        assert reason["evidence_type"] == "testing.tube.v1"
        assert all(reason[name] for name in ("rule", "why", "how_it_ends", "next_step", "source", "since"))
        assert word in found["meaning"]
        assert "yellow" not in found["meaning"].lower(), "Fujian has one name for it"
        source = "第十一条" if language == "zh-CN" else "article 11"
        assert source in reason["source"]


async def test_a_fact_may_come_before_its_person(district: District) -> None:
    person = new_id()
    await publish(district, tube([person], "positive"))
    await publish(district, resident(person))
    assert (await code(district, person))["colour"] == "red"


async def test_a_correction_replaces_what_it_corrects(district: District) -> None:
    person = new_id()
    wrong = tube([person], "positive")
    await publish(district, resident(person), wrong)
    right = wrong.model_copy(update={"version": 2, "result": wrong.result.model_copy(update={"outcome": "negative"})})
    await publish(district, right)
    assert (await code(district, person))["colour"] == "green"
    await publish(district, wrong)
    assert (await code(district, person))["colour"] == "green", "an older version changes nothing"


async def latest(district: District, person: UUID) -> datetime | None:
    found = (await code(district, person))["last_negative_at"]
    return found and datetime.fromisoformat(found)


async def test_the_latest_negative_is_kept_in_whichever_order_they_come(district: District) -> None:
    person, swabbed = new_id(), NOW - timedelta(hours=2)
    newest = tube([person, new_id()], "negative")
    await publish(district, resident(person), newest)
    assert await latest(district, person) == swabbed
    earlier = tube([person, new_id()], "negative", at=NOW - timedelta(days=2))
    await publish(district, earlier)
    assert await latest(district, person) == swabbed
    assert newest.result is not None
    invalid = newest.result.model_copy(update={"outcome": "invalid", "revision": 2})
    await publish(district, newest.model_copy(update={"version": 2, "result": invalid}))
    assert await latest(district, person) == swabbed - timedelta(days=2), "of what is no longer said nothing is left"


async def test_a_negative_too_old_to_count_is_no_latest_one(district: District) -> None:
    person = new_id()
    await publish(district, resident(person), tube([person, new_id()], "negative", at=NOW - timedelta(days=400)))
    assert await latest(district, person) is None


async def test_drills_held_negatives_and_invalid_results_touch_no_code(district: District) -> None:
    people = [new_id() for _ in range(3)]
    await publish(
        district,
        *map(resident, people),
        tube([people[0]], "positive", drill=True),
        tube([people[1], new_id()], "negative", held=True, missing=1),
        tube([people[2]], "invalid"),
    )
    found = [await code(district, one) for one in people]
    assert [(one["colour"], one["last_negative_at"]) for one in found] == [("green", None)] * 3


@pytest.mark.parametrize(("kind", "colour"), [("central", "red"), ("home", "yellow"), ("monitoring", "green")])
async def test_orders_restrict_until_they_end(district: District, kind: Any, colour: str) -> None:
    person = new_id()
    order = Order(
        id=new_id(),
        version=1,
        region=GRID,
        resident_id=person,
        kind=kind,
        state="open",
        protocol=1,
        evidence_type="testing.tube.v1",
        evidence_id=new_id(),
        day_0=clock.day_of(NOW),
        opened_at=NOW,
        ends_at=NOW + timedelta(days=14),
    )
    await publish(district, resident(person), order)
    found = await code(district, person)
    assert found["colour"] == colour
    (reason,) = found["reasons"]
    assert (reason["until"], datetime.fromisoformat(reason["earliest_end"])) == (None, order.ends_at)
    assert f"not before {order.ends_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" in reason["how_it_ends"]
    longer = order.model_copy(update={"version": 2, "ends_at": order.ends_at + timedelta(days=3)})
    await publish(district, longer)
    (reason,) = (await code(district, person))["reasons"]
    assert datetime.fromisoformat(reason["earliest_end"]) == longer.ends_at
    await publish(district, order.model_copy(update={"version": 3, "state": "ended", "ended_at": NOW}))
    assert (await code(district, person))["colour"] == "green"


def ruled_out(person: UUID, positive: Tube) -> Referral:
    return Referral(
        id=new_id(),
        version=1,
        region=GRID,
        resident_id=person,
        reason="positive",
        state="ruled_out",
        evidence_type=positive.type,
        evidence_id=positive.id,
        reported_at=NOW,
        closed_at=NOW + timedelta(hours=8),
    )


async def test_what_the_hospital_rules_out_ends_the_red(district: District) -> None:
    person = new_id()
    positive = tube([person], "positive")
    await publish(district, resident(person), positive)
    assert (await code(district, person))["colour"] == "red"
    await publish(district, ruled_out(person, positive))
    assert (await code(district, person))["colour"] == "green"


async def test_who_was_ruled_out_after_the_own_retest_is_free_of_its_pool_too(district: District) -> None:
    person = new_id()
    pool = tube([person, new_id()], "positive")
    own = tube([person], "positive", at=NOW + timedelta(hours=6), answers=(pool.id,))
    await publish(district, resident(person), pool, own)
    (reason,) = (await code(district, person))["reasons"]
    assert (reason["rule"], reason["evidence_id"]) == ("positive", str(own.id))
    await publish(district, ruled_out(person, own))
    assert (await code(district, person))["colour"] == "green"
    right = own.model_copy(update={"version": 2, "result": own.result.model_copy(update={"outcome": "inconclusive"})})
    await publish(district, right)
    assert {one["evidence_id"] for one in (await code(district, person))["reasons"]} == {str(pool.id), str(own.id)}


async def test_any_order_of_a_history_gives_the_same_codes(district: District) -> None:
    shuffler = random.Random(11)
    people = [new_id() for _ in range(6)]
    pool = tube(people, "positive")
    later = NOW + timedelta(hours=5)
    wrong = tube([people[0]], "positive", at=later, answers=(pool.id,))
    right = wrong.model_copy(update={"version": 2, "result": wrong.result.model_copy(update={"outcome": "negative"})})
    history: list[Resource] = [
        *map(resident, people),
        pool,
        wrong,
        right,
        *(tube([one], "negative", at=later, answers=(pool.id,)) for one in people[1:4]),
        tube([people[4]], "positive", at=later, answers=(pool.id,)),
        *(resident(one, version=2) for one in people),
    ]
    outcomes = []
    for _ in range(6):
        await district.empty()
        told = history + shuffler.choices(history, k=6)
        shuffler.shuffle(told)
        for start in range(0, len(told), 3):
            await publish(district, *told[start : start + 3])
        outcomes.append(await colours(district, people))
    assert outcomes == [["green"] * 4 + ["red", "yellow"]] * 6


async def last_negatives(district: District, people: list[UUID]) -> list[datetime | None]:
    found = [(await code(district, one))["last_negative_at"] for one in people]
    return [one and datetime.fromisoformat(one) for one in found]


@pytest.mark.parametrize("seed", range(6))
async def test_the_latest_negative_in_force_counts_in_any_order(district: District, seed: int) -> None:
    """Of three rounds the newest is withdrawn for one person, an older is corrected for the other, ever again."""
    chance = random.Random(seed)
    one, other = new_id(), new_id()
    day = timedelta(days=1)
    first, second = tube([one, other], "negative", at=NOW - 3 * day), tube([one, other], "negative", at=NOW - 2 * day)
    last = tube([one], "negative", at=NOW - day)
    withdrawn = last.model_copy(update={"version": 2, "state": "discarded"})
    assert second.result is not None
    worse = second.model_copy(update={"version": 2, "result": second.result.model_copy(update={"outcome": "positive"})})
    history: list[Resource] = [resident(one), resident(other), first, second, worse, last, withdrawn]
    told = history + chance.choices(history, k=4)
    chance.shuffle(told)
    for start in range(0, len(told), 2):
        await publish(district, *told[start : start + 2])
    swabbed = first.samples[0].sampled_at
    assert await last_negatives(district, [one, other]) == [swabbed, swabbed]
    assert await colours(district, [one, other]) == ["yellow", "yellow"]


async def test_negatives_too_old_to_count_are_forgotten_and_nothing_else(district: District) -> None:
    person, mate = new_id(), new_id()
    old = tube([person], "negative", at=NOW - timedelta(days=40))
    pool = tube([person, mate], "positive", at=NOW - timedelta(days=50))
    answer = tube([person], "negative", at=NOW - timedelta(days=45), answers=(pool.id,))
    recent = tube([mate], "negative")
    await publish(district, resident(person), resident(mate), old, pool, answer, recent)
    before = await colours(district, [person, mate]), await last_negatives(district, [person, mate])
    assert before == (["green", "yellow"], [None, recent.samples[0].sampled_at])
    await forget_negatives(district.contexts["gateway"])
    kept = {row["subject"] for row in await district.sql("SELECT subject FROM gateway.facts")}
    assert kept == {pool.id, answer.id, recent.id}
    await publish(district, resident(person, version=2), resident(mate, version=2))
    assert (await colours(district, [person, mate]), await last_negatives(district, [person, mate])) == before


@pytest.mark.parametrize("attempt", range(4))
async def test_a_person_and_their_fact_at_the_same_time(district: District, attempt: int) -> None:
    """Two readers, neither of which can see yet what the other is writing."""
    people = [new_id() for _ in range(50)]
    await publish(district, *map(resident, people), *(tube([one], "positive") for one in people), settle=False)
    await district.until_served()
    reactions = district.workers["gateway"].reactions
    await asyncio.gather(
        *(Reader(district.contexts["gateway"], owner, reactions).drain() for owner in ("registry", "testing"))
    )
    rows = await district.sql("SELECT colour FROM gateway.codes")
    assert [row["colour"] for row in rows] == [3] * 50


async def test_two_feeds_at_once_overlook_nothing(district: District) -> None:
    """A tube and an order about the same people, applied by two readers at the same time."""
    people = [new_id() for _ in range(200)]
    await publish(district, *map(resident, people))
    tubes = [tube([one], "positive") for one in people]
    orders = [
        Order(
            id=new_id(),
            version=1,
            region=GRID,
            resident_id=one,
            kind="home",
            state="open",
            protocol=1,
            evidence_type="testing.tube.v1",
            evidence_id=new_id(),
            day_0=clock.day_of(NOW),
            opened_at=NOW,
            ends_at=NOW + timedelta(days=14),
        )
        for one in people
    ]
    await publish(district, *tubes, *orders, settle=False)
    await district.until_served()
    reactions = district.workers["gateway"].reactions
    await asyncio.gather(
        *(Reader(district.contexts["gateway"], owner, reactions).drain() for owner in ("testing", "observation"))
    )
    rows = await district.sql("SELECT colour, jsonb_array_length(reasons) AS reasons FROM gateway.codes")
    assert {(row["colour"], row["reasons"]) for row in rows} == {(3, 2)}
    assert len(rows) == 200


async def test_staff_elsewhere_see_no_code_and_residents_their_own(district: District) -> None:
    person, other = new_id(), new_id()
    await publish(district, resident(person), resident(other))
    elsewhere = district.caller("gateway", Role.GRID_WORKER, scope="350582004")
    assert (await elsewhere.get(f"/gateway/v1/codes/{person}")).status_code == 404
    self = district.caller("gateway", Role.RESIDENT, residents=(person,))
    assert (await self.get(f"/gateway/v1/codes/{person}")).status_code == 200
    assert (await self.get(f"/gateway/v1/codes/{other}")).status_code == 404


async def test_counts_add_up_within_the_scope(district: District) -> None:
    people = [new_id() for _ in range(5)]
    await publish(
        district, *map(resident, people), resident(new_id(), region="350582004001"), tube(people[:2], "positive")
    )
    command = district.caller("gateway", Role.COMMAND)
    counts = (await command.get("/gateway/v1/codes/counts", params={"region": "350582005"})).json()
    assert counts == {"green": 3, "yellow": 2, "red": 0}
    elsewhere = (await command.get("/gateway/v1/codes/counts", params={"region": "350582004"})).json()
    assert elsewhere == {"green": 0, "yellow": 0, "red": 0}


async def test_every_change_of_a_code_is_remembered(district: District) -> None:
    person = new_id()
    wrong = tube([person], "positive")
    await publish(district, resident(person), wrong)
    await publish(
        district,
        wrong.model_copy(update={"version": 2, "result": wrong.result.model_copy(update={"outcome": "negative"})}),
    )
    rows = await district.sql("SELECT colour, version FROM gateway.code_changes ORDER BY number")
    assert [(row["colour"], row["version"]) for row in rows] == [(3, 2), (1, 3)]


async def test_no_role_of_ours_but_the_system_can_write_a_code(district: District) -> None:
    import asyncpg

    connection = await asyncpg.connect(district.database.url_of("gateway"))
    try:
        for role in ("staff", "resident", "machine", "door"):
            await connection.execute(f"SET ROLE fangxian_gateway_{role}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("UPDATE gateway.codes SET colour = 1")
            await connection.execute("RESET ROLE")
    finally:
        await connection.close()
