"""T6: the trace of a positive pool, and what settles it."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from services.testing.retests import rules
from shared.contracts.registry import Resident
from shared.contracts.testing import Outcome
from shared.core import clock
from shared.core.actors import Role
from tests.harness import District
from tests.testing.conftest import MakeRound, Round, publish_residents, residents


async def positive_pool(ring: Round, people: list[UUID]) -> str:
    """A pool of these people, reported positive a minute ago."""
    pool, _ = await ring.filled(people)
    assert (await ring.report(ring.result_of(pool, "positive")))[0]["status"] == "reported"
    ring.district.move_clock(minutes=(clock.now() - _true_now()).total_seconds() / 60 + 1)
    return pool


def _true_now() -> datetime:
    return datetime.now(tz=clock.SHANGHAI)


async def states(ring: Round) -> dict[str, tuple[str, str | None]]:
    """State and outcome of each person's retest."""
    return {one["resident_id"]: (one["state"], one["outcome"]) for one in await ring.retests()}


async def test_each_member_of_a_positive_pool_is_called_once(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 11)
    ring = await make_round()
    [pool] = await ring.roll()
    swabs = [ring.swab(pool, person, offline=True, ago=30) for person in people]
    await ring.send(*swabs)
    await ring.seal(pool, swabs)
    await ring.deliver(pool)
    result = ring.result_of(pool, "positive")
    for _ in range(2):
        await ring.report(result)
    found = await ring.retests()
    assert {one["resident_id"] for one in found} == {str(person) for person in people}  # the eleventh too
    assert len(found) == 11
    assert {one["state"] for one in found} == {"called"}
    due = datetime.fromisoformat(found[0]["due_at"]) - datetime.fromisoformat(found[0]["called_at"])
    assert due == timedelta(hours=24)
    called = [entry for entry in await ring.feed() if entry["type"] == "testing.retest.v1"]
    assert len(called) == 11
    assert all(entry["urgent"] for entry in called)
    me = district.caller("testing", Role.RESIDENT, residents=(people[0],))
    [mine] = (await me.get("/testing/v1/my-retests")).json()["items"]
    assert mine["resident_id"] == str(people[0])
    stranger = district.caller("testing", Role.GRID_WORKER, scope="350582005002")
    assert (await stranger.get("/testing/v1/retests")).json()["items"] == []
    assert (await stranger.get(f"/testing/v1/retests/{mine['id']}")).status_code == 404
    assert await ring.retests(overdue=True) == []
    district.move_clock(hours=25)
    assert len(await ring.retests(overdue=True)) == 11


async def test_an_own_swab_after_the_result_settles_each_person_alone(
    district: District, make_round: MakeRound
) -> None:
    people = await residents(district, 4)
    ring = await make_round()
    pool = await positive_pool(ring, people)
    # A pool does not answer a pool, neither online nor by itself.
    [other_pool] = await ring.roll()
    assert (await ring.send(ring.swab(other_pool, people[0])))[0]["problem"]["code"] in {
        "single_only",
        "twice_in_round",
    }
    singles = await ring.roll(2, capacity=1)
    swabs = [ring.swab(single, person) for single, person in zip(singles, people, strict=False)]
    assert [answer["status"] for answer in await ring.send(*swabs)] == ["kept"] * 2
    pool_id = (await ring.tube(pool))["id"]
    assert (await ring.tube(singles[0]))["answers"] == [pool_id]
    assert (await states(ring))[str(people[0])] == ("sampled", None)
    await ring.send_seals(*[ring.seal_of(single, [swab]) for single, swab in zip(singles, swabs, strict=True)])
    await ring.deliver(*singles)
    await ring.report(ring.result_of(singles[0], "negative"), ring.result_of(singles[1], "positive"))
    assert await states(ring) == {
        str(people[0]): ("settled", "negative"),
        str(people[1]): ("settled", "positive"),
        str(people[2]): ("called", None),
        str(people[3]): ("called", None),
    }
    assert len(await ring.retests()) == 4  # a positive single tube calls nobody
    # The retest took nobody's place in the round.
    assert (await ring.progress())["total"]["sampled"] == 4


async def test_a_swab_from_before_the_pools_result_settles_nothing(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 2)
    ring = await make_round()
    before, other = await ring.roll(2, capacity=1)
    taken_before = ring.swab(before, people[0], offline=True)
    unrelated = ring.swab(other, people[1])
    await positive_pool(ring, people)
    [answer] = await ring.send(taken_before)
    assert answer["exception"] == "twice_in_round"
    assert (await ring.tube(before))["answers"] == []
    await ring.seal(before, [taken_before])
    await ring.deliver(before)
    await ring.report(ring.result_of(before, "negative"))
    assert await states(ring) == {str(person): ("called", None) for person in people}
    # Nor does any other negative of the person: of another round, say, taken before.
    second = await make_round(round=2)
    earlier, _ = await second.filled([people[1]], capacity=1, ago=60, offline=True)
    await second.report(second.result_of(earlier, "negative"))
    assert (await states(ring))[str(people[1])] == ("called", None)
    assert unrelated["resident_id"] == str(people[1])


async def test_two_positive_pools_are_answered_by_one_later_swab(district: District, make_round: MakeRound) -> None:
    [person] = await residents(district, 1)
    ring, second = await make_round(), await make_round(round=2)
    pools = [(await one.filled([person]))[0] for one in (ring, second)]
    await ring.report(*[ring.result_of(pool, "positive") for pool in pools])
    district.move_clock(minutes=1)
    single, _ = await ring.filled([person], capacity=1)
    assert len((await ring.tube(single))["answers"]) == 2
    await ring.report(ring.result_of(single, "negative"))
    assert [(one["state"], one["outcome"]) for one in await ring.retests()] == [("settled", "negative")] * 2


async def test_a_correction_withdraws_what_rested_on_the_result_and_calls_again_if_need_be(
    district: District, make_round: MakeRound
) -> None:
    people = await residents(district, 3)
    ring = await make_round()
    pool = await positive_pool(ring, people)
    single, _ = await ring.filled(people[:1], capacity=1)
    await ring.report(ring.result_of(single, "negative"))
    sampled, _ = await ring.filled(people[1:2], capacity=1)
    await ring.report(ring.result_of(pool, "negative", 2))
    assert await states(ring) == {
        str(people[0]): ("settled", "negative"),
        str(people[1]): ("withdrawn", None),
        str(people[2]): ("withdrawn", None),
    }
    await ring.report(ring.result_of(pool, "inconclusive", 3))
    assert await states(ring) == {
        str(people[0]): ("settled", "negative"),
        str(people[1]): ("called", None),
        str(people[2]): ("called", None),
    }
    # The swab taken before the third report does not answer it.
    await ring.report(ring.result_of(sampled, "negative"))
    assert (await states(ring))[str(people[1])] == ("called", None)


async def test_a_pool_that_stays_suspect_leaves_what_was_answered(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 2)
    ring = await make_round()
    pool = await positive_pool(ring, people)
    settled, _ = await ring.filled(people[:1], capacity=1)
    sampled, _ = await ring.filled(people[1:], capacity=1)
    await ring.report(ring.result_of(settled, "negative"))
    await ring.report(ring.result_of(pool, "inconclusive", 2))
    await ring.report(ring.result_of(sampled, "negative"))
    assert await states(ring) == {str(person): ("settled", "negative") for person in people}


async def test_a_single_tube_that_tells_nothing_calls_its_person_again(
    district: District, make_round: MakeRound
) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    await positive_pool(ring, [person])
    failed, _ = await ring.filled([person], capacity=1)
    await ring.report(ring.result_of(failed, "invalid"))
    assert await states(ring) == {str(person): ("called", None)}
    grey, _ = await ring.filled([person], capacity=1)
    await ring.report(ring.result_of(grey, "inconclusive"))
    assert {(one["state"], one["tube_id"]) for one in await ring.retests()} == {("called", None)}
    assert len(await ring.retests()) == 2  # for the pool, and for the grey zone
    district.move_clock(minutes=5)
    clear, _ = await ring.filled([person], capacity=1)
    await ring.report(ring.result_of(clear, "negative"))
    assert [(one["state"], one["outcome"]) for one in await ring.retests()] == [("settled", "negative")] * 2


async def test_a_corrected_single_tube_settles_its_person_anew(district: District, make_round: MakeRound) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    await positive_pool(ring, [person])
    single, _ = await ring.filled([person], capacity=1)
    for revision, outcome, expected in (
        (1, "negative", ("settled", "negative")),
        (2, "positive", ("settled", "positive")),
        (3, "invalid", ("called", None)),
        (4, "negative", ("settled", "negative")),
    ):
        await ring.report(ring.result_of(single, outcome, revision))
        assert await states(ring) == {str(person): expected}, outcome


async def test_a_lost_single_tube_reopens_the_retest(district: District, make_round: MakeRound) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    await positive_pool(ring, [person])
    single, _ = await ring.filled([person], capacity=1)
    assert (await states(ring))[str(person)] == ("sampled", None)
    tube_id = (await ring.tube(single))["id"]
    lost = await ring.lab.post(f"/testing/v1/tubes/{tube_id}/discard", json={"reason": "broken"})
    assert lost.status_code == 200, lost.text
    assert (await states(ring))[str(person)] == ("called", None)
    assert await ring.missing() == set()  # the pool still is the person's sample of the round


async def test_an_undone_or_moved_single_swab_is_followed(district: District, make_round: MakeRound) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    pool = await positive_pool(ring, [person])
    pool_id = (await ring.tube(pool))["id"]
    wrong, right = await ring.roll(2, capacity=1)
    [large] = await ring.roll()
    swab = ring.swab(wrong, person)
    await ring.send(swab)

    async def move(to: str):
        return await ring.sampler.post(
            f"/testing/v1/samples/{swab['id']}/move", json={"tube_number": to, "reason": "wrong_tube"}
        )

    assert (await move(large)).json()["code"] == "single_only"
    assert (await move(right)).status_code == 200
    assert (await ring.tube(wrong))["answers"] == []
    right_tube = await ring.tube(right)
    assert right_tube["answers"] == [pool_id]
    assert [(one["state"], one["tube_id"]) for one in await ring.retests()] == [("sampled", right_tube["id"])]
    await ring.sampler.post(f"/testing/v1/samples/{swab['id']}/undo", json={"reason": "aborted_swab"})
    assert await states(ring) == {str(person): ("called", None)}
    assert (await ring.tube(right))["answers"] == []


async def test_who_becomes_known_late_may_have_been_swabbed_since(district: District, make_round: MakeRound) -> None:
    known, late = await residents(district, 2)
    ring = await make_round()
    [pool] = await ring.roll()
    swabs = [ring.swab(pool, person, offline=True) for person in (known, late)]
    await ring.send(swabs[0])
    await ring.seal(pool, swabs)
    await ring.deliver(pool)
    await ring.report(ring.result_of(pool, "positive"))
    district.move_clock(minutes=10)
    single, _ = await ring.filled([late], capacity=1)
    await ring.report(ring.result_of(single, "negative"))
    assert set(await states(ring)) == {str(known)}
    # Only now does the phone that took the first swab find its network.
    [answer] = await ring.send(swabs[1])
    assert answer["exception"] == "twice_in_round"
    assert (await states(ring))[str(late)] == ("settled", "negative")
    tube = await ring.tube(single)
    assert tube["answers"] == [(await ring.tube(pool))["id"]]
    last = [entry for entry in await ring.feed() if entry["subject"] == tube["id"]][-1]
    assert '"answers":["' in last["data"]


async def test_a_retest_goes_on_after_the_round_has_closed(district: District, make_round: MakeRound) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    await positive_pool(ring, [person])
    await ring.command.post(f"/testing/v1/campaigns/{ring.id}/close")
    district.move_clock(hours=2)
    single, _ = await ring.filled([person], capacity=1)
    await ring.report(ring.result_of(single, "negative"))
    assert await states(ring) == {str(person): ("settled", "negative")}


async def test_a_drill_calls_nobody(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 3)
    ring = await make_round(drill=True)
    pool, _ = await ring.filled(people)
    await ring.report(ring.result_of(pool, "positive"))
    assert await ring.retests() == []
    said = await ring.tube(pool)
    assert said["drill"] is True
    assert said["result"]["outcome"] == "positive"
    me = district.caller("testing", Role.RESIDENT, residents=(people[0],))
    [mine] = (await me.get("/testing/v1/my-samples")).json()["items"]
    assert (mine["drill"], mine["outcome"]) == (True, None), "the result of a drill is nobody's"


@pytest.mark.parametrize(("outcome", "called"), [("inconclusive", 1), ("positive", 0), ("negative", 0), ("invalid", 0)])
async def test_of_single_tubes_only_the_grey_zone_calls(
    district: District, make_round: MakeRound, outcome: str, called: int
) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    single, _ = await ring.filled([person], capacity=1)
    await ring.report(ring.result_of(single, outcome))
    assert len(await ring.retests()) == called


async def test_an_open_retest_moves_with_its_person(district: District, make_round: MakeRound) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    await positive_pool(ring, [person])
    there = "3505820050020101"
    await publish_residents(district, [Resident(id=person, version=2, region=there, state="active", household_id=None)])
    worker = district.caller("testing", Role.GRID_WORKER, scope=there)
    [retest] = (await worker.get("/testing/v1/retests")).json()["items"]
    assert retest["region"] == there
    assert (await ring.feed())[-1]["change"] == "moved"


async def test_who_is_called_is_never_told_that_no_swab_is_needed(district: District, make_round: MakeRound) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    await positive_pool(ring, [person])
    district.move_clock(minutes=10)
    [pool], [single] = await ring.roll(), await ring.roll(capacity=1)
    slow = ring.swab(single, person) | {"sampled_at": (clock.now() - timedelta(minutes=15)).isoformat()}
    answers = await ring.send(ring.swab(pool, person), slow)
    assert [answer["problem"]["code"] for answer in answers] == ["single_only", "sampled_before_call"]
    assert answers[1]["problem"]["errors"][0]["pointer"] == "#/items/1/sampled_at"
    assert "in" in answers[1]["problem"]["errors"][0]
    [kept] = await ring.send(ring.swab(single, person))
    assert kept["status"] == "kept"
    assert await states(ring) == {str(person): ("sampled", None)}


async def test_the_rule_alone_decides_which_pools_call_their_members(
    district: District, make_round: MakeRound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another rule, here that a failed test calls, every statement follows it."""

    def calls_members(outcome: Outcome | None, *, pool: bool, drill: bool = False) -> bool:
        return outcome == "invalid" and pool and not drill

    monkeypatch.setattr(rules, "calls_members", calls_members)
    people = await residents(district, 2)
    swabbed, waiting = (str(person) for person in people)
    ring = await make_round()
    pool, _ = await ring.filled(people)
    await ring.report(ring.result_of(pool, "positive"))
    assert await ring.retests() == []
    await ring.report(ring.result_of(pool, "invalid", 2))
    assert await states(ring) == {swabbed: ("called", None), waiting: ("called", None)}
    district.move_clock(minutes=1)
    single, _ = await ring.filled(people[:1], capacity=1)
    await ring.report(ring.result_of(single, "negative"))
    assert (await states(ring))[swabbed] == ("settled", "negative")
    await ring.report(ring.result_of(single, "inconclusive", 2))
    assert await states(ring) == {swabbed: ("called", None), waiting: ("called", None)}
    await ring.report(ring.result_of(pool, "positive", 3))
    assert await states(ring) == {swabbed: ("withdrawn", None), waiting: ("withdrawn", None)}
