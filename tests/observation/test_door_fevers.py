"""O4, G4: a fever that a door reads opens a referral, once a person; a doorkeeper reports by a scan."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.gateway.codes.policy import Colour
from services.gateway.tokens.keys import Keys
from services.gateway.tokens.rules import Subject, issue
from services.gateway.verifications.use_cases import snapshot_of_fevers
from shared.contracts.gateway import DoorFever
from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.gateway.doors import scan_id_at
from tests.gateway.test_verifications import COMMUNITY, VERIFICATIONS, device, green_person, point, scan
from tests.harness import District
from tests.observation.feeds import dead_letters, drain_at_once, published, referrals_of
from tests.observation.test_referrals import REFERRALS, fever

FEVERS = (
    "SELECT id, referral_id, party, role, celsius::float AS celsius, measured_at FROM observation.fevers ORDER BY seq"
)
FEED = "SELECT subject, urgent, data FROM gateway.feed WHERE type = 'gateway.fever.v1' ORDER BY seq"


@pytest.fixture
async def window(district: District) -> dict[str, Any]:
    return await point(district)


async def measure_fever(
    district: District, door: httpx.AsyncClient, person: UUID, celsius: float = 38.4
) -> dict[str, Any]:
    return await scan(district, door, person, temperature_celsius=celsius)


async def test_a_fever_at_a_door_opens_a_referral_there(district: District, window: dict[str, Any]) -> None:
    person = await green_person(district)
    said = await measure_fever(district, device(district, window["id"]), person)
    assert (said["verdict"], "why" in said) == ("turn_back", False)
    await district.settle()
    (referral,) = await referrals_of(district, [person])
    assert (referral["reason"], referral["state"], referral["region"]) == ("fever", "reported", COMMUNITY)
    assert (referral["reporter"], referral["desk"]) == (window["id"], "desk_120")
    (reading,) = await district.sql(FEVERS)
    assert (str(reading["id"]), reading["celsius"], reading["party"]) == (said["scan_id"], 38.4, window["id"])
    desk = district.caller("observation", Role.DESK_120, scope="", party="desk_120")
    assert (await desk.get(f"{REFERRALS}/{referral['id']}")).json()["resident_id"] == str(person)
    (entry,) = await published(district, "observation.referral.v1", referral["id"])
    assert (entry["change"], entry["urgent"]) == ("reported", True)


async def test_what_travels_names_nobody_and_a_rebuild_says_the_same(
    district: District, window: dict[str, Any]
) -> None:
    people = [await green_person(district) for _ in range(3)]
    door = device(district, window["id"])
    for person in people:
        await measure_fever(district, door, person, 39.0)
    rows = await district.sql(FEED)
    told = [DoorFever.model_validate_json(row["data"]) for row in rows]
    assert [(one.resident_id, one.celsius, row["urgent"]) for one, row in zip(told, rows, strict=True)] == [
        (person, 39.0, True) for person in people
    ]
    assert all(json.loads(row["data"]).keys() == DoorFever.model_fields.keys() for row in rows)
    async with district.contexts["gateway"].system_unit_of_work() as uow:
        first = await snapshot_of_fevers(uow, None, 2)
        rest = await snapshot_of_fevers(uow, first[-1].id, 2)  # type: ignore[union-attr]
    assert [*first, *rest] == told


@pytest.mark.parametrize("heat", [None, 36.5, 37.2])
async def test_without_a_fever_nothing_is_told(district: District, window: dict[str, Any], heat: float | None) -> None:
    await measure_fever(district, device(district, window["id"]), await green_person(district), heat)  # type: ignore[arg-type]
    assert await district.sql(FEED) == []


async def test_a_point_and_the_protocol_both_have_to_call_it_a_fever(district: District) -> None:
    strict, lax = await point(district, fever_celsius=37.0), await point(district, fever_celsius=38.5)
    low, high = await green_person(district), await green_person(district)
    await measure_fever(
        district, device(district, strict["id"]), low, 37.1
    )  # the point's fever, and not the protocol's
    await measure_fever(district, device(district, lax["id"]), high, 38.0)  # the protocol's, and not the point's
    await district.settle()
    assert await referrals_of(district, [low, high]) == []


async def test_a_clinic_that_refuses_nobody_refers_all_the_same(district: District) -> None:
    clinic = await point(district, medical=True)
    person = await green_person(district)
    said = await measure_fever(district, device(district, clinic["id"]), person)
    assert said["verdict"] == "pass"
    await district.settle()
    assert len(await referrals_of(district, [person])) == 1


async def test_scans_again_and_at_other_doors_join_the_episode(district: District) -> None:
    person = await green_person(district)
    doors = [device(district, (await point(district))["id"]) for _ in range(4)]
    answers = await asyncio.gather(*(measure_fever(district, door, person) for door in doors for _ in range(3)))
    await district.settle()
    (referral,) = await referrals_of(district, [person])
    readings = await district.sql(FEVERS)
    assert {str(one["id"]) for one in readings} == {said["scan_id"] for said in answers}
    assert {one["referral_id"] for one in readings} == {referral["id"]}
    assert len(await published(district, "observation.referral.v1", referral["id"])) == 1
    assert await dead_letters(district) == []


async def test_a_door_and_a_doctor_at_once_are_one_episode(district: District, window: dict[str, Any]) -> None:
    people = [await green_person(district) for _ in range(5)]
    door = device(district, window["id"])
    doctor = district.caller("observation", Role.VILLAGE_DOCTOR, scope=COMMUNITY)
    for person in people:
        await measure_fever(district, door, person)
    await district.until_served()
    await asyncio.gather(drain_at_once(district), *(doctor.post(REFERRALS, json=fever(person)) for person in people))
    await district.settle()
    assert len(await referrals_of(district, people)) == 5
    assert len(await district.sql(FEVERS)) == 10


async def test_what_is_told_twice_counts_once_also_after_the_episode(
    district: District, window: dict[str, Any]
) -> None:
    person = await green_person(district)
    door = device(district, window["id"])
    asked = await measure_fever(district, door, person)
    again = await measure_fever(district, door, person)
    repeated = await scan(district, door, person, scan_id=asked["scan_id"], temperature_celsius=38.4)
    assert repeated["scan_id"] == asked["scan_id"]
    assert len(await district.sql(FEED)) == 2
    await district.settle()
    (referral,) = await referrals_of(district, [person])
    officer = district.caller("observation", Role.COMMUNITY_OFFICER, scope=COMMUNITY)
    cancelled = await officer.post(f"{REFERRALS}/{referral['id']}/cancel", json={"reason": "体温计故障"})
    assert cancelled.status_code == 200, cancelled.text
    await district.sql("DELETE FROM observation.feed_held WHERE type = 'gateway.fever.v1'")
    await district.sql("UPDATE observation.feed_cursors SET cursor = '0.0.0' WHERE owner = 'gateway'")
    await district.settle()
    assert [row["state"] for row in await referrals_of(district, [person])] == ["cancelled"]
    assert {str(row["id"]) for row in await district.sql(FEVERS)} == {asked["scan_id"], again["scan_id"]}
    # A new fever is a new episode.
    await measure_fever(district, door, person)
    await district.settle()
    assert [row["state"] for row in await referrals_of(district, [person])] == ["cancelled", "reported"]


async def test_a_scan_that_is_sent_late_counts_with_its_own_time(district: District, window: dict[str, Any]) -> None:
    person, other = await green_person(district), await green_person(district)
    door = device(district, window["id"])
    doctor = district.caller("observation", Role.VILLAGE_DOCTOR, scope=COMMUNITY)
    before = (await doctor.post(REFERRALS, json=fever(person))).json()
    officer = district.caller("observation", Role.COMMUNITY_OFFICER, scope=COMMUNITY)
    await officer.post(f"{REFERRALS}/{before['id']}/cancel", json={"reason": "复测正常"})
    late = clock.now() - timedelta(hours=3)
    for one in (person, other):
        await scan(district, door, one, scan_id=str(scan_id_at(late)), temperature_celsius=38.4)
    await district.settle()
    # Read before that episode ended, so it is part of it; who had none is referred.
    assert [row["state"] for row in await referrals_of(district, [person])] == ["cancelled"]
    assert [row["state"] for row in await referrals_of(district, [other])] == ["reported"]
    readings = await district.sql(f"SELECT * FROM ({FEVERS}) AS one WHERE role = 'doorkeeper'")
    assert {abs(row["measured_at"] - late) < timedelta(seconds=1) for row in readings} == {True}


async def test_what_is_heard_days_later_sends_nobody(district: District, window: dict[str, Any]) -> None:
    person = await green_person(district)
    await measure_fever(district, device(district, window["id"]), person)
    district.move_clock(days=2)
    await district.settle()
    assert await referrals_of(district, [person]) == []
    assert await dead_letters(district) == []


async def test_a_person_whom_nobody_knows_is_referred_too(district: District, window: dict[str, Any]) -> None:
    stranger = new_id()
    key = Keys.from_files(district.contexts["gateway"].settings.keys).current
    asked = {"scan_id": str(new_id()), "token": issue(Subject(stranger, Colour.GREEN), key, clock.now())}
    door = device(district, window["id"])
    answer = await door.post(VERIFICATIONS, json=asked | {"temperature_celsius": 38.4})
    assert answer.json()["word"] == "Turn back"
    await district.settle()
    (referral,) = await referrals_of(district, [stranger])
    assert (referral["region"], referral["reporter"]) == (COMMUNITY, window["id"])
    desk = district.caller("observation", Role.DESK_120, scope="", party="desk_120")
    told = await desk.post(f"{REFERRALS}/{referral['id']}/reveal")
    assert told.json()["code"] == "person_not_on_record"


async def test_a_doorkeeper_reports_by_a_scan_of_their_own_point(district: District, window: dict[str, Any]) -> None:
    person = await green_person(district)
    said = await scan(district, device(district, window["id"]), person)
    new = {"scan_id": said["scan_id"], "celsius": 38.4, "measured_at": clock.now().isoformat()}
    for role in (Role.DOORKEEPER, Role.CHECKPOINT):
        door = district.caller("observation", role, scope=COMMUNITY, party=window["id"])
        made = await door.post(REFERRALS, json=new)
        assert made.status_code == 201, made.text
        assert (made.json()["resident_id"], made.json()["region"]) == (str(person), COMMUNITY)
    (referral,) = await referrals_of(district, [person])
    assert referral["reporter"] == window["id"]


async def test_by_which_scans_nobody_is_reported(district: District, window: dict[str, Any]) -> None:
    person = await green_person(district)
    said = await scan(district, device(district, window["id"]), person)
    new = {"scan_id": said["scan_id"], "celsius": 38.4, "measured_at": clock.now().isoformat()}
    own = district.caller("observation", Role.DOORKEEPER, scope=COMMUNITY, party=window["id"])
    other = district.caller("observation", Role.DOORKEEPER, scope=COMMUNITY, party=(await point(district))["id"])
    nowhere = district.caller("observation", Role.DOORKEEPER, scope=COMMUNITY, party="point-1")
    doctor = district.caller("observation", Role.VILLAGE_DOCTOR, scope=COMMUNITY)
    wrong = (
        (other, new, "scan_unknown"),
        (nowhere, new, "scan_unknown"),
        (doctor, new, "scan_unknown"),
        (own, new | {"scan_id": str(new_id())}, "scan_unknown"),
        (own, new | {"scan_id": "6b1f0b46-2f4e-4c39-9c6e-0d6c7c4b7d10"}, "scan_unknown"),
        (own, new | {"scan_id": "x"}, "invalid_input"),
        (own, new | {"resident_id": str(person)}, "invalid_input"),
        (own, {name: value for name, value in new.items() if name != "scan_id"}, "invalid_input"),
        (doctor, {**new, "scan_id": None, "resident_id": str(person)}, "invalid_input"),
    )
    for caller, body, code in wrong:
        answer = await caller.post(REFERRALS, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, code), (body, answer.text)
    district.move_clock(hours=25)
    late = await own.post(REFERRALS, json=new)
    assert (late.status_code, late.json()["code"]) == (422, "scan_too_old")
    assert await district.sql("SELECT FROM observation.referrals") == []
