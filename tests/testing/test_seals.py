"""T4: seals, manifests, and records that come after them."""

import asyncio
from uuid import UUID

import pytest

from services.testing.limits import MOST_ITEMS
from services.testing.tubes.rules import number_of
from services.testing.tubes.schemas import MOST_LISTED
from shared.core.ids import new_id
from tests.harness import District
from tests.testing.conftest import MakeRound, minutes_ago, residents


async def test_a_sealed_tube_never_changes(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 3)
    ring = await make_round()
    [tube] = await ring.roll()
    swabs = [ring.swab(tube, person) for person in people[:2]]
    await ring.send(*swabs)
    sealed = await ring.seal(tube, swabs)
    assert (sealed["status"], sealed["missing"], sealed["set_aside"]) == ("sealed", 0, [])
    assert (await ring.seal(tube, swabs[::-1]))["status"] == "already"
    assert (await ring.seal(tube, swabs[:1]))["problem"]["code"] == "seal_differs"
    before = await ring.tube(tube)
    [online] = await ring.send(ring.swab(tube, people[2]))
    assert online["problem"]["code"] == "tube_sealed"
    [offline] = await ring.send(ring.swab(tube, people[2], offline=True, ago=30))
    assert offline["problem"]["code"] == "not_in_manifest"
    assert await ring.tube(tube) == before
    refused = (await ring.command.get("/testing/v1/samples/refused")).json()["items"]
    assert [one["reason"] for one in refused] == ["not_in_manifest"]
    assert people[2] in await ring.missing()


async def test_the_database_itself_keeps_a_seal(district: District, make_round: MakeRound) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    await ring.filled([person])
    for change in ("manifest = '{}'", "sealed_at = now()", "capacity = 20", "state = 'open'", "people = 11"):
        with pytest.raises(Exception, match=r"tube_|sealed tube"):
            await district.sql(f"UPDATE testing.tubes SET {change}")


async def test_listed_records_complete_a_sealed_tube_in_any_order(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 3)
    ring = await make_round()
    [tube] = await ring.roll()
    swabs = [ring.swab(tube, person, offline=True, ago=20) for person in people]
    await ring.send(swabs[1])
    assert (await ring.seal(tube, swabs))["missing"] == 2
    assert (await ring.tube(tube))["missing"] == 2
    await ring.send(swabs[2])
    assert (await ring.progress())["total"]["incomplete"] == 1
    # A listed swab has happened, whatever the device says of its network now.
    [last] = await ring.send(swabs[0] | {"offline": False})
    assert last["status"] == "kept"
    said = await ring.tube(tube)
    assert (said["missing"], len(said["samples"])) == (0, 3)
    changes = [entry["change"] for entry in await ring.feed() if entry["type"] == "testing.tube.v1"]
    assert changes == ["sealed", "completed"]


async def test_a_tube_may_be_sealed_before_anything_is_known_of_it(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 2)
    ring = await make_round()
    [tube] = await ring.roll()
    swabs = [ring.swab(tube, person, offline=True, ago=20) for person in people]
    assert (await ring.seal(tube, swabs))["missing"] == 2
    assert {answer["status"] for answer in await ring.send(*swabs)} == {"kept"}
    assert (await ring.tube(tube))["missing"] == 0


async def test_what_is_in_the_tube_and_not_listed_is_set_aside_whichever_came_first(
    district: District, make_round: MakeRound
) -> None:
    people = await residents(district, 4)
    ring = await make_round()
    early, late = await ring.roll(2)
    listed = [ring.swab(early, people[0]), ring.swab(late, people[1])]
    unlisted = [ring.swab(early, people[2], offline=True), ring.swab(late, people[3], offline=True)]
    await ring.send(*listed, unlisted[0])
    sealed = await ring.send_seals(ring.seal_of(early, listed[:1]), ring.seal_of(late, listed[1:]))
    assert [one["set_aside"] for one in sealed] == [[unlisted[0]["id"]], []]
    answers = await ring.send(*unlisted)
    assert [answer["problem"]["code"] for answer in answers] == ["not_in_manifest"] * 2
    for number in (early, late):
        assert len((await ring.tube(number))["samples"]) == 1
    assert await ring.missing() == {people[2], people[3]}
    refused = (await ring.command.get("/testing/v1/samples/refused")).json()["items"]
    assert {(one["sample_id"], one["reason"]) for one in refused} == {
        (swab["id"], "not_in_manifest") for swab in unlisted
    }


async def test_bad_seals_are_refused_one_by_one(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 4)
    ring = await make_round()
    good, ahead, twice, stray = await ring.roll(4)
    swabs = [ring.swab(tube, person) for tube, person in zip((good, ahead, twice, stray), people, strict=True)]
    await ring.send(*swabs)
    answers = await ring.send_seals(
        ring.seal_of(good, swabs[:1]),
        ring.seal_of(ahead, swabs[1:2], sealed_at=minutes_ago(-10).isoformat()),
        ring.seal_of(twice, swabs[2:3]),
        ring.seal_of(twice, swabs[2:3]),
        ring.seal_of(twice, [*swabs[2:3], {"id": str(new_id())}]),
        ring.seal_of(stray, swabs[2:]),
        ring.seal_of("000000999992", swabs[:1]),
    )
    outcomes = [answer["problem"]["code"] if answer["problem"] else answer["status"] for answer in answers]
    assert outcomes == [
        "sealed",
        "clock_ahead",
        "sealed",
        "already",
        "seal_differs",
        "manifest_wrong",
        "tube_unknown",
    ]
    twins = await ring.sampler.post("/testing/v1/seals", json={"items": [ring.seal_of(ahead, [swabs[1], swabs[1]])]})
    assert twins.json()["errors"][0]["code"] == "listed_twice"
    empty = await ring.sampler.post("/testing/v1/seals", json={"items": [ring.seal_of(ahead, [])]})
    assert empty.status_code == 422


async def test_the_largest_batch_there_may_be_is_read(district: District, make_round: MakeRound) -> None:
    ring = await make_round()
    manifests = [[{"id": str(new_id())} for _ in range(MOST_LISTED)] for _ in range(MOST_ITEMS)]
    answers = await ring.send_seals(
        *[ring.seal_of(number_of(9_000_000 + n), swabs) for n, swabs in enumerate(manifests)]
    )
    assert {answer["problem"]["code"] for answer in answers} == {"tube_unknown"}


async def test_sealing_while_another_device_adds_leaves_no_half_tube(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 60)
    ring = await make_round()
    tubes = await ring.roll(20)
    for place, tube in enumerate(tubes):
        listed = ring.swab(tube, people[place * 3])
        added = ring.swab(tube, people[place * 3 + 1])
        await ring.send(listed)
        sealed, [answer], again = await asyncio.gather(
            ring.seal(tube, [listed]), ring.send(added), ring.seal(tube, [listed])
        )
        assert {sealed["status"], again["status"]} == {"sealed", "already"}
        said = await ring.tube(tube)
        assert [sample["id"] for sample in said["samples"]] == [listed["id"]]
        aside = sealed["set_aside"] + again["set_aside"]
        # Either the device is told at once, or the one that sealed is: the person is missing in both cases.
        assert (answer["status"] == "kept") == (aside == [added["id"]])
        assert answer["status"] == "kept" or answer["problem"]["code"] == "tube_sealed"
        assert UUID(added["resident_id"]) in await ring.missing()


async def test_two_devices_seal_one_tube_differently_and_one_wins(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 2)
    ring = await make_round()
    [tube] = await ring.roll()
    swabs = [ring.swab(tube, person) for person in people]
    await ring.send(*swabs)
    answers = await asyncio.gather(*[ring.seal(tube, swabs[:count]) for count in (1, 2) * 10])
    outcomes = [answer["problem"]["code"] if answer["problem"] else answer["status"] for answer in answers]
    assert sorted(outcomes) == ["already"] * 9 + ["seal_differs"] * 10 + ["sealed"]
