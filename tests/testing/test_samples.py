"""T4: swabs, as they are taken and as they are told of afterwards."""

from datetime import timedelta
from uuid import UUID

from shared.contracts.observation import Order
from shared.contracts.registry import Resident
from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.testing.conftest import GRID, MakeRound, minutes_ago, publish_residents, receive, residents


async def test_ten_people_fill_a_tube_and_the_eleventh_is_told(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 11)
    ring = await make_round()
    [tube] = await ring.roll()
    answers = await ring.send(*[ring.swab(tube, person) for person in people])
    assert [answer["status"] for answer in answers] == ["kept"] * 10 + ["refused"]
    assert answers[10]["problem"]["code"] == "tube_full"
    assert answers[10]["problem"]["errors"][0]["pointer"] == "#/items/10/tube_number"
    assert len((await ring.tube(tube))["samples"]) == 10
    assert await ring.missing() == {people[10]}


async def test_an_eleventh_swab_that_was_taken_offline_is_kept_as_an_exception(
    district: District, make_round: MakeRound
) -> None:
    people = await residents(district, 11)
    ring = await make_round()
    [tube] = await ring.roll()
    answers = await ring.send(*[ring.swab(tube, person, offline=True, ago=30) for person in people])
    assert [answer["exception"] for answer in answers] == [None] * 10 + ["over_capacity"]
    said = await ring.tube(tube)
    assert {UUID(sample["resident_id"]) for sample in said["samples"]} == set(people)
    assert await ring.missing() == set()
    assert (await ring.progress())["total"]["sampled"] == 11
    [[count]] = await district.sql("SELECT people FROM testing.tubes")
    assert count == 10


async def test_nobody_is_swabbed_twice_in_a_round(district: District, make_round: MakeRound) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    first, second = await ring.roll(2)
    assert (await ring.send(ring.swab(first, person)))[0]["status"] == "kept"
    for tube in (first, second):
        [again] = await ring.send(ring.swab(tube, person))
        assert again["problem"]["code"] == "twice_in_round"
    # A device that had no network tells of it: kept, part of the trace, and never counted twice.
    [late] = await ring.send(ring.swab(second, person, offline=True, ago=20))
    assert (late["status"], late["exception"]) == ("kept", "twice_in_round")
    assert (await ring.progress())["total"]["sampled"] == 1
    assert len((await ring.tube(second))["samples"]) == 1
    # The next round is another one.
    other = await make_round(round=2)
    [tube] = await other.roll()
    assert (await other.send(other.swab(tube, person)))[0]["status"] == "kept"


async def test_a_batch_lands_once_however_often_it_is_sent(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 10)
    ring = await make_round()
    [tube] = await ring.roll()
    swabs = [ring.swab(tube, person, offline=True, ago=5) for person in people]
    assert {answer["status"] for answer in await ring.send(*swabs)} == {"kept"}
    assert {answer["status"] for answer in await ring.send(*reversed(swabs))} == {"already"}
    both = await ring.send(swabs[0], swabs[0])
    assert [answer["status"] for answer in both] == ["already", "already"]
    fresh = ring.swab(tube, (await residents(district, 1))[0], offline=True)
    assert [answer["status"] for answer in await ring.send(fresh, fresh)] == ["kept", "already"]
    assert (await ring.progress())["total"]["sampled"] == 10


async def test_the_id_of_a_sample_is_its_own_for_ever(district: District, make_round: MakeRound) -> None:
    one, other = await residents(district, 2)
    ring = await make_round()
    [tube] = await ring.roll()
    swab = ring.swab(tube, one)
    assert (await ring.send(swab))[0]["status"] == "kept"
    [answer] = await ring.send(swab | {"resident_id": str(other)})
    assert answer["problem"]["code"] == "sample_id_taken"
    twins = ring.swab(tube, other)
    answers = await ring.send(twins, twins | {"resident_id": str(one)})
    assert [answer["status"] for answer in answers] == ["kept", "refused"]


async def test_a_tube_of_another_round_and_a_tube_of_nobody_are_refused(
    district: District, make_round: MakeRound
) -> None:
    [person] = await residents(district, 1)
    ring, other = await make_round(), await make_round(round=2)
    [foreign] = await other.roll()
    [answer] = await ring.send(ring.swab(foreign, person))
    assert answer["problem"]["code"] == "tube_of_other_round"
    mistyped = foreign[:-1] + str((int(foreign[-1]) + 1) % 10)
    for number in (mistyped, "000000999992", "blank", "-"):
        [answer] = await ring.send(ring.swab(number, person))
        assert answer["problem"]["code"] == "tube_unknown", number
    assert await district.sql("SELECT 1 FROM testing.tubes WHERE campaign_id = $1", UUID(ring.id)) == []


async def test_a_clock_ten_minutes_ahead_is_refused_by_name_and_the_others_land(
    district: District, make_round: MakeRound
) -> None:
    people = await residents(district, 3)
    ring = await make_round()
    [tube] = await ring.roll()
    ahead = ring.swab(tube, people[0], offline=True, ago=-10)
    answers = await ring.send(ahead, ring.swab(tube, people[1], offline=True, ago=-4), ring.swab(tube, people[2]))
    assert [answer["status"] for answer in answers] == ["refused", "kept", "kept"]
    assert answers[0]["problem"]["code"] == "clock_ahead"
    assert answers[0]["problem"]["errors"][0]["pointer"] == "#/items/0/sampled_at"
    # What has happened is remembered, and taken once its time has come.
    refused = (await ring.command.get("/testing/v1/samples/refused")).json()["items"]
    assert [(one["sample_id"], one["reason"]) for one in refused] == [(ahead["id"], "clock_ahead")]
    district.move_clock(minutes=6)
    assert (await ring.send(ahead))[0]["status"] == "kept"
    assert (await ring.command.get("/testing/v1/samples/refused")).json()["items"] == []
    resolved = (await ring.command.get("/testing/v1/samples/refused", params={"resolved": True})).json()["items"]
    assert [one["sample_id"] for one in resolved] == [ahead["id"]]


async def test_who_is_not_registered_is_refused_online_and_remembered_offline(
    district: District, make_round: MakeRound
) -> None:
    ring = await make_round()
    [tube] = await ring.roll()
    stranger = new_id()
    online, offline = ring.swab(tube, stranger), ring.swab(tube, stranger, offline=True)
    answers = await ring.send(online, offline)
    assert [answer["problem"]["code"] for answer in answers] == ["resident_unknown"] * 2
    refused = (await ring.command.get("/testing/v1/samples/refused")).json()["items"]
    assert [(one["sample_id"], one["reason"]) for one in refused] == [(offline["id"], "resident_unknown")]
    # Registered afterwards, the same record lands.
    await publish_residents(
        district, [Resident(id=stranger, version=1, region=GRID, state="active", household_id=None)]
    )
    assert (await ring.send(offline))[0]["status"] == "kept"


async def test_the_round_says_when(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 6)
    ring = await make_round()
    [tube] = await ring.roll()
    planned = (
        await ring.command.post(
            "/testing/v1/campaigns",
            json={
                "name": "第二轮",
                "round": 2,
                "region": "350582005",
                "pool_size": 10,
                "opens_at": minutes_ago(60).isoformat(),
                "closes_at": minutes_ago(-60).isoformat(),
            },
        )
    ).json()
    roll = {"campaign_id": planned["id"], "region": "350582005001", "capacity": 10, "count": 1}
    [early] = (await ring.sampler.post("/testing/v1/rolls", json=roll)).json()["numbers"]
    for offline in (False, True):
        [answer] = await ring.send(ring.swab(early, people[0], offline=offline, campaign_id=planned["id"]))
        assert answer["problem"]["code"] == "campaign_not_open"
    [answer] = await ring.send(ring.swab(tube, people[0], offline=True, ago=13 * 60))
    assert answer["problem"]["code"] == "sampled_before_round"

    before = ring.swab(tube, people[1], offline=True)
    district.move_clock(minutes=30)
    assert (await ring.command.post(f"/testing/v1/campaigns/{ring.id}/close")).json()["state"] == "closed"
    district.move_clock(minutes=60)
    answers = await ring.send(
        before,
        ring.swab(tube, people[2], offline=True, ago=10),
        ring.swab(tube, people[3]),
    )
    assert [(answer["status"], answer["exception"]) for answer in answers[:2]] == [
        ("kept", None),
        ("kept", "after_close"),
    ]
    assert answers[2]["problem"]["code"] == "campaign_not_open"


async def test_after_its_window_an_open_round_takes_nothing_new(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 2)
    ring = await make_round()
    [tube] = await ring.roll()
    district.move_clock(hours=13)
    [online, offline] = await ring.send(ring.swab(tube, people[0]), ring.swab(tube, people[1], offline=True, ago=5))
    assert online["problem"]["code"] == "campaign_not_open"
    assert offline["exception"] == "after_close"


async def publish_orders(district: District, *orders: Order) -> None:
    """Let observation say something of orders, and testing hear it."""
    async with district.contexts["observation"].system_unit_of_work("test") as uow:
        uow.publish_all(orders, change="test")
    await receive(district, orders)


async def test_who_is_isolated_is_swabbed_alone(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 2)
    order = Order(
        id=new_id(),
        version=1,
        region=GRID,
        resident_id=people[0],
        kind="home",
        state="open",
        protocol=1,
        evidence_type="testing.tube.v1",
        evidence_id=new_id(),
        day_0=clock.day_of(clock.now()),
        opened_at=clock.now(),
        ends_at=clock.now() + timedelta(days=14),
    )
    monitoring = order.model_copy(update={"id": new_id(), "resident_id": people[1], "kind": "monitoring"})
    await publish_orders(district, order, monitoring)
    ring = await make_round()
    [pool] = await ring.roll()
    [single] = await ring.roll(capacity=1)
    answers = await ring.send(ring.swab(pool, people[0]), ring.swab(pool, people[1]))
    assert answers[0]["problem"]["code"] == "single_only"
    assert answers[1]["status"] == "kept"
    [offline] = await ring.send(ring.swab(pool, people[0], offline=True, ago=5))
    assert offline["exception"] == "single_only"
    # The wrong tube does not stand for the right one.
    assert (await ring.send(ring.swab(single, people[0])))[0]["status"] == "kept"
    assert (await ring.progress())["total"]["sampled"] == 2
    # Once the order has ended, the person is one of all again.
    await publish_orders(district, order.model_copy(update={"version": 2, "state": "ended"}))
    later = await make_round(round=2)
    [tube] = await later.roll()
    assert (await later.send(later.swab(tube, people[0])))[0]["status"] == "kept"


async def test_a_swab_is_undone_before_the_seal_and_stays_undone(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 2)
    ring = await make_round()
    [tube] = await ring.roll()
    swab, other = ring.swab(tube, people[0]), ring.swab(tube, people[1])
    await ring.send(swab, other)
    for _ in range(2):
        answer = await ring.sampler.post(f"/testing/v1/samples/{swab['id']}/undo", json={"reason": "aborted_swab"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["undone_at"] is not None
    assert await ring.missing() == {people[0]}
    assert len((await ring.tube(tube))["samples"]) == 1
    # A repetition of the record does not bring it back, and the person may be swabbed anew.
    assert (await ring.send(swab))[0]["status"] == "undone"
    again = ring.swab(tube, people[0])
    assert (await ring.send(again))[0]["status"] == "kept"
    assert (await ring.seal(tube, [swab, again, other]))["problem"]["code"] == "manifest_wrong"
    assert (await ring.seal(tube, [again, other]))["status"] == "sealed"
    answer = await ring.sampler.post(f"/testing/v1/samples/{again['id']}/undo", json={"reason": "wrong_person"})
    assert answer.json()["code"] == "tube_sealed"
    answer = await ring.sampler.post(f"/testing/v1/samples/{new_id()}/undo", json={"reason": "wrong_person"})
    assert answer.status_code == 404


async def test_a_swab_is_moved_to_the_tube_it_is_in(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 12)
    ring = await make_round()
    first, second = await ring.roll(2)
    [full] = await ring.roll(capacity=1)
    swabs = [ring.swab(first, person, offline=True, ago=5) for person in people[:11]]
    assert (await ring.send(*swabs))[10]["exception"] == "over_capacity"
    await ring.send(ring.swab(full, people[11]))

    async def move(swab: dict, to: str):
        body = {"tube_number": to, "reason": "too_many"}
        return await ring.sampler.post(f"/testing/v1/samples/{swab['id']}/move", json=body)

    assert (await move(swabs[0], full)).json()["code"] == "tube_full"
    assert (await move(swabs[0], "000000999992")).json()["code"] == "tube_unknown"
    moved = await move(swabs[10], second)
    assert moved.status_code == 200, moved.text
    assert moved.json()["exception"] is None  # one too many there, not here
    assert (await move(swabs[10], second)).json() == moved.json()
    # The device's own record still names the old tube, and is still the same record.
    assert (await ring.send(swabs[10]))[0]["status"] == "already"
    assert [len((await ring.tube(tube))["samples"]) for tube in (first, second)] == [10, 1]
    assert (await ring.seal(second, [swabs[10]]))["status"] == "sealed"
    assert (await move(swabs[0], second)).json()["code"] == "tube_sealed"
    counts = await district.sql("SELECT people FROM testing.tubes ORDER BY number")
    assert [count for [count] in counts] == [10, 1, 1]


async def test_a_sampler_reaches_only_people_and_tubes_of_the_own_area(
    district: District, make_round: MakeRound
) -> None:
    [here] = await residents(district, 1)
    [there] = await residents(district, 1, region="3505820050020101")
    ring = await make_round()
    [tube] = await ring.roll()
    stranger = district.caller("testing", Role.SAMPLER, scope="350582005002")
    [answer] = await ring.send(ring.swab(tube, there), by=stranger)
    assert answer["problem"]["code"] == "tube_unknown"
    [answer] = await ring.send(ring.swab(tube, there))
    assert answer["problem"]["code"] == "resident_unknown"
    swab = ring.swab(tube, here)
    await ring.send(swab)
    tube_id = (await ring.tube(tube))["id"]
    assert (await stranger.get(f"/testing/v1/tubes/{tube_id}")).status_code == 404
    assert (await stranger.get("/testing/v1/tubes")).json()["items"] == []
    assert (
        await stranger.post(f"/testing/v1/samples/{swab['id']}/undo", json={"reason": "wrong_person"})
    ).status_code == 404
    assert (await stranger.post(f"/testing/v1/tubes/{tube_id}/discard", json={"reason": "lost"})).status_code == 404
    # The one round that both see: what happened elsewhere still counts as the person's place in it.
    mover = ring.swab((await ring.roll(region="350582005001"))[0], here)
    await publish_residents(
        district, [Resident(id=here, version=2, region="3505820050020101", state="active", household_id=None)]
    )
    roll = {"campaign_id": ring.id, "region": "350582005002", "capacity": 10, "count": 1}
    [elsewhere] = (await stranger.post("/testing/v1/rolls", json=roll)).json()["numbers"]
    [answer] = await ring.send(ring.swab(elsewhere, here), by=stranger)
    assert answer["problem"]["code"] == "twice_in_round"
    assert (await ring.send(mover))[0]["problem"]["code"] == "resident_unknown"


async def test_only_field_staff_record_swabs(district: District, make_round: MakeRound) -> None:
    ring = await make_round()
    for role in (Role.RESIDENT, Role.LABORATORY, Role.GRID_WORKER, Role.DOORKEEPER, Role.AUDITOR):
        answer = await district.caller("testing", role).post(
            "/testing/v1/samples", json={"items": [ring.swab("1", new_id())]}
        )
        assert answer.status_code == 403, role


async def test_a_resident_follows_the_own_swab(district: District, make_round: MakeRound) -> None:
    mine, other = await residents(district, 2)
    ring = await make_round()
    me = district.caller("testing", Role.RESIDENT, residents=(mine,))
    [tube] = await ring.roll()
    swabs = [ring.swab(tube, person) for person in (mine, other)]

    async def mine_now() -> tuple[str, str | None]:
        [said] = (await me.get("/testing/v1/my-samples")).json()["items"]
        assert said["id"] == swabs[0]["id"]
        return said["stage"], said["outcome"]

    await ring.send(*swabs)
    assert await mine_now() == ("open", None)
    await ring.seal(tube, swabs)
    assert await mine_now() == ("sealed", None)
    box = await ring.box(tube)
    await ring.sampler.post(f"/testing/v1/boxes/{box['id']}/depart")
    assert await mine_now() == ("in_transit", None)
    await ring.receive(box, tube)
    assert await mine_now() == ("received", None)
    await ring.report(ring.result_of(tube, "negative"))
    assert await mine_now() == ("resulted", "negative")
    nobody = district.caller("testing", Role.RESIDENT, residents=(new_id(),))
    assert (await nobody.get("/testing/v1/my-samples")).json() == {"items": [], "next_cursor": None}
