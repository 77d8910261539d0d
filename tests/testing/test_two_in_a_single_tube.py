"""A tube for one person that holds two is a pool: nobody is positive by it, and it frees nobody (T4, T6)."""

from typing import Any
from uuid import UUID

import pytest

from shared.contracts.registry import Resident
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.testing.conftest import GRID, MakeRound, Round, publish_residents, residents


async def at_home(district: District) -> list[UUID]:
    """Two people with one more in the household of each, by turns: first, who lives with them, second, and theirs."""
    homes = [new_id(), new_id()]
    people = [
        Resident(id=new_id(), version=1, region=GRID, state="active", household_id=home) for home in homes for _ in "12"
    ]
    await publish_residents(district, people)
    return [person.id for person in people]


async def shared(ring: Round, *people: UUID, late: int = 0) -> tuple[str, list[dict[str, Any]]]:
    """A sealed tube for one person with these in it. The records of the last `late` are listed, and not sent yet."""
    [tube] = await ring.roll(capacity=1)
    swabs = [ring.swab(tube, person, offline=True) for person in people]
    answers = await ring.send(*swabs[: len(swabs) - late])
    assert {answer["status"] for answer in answers} == {"kept"}
    assert (await ring.seal(tube, swabs))["status"] == "sealed"
    await ring.deliver(tube)
    return tube, swabs


async def own_answer(district: District, person: UUID) -> tuple[str, str | None]:
    """How many people the person's last tube is of, and its outcome, as the person reads it."""
    client = district.caller("testing", Role.RESIDENT, residents=(person,))
    said = (await client.get("/testing/v1/my-samples")).json()["items"][0]
    return said["people"], said["outcome"]


async def called(ring: Round) -> dict[UUID, tuple[str, str]]:
    """State of the retest of each person, and whose pool it is."""
    return {UUID(one["resident_id"]): (one["state"], one["pool_id"]) for one in await ring.retests()}


async def colours(district: District, *people: UUID) -> list[str]:
    await district.settle()
    staff = district.caller("gateway", Role.GRID_WORKER)
    return [(await staff.get(f"/gateway/v1/codes/{person}")).json()["colour"] for person in people]


async def observed(district: District, kind: str) -> set[UUID]:
    """Who has an open order, or a referral."""
    command = district.caller("observation", Role.COMMAND)
    answer = await command.get(f"/observation/v1/{kind}", params={"limit": 200})
    assert answer.status_code == 200, answer.text
    states = ("open", "reported")
    return {UUID(one["resident_id"]) for one in answer.json()["items"] if one["state"] in states}


async def test_nobody_is_positive_by_a_tube_with_somebody_else_in_it(district: District, make_round: MakeRound) -> None:
    first, _, second, _ = people = await at_home(district)
    ring = await make_round()
    tube, _swabs = await shared(ring, first, second)
    exceptions = {one["exception"] for one in (await ring.tube(tube))["samples"]}
    assert exceptions == {None, "over_capacity"}
    await ring.report(ring.result_of(tube, "positive"))
    said = await ring.tube(tube)
    assert (said["capacity"], said["people"], said["answers"]) == (1, "pool", [])
    assert await called(ring) == dict.fromkeys((first, second), ("called", said["id"]))
    assert [await own_answer(district, person) for person in (first, second)] == [("pool", "retest")] * 2
    assert await colours(district, *people) == ["yellow", "green", "yellow", "green"]
    assert await observed(district, "orders") == await observed(district, "referrals") == set()

    # Each is told apart by a tube of their own.
    own = [(await ring.filled([person], capacity=1))[0] for person in (first, second)]
    await ring.report(ring.result_of(own[0], "negative"), ring.result_of(own[1], "positive"))
    assert {state for state, _ in (await called(ring)).values()} == {"settled"}
    assert await own_answer(district, second) == ("single", "positive")
    assert (await colours(district, *people))[:3] == ["green", "green", "red"]
    assert await observed(district, "referrals") == {second}
    assert await observed(district, "orders") == {people[3]}


async def test_a_correction_of_such_a_tube_is_followed(district: District, make_round: MakeRound) -> None:
    first, second = await residents(district, 2)
    ring = await make_round()
    tube, _ = await shared(ring, first, second)
    for revision, (outcome, state, colour, said) in enumerate(
        [
            ("negative", None, "green", "negative"),
            ("positive", "called", "yellow", "retest"),
            ("negative", "withdrawn", "green", "negative"),
        ],
        1,
    ):
        await ring.report(ring.result_of(tube, outcome, revision))
        assert {one for one, _ in (await called(ring)).values()} == ({state} if state else set())
        assert await colours(district, first, second) == [colour] * 2
        assert await own_answer(district, first) == ("pool", said)


async def test_a_record_after_the_result_frees_nobody_and_makes_nobody_positive(
    district: District, make_round: MakeRound
) -> None:
    first, second = await residents(district, 2)
    ring = await make_round()
    tube, _ = await shared(ring, first)
    await ring.report(ring.result_of(tube, "positive"))
    assert await colours(district, first, second) == ["red", "green"]
    more = ring.swab(tube, second, offline=True, ago=30)
    again = ring.swab(tube, second)
    codes = [answer["problem"]["code"] for answer in await ring.send(more, again)]
    assert codes == ["not_in_manifest", "tube_sealed"]
    assert (await ring.tube(tube))["people"] == "single"
    assert await called(ring) == {}
    assert await own_answer(district, first) == ("single", "positive")
    assert await colours(district, first, second) == ["red", "green"]
    assert await observed(district, "referrals") == {first}
    # The record is not lost: staff see whom it names, and why it was refused.
    refused = (await ring.command.get("/testing/v1/samples/refused")).json()["items"]
    assert [(one["sample_id"], one["resident_id"], one["reason"]) for one in refused] == [
        (more["id"], str(second), "not_in_manifest")
    ]


async def test_the_seal_says_that_a_tube_holds_two_before_both_are_known(
    district: District, make_round: MakeRound
) -> None:
    first, second = await residents(district, 2)
    ring = await make_round()
    tube, swabs = await shared(ring, first, second, late=1)
    await ring.report(ring.result_of(tube, "positive"))
    assert (await ring.tube(tube))["people"] == "pool"
    assert list(await called(ring)) == [first]
    assert await colours(district, first, second) == ["yellow", "green"]
    assert await own_answer(district, first) == ("pool", "retest")
    [answer] = await ring.send(swabs[1])
    assert (answer["status"], answer["exception"]) == ("kept", "over_capacity")
    assert {person: state for person, (state, _) in (await called(ring)).items()} == dict.fromkeys(
        (first, second), "called"
    )
    assert await colours(district, first, second) == ["yellow", "yellow"]
    assert await observed(district, "referrals") == set()


async def test_two_records_of_one_person_are_no_pool_once_both_are_here(
    district: District, make_round: MakeRound
) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    tube, swabs = await shared(ring, person, person, late=1)
    await ring.report(ring.result_of(tube, "positive"))
    assert await colours(district, person) == ["yellow"]
    await ring.send(swabs[1])
    assert (await ring.tube(tube))["people"] == "single"
    assert [state for state, _ in (await called(ring)).values()] == ["withdrawn"]
    assert await own_answer(district, person) == ("single", "positive")
    assert await colours(district, person) == ["red"]
    assert await observed(district, "referrals") == {person}


@pytest.mark.parametrize("corrected", ["undo", "move"])
async def test_who_remains_alone_in_the_tube_before_the_seal_is_single(
    district: District, make_round: MakeRound, corrected: str
) -> None:
    first, second = await residents(district, 2)
    ring = await make_round()
    tube, other = await ring.roll(2, capacity=1)
    swabs = [ring.swab(tube, person, offline=True) for person in (first, second)]
    await ring.send(*swabs)
    assert (await ring.tube(tube))["people"] == "pool"
    body = {"reason": "wrong_tube"} | ({"tube_number": other} if corrected == "move" else {})
    answer = await ring.sampler.post(f"/testing/v1/samples/{swabs[1]['id']}/{corrected}", json=body)
    assert answer.status_code == 200, answer.text
    assert (await ring.tube(tube))["people"] == "single"
    await ring.seal(tube, swabs[:1])
    await ring.deliver(tube)
    await ring.report(ring.result_of(tube, "positive"))
    assert await called(ring) == {}
    assert await own_answer(district, first) == ("single", "positive")
    assert await colours(district, first, second) == ["red", "green"]


async def test_a_sample_that_is_moved_into_a_single_tube_makes_it_a_pool(
    district: District, make_round: MakeRound
) -> None:
    first, second = await residents(district, 2)
    ring = await make_round()
    await ring.filled([first])  # so that the next swab is one too many in the round and takes no room in its tube
    tube, other = await ring.roll(2, capacity=1)
    swabs = [ring.swab(tube, first, offline=True), ring.swab(other, second)]
    await ring.send(*swabs)
    body = {"reason": "wrong_tube", "tube_number": tube}
    moved = await ring.sampler.post(f"/testing/v1/samples/{swabs[1]['id']}/move", json=body)
    assert moved.status_code == 200, moved.text
    await ring.seal(tube, swabs)
    await ring.deliver(tube)
    await ring.report(ring.result_of(tube, "positive"))
    assert {person: state for person, (state, _) in (await called(ring)).items()} == dict.fromkeys(
        (first, second), "called"
    )
    assert await colours(district, first, second) == ["yellow", "yellow"]


@pytest.mark.parametrize("outcome", ["negative", "positive"])
async def test_a_retest_with_somebody_else_in_the_tube_answers_nothing(
    district: District, make_round: MakeRound, outcome: str
) -> None:
    first, second = await residents(district, 2)
    ring = await make_round()
    pool, _ = await ring.filled([first])
    await ring.report(ring.result_of(pool, "positive"))
    pool_id = (await ring.tube(pool))["id"]
    tube, _ = await shared(ring, first, second)
    assert (await ring.tube(tube))["answers"] == []
    assert (await called(ring))[first] == ("sampled", pool_id)
    await ring.report(ring.result_of(tube, outcome))
    by_pool = {one["pool_id"]: one["state"] for one in await ring.retests() if one["resident_id"] == str(first)}
    assert by_pool.pop(pool_id) == "called"
    assert list(by_pool.values()) == (["called"] if outcome == "positive" else [])
    assert await colours(district, first, second) == ["yellow", "green" if outcome == "negative" else "yellow"]
    district.move_clock(minutes=5)
    own, _ = await ring.filled([first], capacity=1)
    await ring.report(ring.result_of(own, "negative"))
    assert (await colours(district, first))[0] == "green"


@pytest.mark.parametrize("corrected", ["undo", "unlisted"])
async def test_a_tube_does_not_answer_for_somebody_who_is_no_longer_in_it(
    district: District, make_round: MakeRound, corrected: str
) -> None:
    first, second = await residents(district, 2)
    ring = await make_round()
    pool, _ = await ring.filled([first])
    await ring.report(ring.result_of(pool, "positive"))
    [tube] = await ring.roll(capacity=1)
    swabs = [ring.swab(tube, person, offline=True) for person in (first, second)]
    await ring.send(*swabs)
    if corrected == "undo":
        path = f"/testing/v1/samples/{swabs[0]['id']}/undo"
        assert (await ring.sampler.post(path, json={"reason": "wrong_tube"})).status_code == 200
    sealed = await ring.seal(tube, swabs[1:])
    assert sealed["set_aside"] == ([] if corrected == "undo" else [swabs[0]["id"]])
    said = await ring.tube(tube)
    assert (said["people"], said["answers"]) == ("single", [])
    assert (await called(ring))[first][0] == "called"
