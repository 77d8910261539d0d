"""T4, T5: a tube goes to a laboratory that exists."""

from shared.contracts.gateway import Party
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.testing.conftest import LAB, MakeRound, receive, residents


async def publish(district: District, party: Party) -> None:
    async with district.contexts["gateway"].system_unit_of_work("test") as uow:
        uow.publish_all([party], change="test")
    await receive(district, [party])


async def test_a_seal_for_a_laboratory_nobody_has_is_refused_and_the_tube_can_be_sealed_again(
    district: District, make_round: MakeRound
) -> None:
    ring = await make_round()
    [person] = await residents(district, 1)
    [tube] = await ring.roll(capacity=1)
    swab = ring.swab(tube, person, ago=30)
    await ring.send(swab)
    wrong = ring.seal_of(tube, [swab], laboratory="lab-nonexistent")
    for _ in range(2):  # also what is sent again, or was done offline
        [refused, twin] = await ring.send_seals(wrong, wrong)
        assert refused == twin
        assert (refused["status"], refused["problem"]["code"]) == ("refused", "laboratory_unknown")
        assert LAB in refused["problem"]["errors"][0]["detail"]
        assert refused["problem"]["errors"][0]["pointer"].endswith("/laboratory")
    assert (await ring.tube(tube))["state"] == "open"
    [sealed] = await ring.send_seals(ring.seal_of(tube, [swab], laboratory=LAB))
    assert sealed["status"] == "sealed"
    # A seal that stands is not asked again, whatever it names now.
    assert (await ring.send_seals(wrong))[0]["status"] == "already"


async def test_one_wrong_laboratory_stops_no_other_seal(district: District, make_round: MakeRound) -> None:
    ring = await make_round()
    people = await residents(district, 2)
    tubes = await ring.roll(2, capacity=1)
    swabs = [ring.swab(tube, person) for tube, person in zip(tubes, people, strict=True)]
    await ring.send(*swabs)
    seals = [ring.seal_of(tube, [swab]) for tube, swab in zip(tubes, swabs, strict=True)]
    answers = await ring.send_seals(seals[0] | {"laboratory": "lab-nonexistent"}, seals[1] | {"laboratory": LAB})
    assert [one["status"] for one in answers] == ["refused", "sealed"]


async def test_a_box_for_a_laboratory_nobody_has_is_refused(district: District, make_round: MakeRound) -> None:
    ring = await make_round()
    [person] = await residents(district, 1)
    [tube] = await ring.roll(capacity=1)
    swab = ring.swab(tube, person)
    await ring.send(swab)
    await ring.seal(tube, [swab])
    new = {"tube_numbers": [tube], "laboratory": "lab-nonexistent"}
    answer = await ring.sampler.post("/testing/v1/boxes", json=new)
    assert (answer.status_code, answer.json()["code"]) == (422, "laboratory_unknown")


async def test_a_laboratory_that_has_ended_takes_no_new_tubes_and_keeps_its_own(
    district: District, make_round: MakeRound
) -> None:
    ring = await make_round()
    [person, other] = await residents(district, 2)
    party = Party(id=new_id(), version=1, region="350582005", role="laboratory", party="lab-short", state="active")
    await publish(district, party)
    [tube, late] = await ring.roll(2, capacity=1)
    swabs = [ring.swab(tube, person), ring.swab(late, other)]
    await ring.send(*swabs)
    [sealed] = await ring.send_seals(ring.seal_of(tube, swabs[:1], laboratory="lab-short"))
    assert sealed["status"] == "sealed"
    box = await ring.box(tube, laboratory="lab-short")
    await publish(district, party.model_copy(update={"version": 2, "state": "ended"}))
    [refused] = await ring.send_seals(ring.seal_of(late, swabs[1:], laboratory="lab-short"))
    assert refused["problem"]["code"] == "laboratory_unknown"
    short = district.caller("testing", Role.LABORATORY, party="lab-short")
    answer = await short.post(f"/testing/v1/boxes/{box['id']}/receive", json={"tube_numbers": [tube]})
    assert answer.status_code == 200, answer.text
