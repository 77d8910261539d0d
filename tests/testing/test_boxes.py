"""T5: the way to the laboratory."""

import asyncio

import pytest

from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.testing.conftest import LAB, MakeRound, Round, residents


async def sealed(ring: Round, district: District, count: int) -> list[str]:
    """Sealed tubes with one person each."""
    people = await residents(district, count)
    tubes = await ring.roll(count)
    swabs = [ring.swab(tube, person) for tube, person in zip(tubes, people, strict=True)]
    await ring.send(*swabs)
    answers = await ring.send_seals(*[ring.seal_of(tube, [swab]) for tube, swab in zip(tubes, swabs, strict=True)])
    assert {answer["status"] for answer in answers} == {"sealed"}
    return tubes


async def test_a_box_goes_from_the_site_to_the_laboratory(district: District, make_round: MakeRound) -> None:
    ring = await make_round()
    tubes = await sealed(ring, district, 3)
    box = await ring.box(*tubes)
    assert (box["state"], box["tube_numbers"], box["region"]) == ("packed", tubes, "350582005001")
    for step, state in (("pick-up", "picked_up"), ("depart", "in_transit")):
        answer = await ring.sampler.post(f"/testing/v1/boxes/{box['id']}/{step}")
        assert answer.json()["state"] == state, answer.text
    assert (await ring.progress())["total"]["in_transit"] == 3
    received = await ring.receive(box, *tubes)
    assert (received["state"], received["missing"], received["unexpected"], received["late"]) == (
        "received",
        [],
        [],
        [],
    )
    tube = await ring.tube(tubes[0])
    assert (tube["state"], tube["laboratory"]) == ("received", LAB)
    changes = [entry["change"] for entry in await ring.feed() if entry["type"] == "testing.tube.v1"]
    assert changes == ["sealed"] * 3 + ["received"] * 3
    again = await ring.receive(box, *tubes)
    assert {**again, "version": 0} == {**received, "version": 0}
    refused = await ring.sampler.post(f"/testing/v1/boxes/{box['id']}/depart")
    assert refused.json()["code"] == "box_move_forbidden"
    for language, words in (("zh-CN", "样本箱处于“已签收”状态"), ("en", "The box is received")):
        refused = await ring.sampler.post(
            f"/testing/v1/boxes/{box['id']}/depart", headers={"accept-language": language}
        )
        assert words in refused.json()["detail"]


async def test_a_missing_tube_holds_up_no_other_and_is_received_later(
    district: District, make_round: MakeRound
) -> None:
    ring = await make_round()
    tubes = await sealed(ring, district, 4)
    [open_tube] = await ring.roll()
    box, other = await ring.box(*tubes[:3]), await ring.box(tubes[3])
    received = await ring.receive(box, tubes[0], tubes[1], tubes[3], open_tube, "000000999992")
    assert received["missing"] == [tubes[2]]
    assert received["unexpected"] == sorted([tubes[3], open_tube, "000000999992"])
    states = [(await ring.tube(tube))["state"] for tube in tubes]
    assert states == ["received", "received", "sealed", "received"]
    answers = await ring.report(*[ring.result_of(tube, "negative") for tube in tubes])
    assert [answer["status"] for answer in answers] == ["reported", "reported", "refused", "reported"]
    assert answers[2]["problem"]["code"] == "tube_not_received"
    # It lay in the other box.
    await ring.receive(other, tubes[2])
    assert (await ring.command.get(f"/testing/v1/boxes/{box['id']}")).json()["missing"] == []
    assert (await ring.report(ring.result_of(tubes[2], "negative")))[0]["status"] == "reported"


async def test_more_than_four_hours_from_the_first_swab_are_flagged(district: District, make_round: MakeRound) -> None:
    ring = await make_round()
    slow = await sealed(ring, district, 1)
    slow_box = await ring.box(*slow)
    district.move_clock(hours=3, minutes=59)
    assert (await ring.progress())["total"]["late"] == 0
    district.move_clock(hours=4, minutes=1)
    assert (await ring.progress())["total"]["late"] == 1  # while it is on its way already
    quick = await sealed(ring, district, 1)
    received = await ring.receive(slow_box, *slow)
    assert received["late"] == slow
    assert (await ring.receive(await ring.box(*quick), *quick))["late"] == []
    district.move_clock(hours=10)
    assert (await ring.progress())["total"]["late"] == 1


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("open", "tube_not_sealed"),
        ("boxed", "tube_in_box"),
        ("received", "tube_elsewhere"),
        ("unknown", "tube_unknown"),
        ("elsewhere", "other_laboratory"),
    ],
)
async def test_what_cannot_travel_is_named(district: District, make_round: MakeRound, place: str, code: str) -> None:
    ring = await make_round()
    fine, boxed, received, elsewhere = await sealed(ring, district, 4)
    person, *_ = await residents(district, 1)
    [begun] = await ring.roll()
    await ring.send(ring.swab(begun, person))
    await ring.box(boxed)
    await ring.deliver(received)
    await district.sql("UPDATE testing.tubes SET laboratory = 'lab-other' WHERE number = $1", elsewhere)
    numbers = {"open": begun, "boxed": boxed, "received": received, "unknown": "000000999992", "elsewhere": elsewhere}
    answer = await ring.sampler.post(
        "/testing/v1/boxes", json={"tube_numbers": [fine, numbers[place]], "laboratory": LAB}
    )
    assert answer.status_code == 409
    assert answer.json()["errors"] == [
        {"pointer": "#/tube_numbers/1", "code": code, "detail": answer.json()["errors"][0]["detail"]}
    ]
    await ring.box(fine)  # nothing was packed by half


async def test_a_laboratory_sees_its_own_boxes_and_tubes_only(district: District, make_round: MakeRound) -> None:
    ring = await make_round()
    tubes = await sealed(ring, district, 2)
    box = await ring.box(tubes[0])
    other = district.caller("testing", Role.LABORATORY, party="lab-other")
    nobody = district.caller("testing", Role.LABORATORY)
    tube_id = (await ring.tube(tubes[0]))["id"]
    for client in (other, nobody):
        assert (await client.get("/testing/v1/boxes")).json()["items"] == []
        assert (await client.get("/testing/v1/tubes")).json()["items"] == []
        assert (await client.get(f"/testing/v1/tubes/{tube_id}")).status_code == 404
        assert (await client.get(f"/testing/v1/tubes/{tube_id}/results")).status_code == 404
        receipt = {"tube_numbers": [tubes[0]]}
        assert (await client.post(f"/testing/v1/boxes/{box['id']}/receive", json=receipt)).status_code == 404
        discarded = await client.post(f"/testing/v1/tubes/{tube_id}/discard", json={"reason": "lost"})
        assert discarded.status_code == 404
    assert [one["number"] for one in (await ring.lab.get("/testing/v1/tubes")).json()["items"]] == [tubes[0]]
    # A foreign tube found in the own box is noted, and stays the other's.
    await district.know_laboratories("lab-other")
    foreign = await ring.box(tubes[1], laboratory="lab-other")
    received = await ring.receive(box, *tubes)
    assert received["unexpected"] == [tubes[1]]
    assert (await ring.tube(tubes[1]))["state"] == "sealed"
    answers = await ring.report(*[ring.result_of(tube, "positive") for tube in tubes])
    assert [answer["status"] for answer in answers] == ["reported", "refused"]
    assert answers[1]["problem"]["code"] == "tube_unknown"
    assert (await ring.lab.get(f"/testing/v1/boxes/{foreign['id']}")).status_code == 404
    stranger = district.caller("testing", Role.SAMPLER, scope="350582005002")
    assert (await stranger.get(f"/testing/v1/boxes/{box['id']}")).status_code == 404


async def test_a_lost_tube_calls_its_people_again(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 2)
    ring = await make_round()
    [tube] = await ring.roll()
    swabs = [ring.swab(tube, person) for person in people]
    await ring.send(*swabs)
    await ring.seal(tube, swabs)
    box = await ring.box(tube)
    assert await ring.missing() == set()
    tube_id = (await ring.tube(tube))["id"]
    discarded = await ring.sampler.post(f"/testing/v1/tubes/{tube_id}/discard", json={"reason": "leaked"})
    assert discarded.json()["state"] == "discarded", discarded.text
    assert await ring.missing() == set(people)
    total = (await ring.progress())["total"]
    assert (total["sampled"], total["missing"], total["discarded"], total["sealed"]) == (0, 2, 1, 0)
    entry = (await ring.feed())[-1]
    assert (entry["type"], entry["change"]) == ("testing.tube.v1", "discarded")
    again = await ring.sampler.post(f"/testing/v1/tubes/{tube_id}/discard", json={"reason": "leaked"})
    assert again.json()["code"] == "tube_move_forbidden"
    assert (await ring.receive(box, tube))["missing"] == []
    assert (await ring.report(ring.result_of(tube, "negative")))[0]["problem"]["code"] == "tube_discarded"
    [late] = await ring.send(ring.swab(tube, people[0], offline=True, ago=10))
    assert late["problem"]["code"] == "tube_discarded"
    assert (await ring.seal(tube, swabs))["problem"]["code"] == "tube_discarded"
    # They are swabbed anew in the same round.
    [fresh] = await ring.roll()
    assert {answer["status"] for answer in await ring.send(*[ring.swab(fresh, person) for person in people])} == {
        "kept"
    }


async def test_one_tube_is_packed_by_one_of_many_at_once(district: District, make_round: MakeRound) -> None:
    ring = await make_round()
    tubes = await sealed(ring, district, 5)
    answers = await asyncio.gather(
        *[
            ring.sampler.post(
                "/testing/v1/boxes", json={"tube_numbers": tubes[turn % 3 : turn % 3 + 3], "laboratory": LAB}
            )
            for turn in range(12)
        ]
    )
    packed = [number for answer in answers if answer.status_code == 201 for number in answer.json()["tube_numbers"]]
    assert len(packed) == len(set(packed)) > 0
    assert {answer.status_code for answer in answers} == {201, 409}


async def test_a_box_of_nobody_is_not_found(district: District, make_round: MakeRound) -> None:
    ring = await make_round()
    for step in ("pick-up", "depart"):
        assert (await ring.sampler.post(f"/testing/v1/boxes/{new_id()}/{step}")).status_code == 404
