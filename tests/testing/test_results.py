"""T6: results, corrections, and what is held."""

import asyncio
from typing import Any

from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.testing.conftest import MakeRound, minutes_ago, residents


def outcomes(answers: list[dict[str, Any]]) -> list[str]:
    """What became of each: its status, or the code of its problem."""
    return [answer["problem"]["code"] if answer["problem"] else answer["status"] for answer in answers]


async def test_a_result_needs_a_sealed_received_tube_of_the_own(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 3)
    ring = await make_round()
    begun, closed, here = await ring.roll(3)
    swabs = [ring.swab(tube, person) for tube, person in zip((begun, closed, here), people, strict=True)]
    await ring.send(*swabs)
    await ring.send_seals(ring.seal_of(closed, swabs[1:2]), ring.seal_of(here, swabs[2:]))
    await ring.box(closed)
    await ring.deliver(here)
    # An open tube is nobody's yet: to a laboratory it does not exist.
    answers = await ring.report(
        ring.result_of(begun, "negative"),
        ring.result_of(closed, "negative"),
        ring.result_of("000000999992", "negative"),
        ring.result_of(here, "negative", tested_at=minutes_ago(-10).isoformat()),
        ring.result_of(here, "negative"),
    )
    assert outcomes(answers) == ["tube_unknown", "tube_not_received", "tube_unknown", "clock_ahead", "reported"]
    await district.sql("UPDATE testing.tubes SET laboratory = 'lab-jinjiang' WHERE number = $1", begun)
    assert outcomes(await ring.report(ring.result_of(begun, "negative"))) == ["tube_not_sealed"]
    for role in (Role.SAMPLER, Role.RESIDENT, Role.COMMAND, Role.HOSPITAL):
        refused = await district.caller("testing", role, party="lab-jinjiang").post(
            "/testing/v1/results", json={"items": [ring.result_of(here, "negative")]}
        )
        assert refused.status_code == 403


async def test_a_negative_after_a_positive_is_a_correction_or_nothing(
    district: District, make_round: MakeRound
) -> None:
    people = await residents(district, 3)
    ring = await make_round()
    tube, _ = await ring.filled(people)
    first = ring.result_of(tube, "positive")
    assert outcomes(await ring.report(first)) == ["reported"]
    assert outcomes(await ring.report(ring.result_of(tube, "negative"))) == ["result_outdated"]
    assert outcomes(await ring.report(first)) == ["already"]
    assert (await ring.tube(tube))["result"]["outcome"] == "positive"
    assert outcomes(await ring.report(ring.result_of(tube, "negative", 2))) == ["corrected"]
    # What was said before is known again, and what was never said stays unsaid.
    assert outcomes(await ring.report(first)) == ["already"]
    assert outcomes(await ring.report(ring.result_of(tube, "positive"))) == ["result_outdated"]
    said = await ring.tube(tube)
    assert (said["result"]["outcome"], said["result"]["revision"]) == ("negative", 2)
    history = (await ring.lab.get(f"/testing/v1/tubes/{said['id']}/results")).json()["items"]
    assert [(one["revision"], one["outcome"]) for one in history] == [(1, "positive"), (2, "negative")]


async def test_several_reports_of_one_tube_in_one_batch(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 2)
    ring = await make_round()
    tube, _ = await ring.filled(people)
    answers = await ring.report(
        ring.result_of(tube, "positive"),
        ring.result_of(tube, "negative", 3),
        ring.result_of(tube, "inconclusive", 2),
    )
    assert outcomes(answers) == ["reported", "corrected", "result_outdated"]
    assert (await ring.tube(tube))["result"]["revision"] == 3
    assert await ring.retests() == []


async def test_positives_and_their_corrections_take_the_urgent_lane(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 4)
    ring = await make_round()
    tubes = [(await ring.filled([person]))[0] for person in people]
    await ring.report(
        ring.result_of(tubes[0], "positive"),
        ring.result_of(tubes[1], "inconclusive"),
        ring.result_of(tubes[2], "negative"),
        ring.result_of(tubes[3], "invalid"),
    )
    await ring.report(ring.result_of(tubes[0], "negative", 2), ring.result_of(tubes[2], "invalid", 2))
    results = [
        (entry["change"], entry["urgent"])
        for entry in await ring.feed()
        if entry["type"] == "testing.tube.v1" and '"outcome"' in entry["data"]
    ]
    assert sorted(results) == sorted(
        [("resulted", True)] * 2 + [("resulted", False)] * 2 + [("corrected", True), ("corrected", False)]
    )


async def test_a_negative_is_held_until_all_records_are_here(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 3)
    ring = await make_round()
    [tube] = await ring.roll()
    swabs = [ring.swab(tube, person, offline=True, ago=30) for person in people]
    await ring.send(swabs[0])
    await ring.seal(tube, swabs)
    await ring.deliver(tube)
    [answer] = await ring.report(ring.result_of(tube, "negative"))
    assert (answer["status"], answer["held"]) == ("reported", True)
    said = await ring.tube(tube)
    assert (said["state"], said["held"], said["missing"]) == ("resulted", True, 2)
    me = district.caller("testing", Role.RESIDENT, residents=(people[0],))
    [mine] = (await me.get("/testing/v1/my-samples")).json()["items"]
    assert (mine["stage"], mine["outcome"]) == ("received", None)
    await ring.send(swabs[1])
    assert (await ring.tube(tube))["held"] is True
    await ring.send(swabs[2])
    said = await ring.tube(tube)
    assert (said["held"], said["missing"], len(said["samples"])) == (False, 0, 3)
    entry = (await ring.feed())[-1]
    assert (entry["change"], '"held":false' in entry["data"]) == ("completed", True)
    [mine] = (await me.get("/testing/v1/my-samples")).json()["items"]
    assert (mine["stage"], mine["outcome"]) == ("resulted", "negative")


async def test_a_held_positive_is_in_force_at_once_and_reaches_who_becomes_known_later(
    district: District, make_round: MakeRound
) -> None:
    people = await residents(district, 3)
    ring = await make_round()
    [tube] = await ring.roll()
    swabs = [ring.swab(tube, person, offline=True, ago=30) for person in people]
    await ring.send(swabs[0])
    await ring.seal(tube, swabs)
    await ring.deliver(tube)
    assert (await ring.report(ring.result_of(tube, "positive")))[0]["held"] is True
    assert {one["resident_id"] for one in await ring.retests()} == {str(people[0])}
    for count in (2, 3):
        await ring.send(swabs[count - 1])
        assert {one["resident_id"] for one in await ring.retests()} == {str(person) for person in people[:count]}
        entry = [entry for entry in await ring.feed() if entry["type"] == "testing.tube.v1"][-1]
        assert entry["urgent"]
        assert entry["data"].count('"resident_id"') == count
    assert (await ring.tube(tube))["held"] is False
    [entry] = [entry for entry in await ring.feed() if entry["change"] == "completed"]
    assert entry["type"] == "testing.tube.v1"


async def test_a_held_tube_that_will_never_be_whole_may_be_given_up(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 2)
    ring = await make_round()
    numbers = await ring.roll(2)
    for number, outcome, person in zip(numbers, ("negative", "positive"), people, strict=True):
        swab = ring.swab(number, person)
        await ring.send(swab)
        await ring.seal(number, [swab, {"id": str(new_id())}])
        await ring.deliver(number)
        await ring.report(ring.result_of(number, outcome))
    ids = [(await ring.tube(number))["id"] for number in numbers]
    given_up = await ring.sampler.post(f"/testing/v1/tubes/{ids[0]}/discard", json={"reason": "lost"})
    assert given_up.json()["state"] == "discarded", given_up.text
    assert await ring.missing() == {people[0]}
    kept = await ring.sampler.post(f"/testing/v1/tubes/{ids[1]}/discard", json={"reason": "lost"})
    assert kept.json()["code"] == "tube_move_forbidden"


async def test_a_test_that_failed_makes_its_people_miss_again(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 3)
    ring = await make_round()
    tube, _ = await ring.filled(people)
    assert await ring.missing() == set()
    await ring.report(ring.result_of(tube, "invalid"))
    assert await ring.missing() == set(people)
    assert await ring.retests() == []
    # One of them is swabbed anew; then the laboratory finds that the test had not failed.
    again, _ = await ring.filled(people[:1])
    await ring.report(ring.result_of(tube, "negative", 2))
    assert await ring.missing() == set()
    assert (await ring.progress())["total"]["sampled"] == 3
    await ring.report(ring.result_of(again, "negative"))


async def test_a_late_record_and_the_result_race_to_the_same_end(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 40)
    ring = await make_round()
    tubes = await ring.roll(20)
    pairs = []
    for place, tube in enumerate(tubes):
        swabs = [ring.swab(tube, person, offline=True) for person in people[place * 2 : place * 2 + 2]]
        await ring.send(swabs[0])
        await ring.seal(tube, swabs)
        pairs.append(swabs)
    await ring.deliver(*tubes)
    for tube, swabs in zip(tubes, pairs, strict=True):
        late, result, again = await asyncio.gather(
            ring.send(swabs[1]), ring.report(ring.result_of(tube, "positive")), ring.send(swabs[1])
        )
        assert sorted(outcomes(late) + outcomes(again)) == ["already", "kept"]
        assert outcomes(result) == ["reported"]
        said = await ring.tube(tube)
        assert (said["held"], said["missing"], len(said["samples"])) == (False, 0, 2)
    assert len(await ring.retests()) == 40
    # What the feed said last of each tube is what is.
    last = {entry["subject"]: entry for entry in await ring.feed() if entry["type"] == "testing.tube.v1"}
    assert all('"held":false' in entry["data"] for entry in last.values())


async def test_thirty_batches_of_results_at_once_agree(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 60)
    ring = await make_round()
    tubes = await ring.roll(60)
    swabs = [ring.swab(tube, person) for tube, person in zip(tubes, people, strict=True)]
    await ring.send(*swabs)
    await ring.send_seals(*[ring.seal_of(tube, [swab]) for tube, swab in zip(tubes, swabs, strict=True)])
    await ring.deliver(*tubes)
    results = [ring.result_of(tube, "positive") for tube in tubes]
    answers = await asyncio.gather(
        *[ring.report(*(results if turn % 2 else results[::-1])[turn : turn + 30]) for turn in range(30)]
    )
    said = [outcome for answered in answers for outcome in outcomes(answered)]
    assert set(said) == {"reported", "already"}
    sent = {
        number
        for turn in range(30)
        for number in [t["tube_number"] for t in (results if turn % 2 else results[::-1])[turn : turn + 30]]
    }
    assert said.count("reported") == len(sent)
    assert len(await ring.retests()) == len(sent)
