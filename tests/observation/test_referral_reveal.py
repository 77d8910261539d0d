"""O4: 120 and the hospital it names learn whom to fetch while a referral is open; the person reads who looked."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.observation.referrals import reveal as reveals
from shared.core.actors import Actor, Role, system
from shared.core.ids import new_id
from tests.harness import District
from tests.observation.feeds import message, publish_to_observation
from tests.observation.test_referrals import COMMUNITY, REFERRALS, fever
from tests.registry.people import ADDRESS, PHONE, register

DESK, HOSPITAL = "desk_120", "hospital-one"


def desk(district: District, party: str = DESK) -> httpx.AsyncClient:
    return district.caller("observation", Role.DESK_120, scope="", party=party, subject=f"client:{party}")


def hospital(district: District, party: str = HOSPITAL) -> httpx.AsyncClient:
    return district.caller("observation", Role.HOSPITAL, scope="", party=party, subject=f"client:{party}")


@pytest.fixture
async def person(district: District) -> UUID:
    return UUID(await register(district, district.caller("registry", Role.COMMUNITY_OFFICER)))


@pytest.fixture
async def referral(district: District, person: UUID) -> str:
    doctor = district.caller("observation", Role.VILLAGE_DOCTOR, scope=COMMUNITY)
    made = await doctor.post(REFERRALS, json=fever(person))
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def reveal(caller: httpx.AsyncClient, referral: str) -> httpx.Response:
    return await caller.post(f"{REFERRALS}/{referral}/reveal")


async def test_the_desk_learns_whom_to_fetch_and_the_person_reads_who_looked(
    district: District, person: UUID, referral: str
) -> None:
    answer = await reveal(desk(district), referral)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "referral_id": referral,
        "name": "张三丰",
        "phone": PHONE,
        "address": ADDRESS,
        "region": COMMUNITY,
    }
    assert answer.headers["cache-control"] == "no-store"
    (entry,) = await district.sql("SELECT * FROM registry.audit WHERE kind = 'reveal'")
    assert (entry["actor"], entry["role"], entry["party"], entry["purpose"]) == (
        f"client:{DESK}",
        "desk_120",
        DESK,
        "transfer",
    )
    assert (entry["subjects"], entry["reason"]) == ([person], f"referral {referral}")
    own = district.caller("registry", Role.RESIDENT, residents=(person,))
    looks = (await own.get("/registry/v1/who-looked-at-me")).json()["items"]
    (look,) = [one for one in looks if one["kind"] == "reveal"]
    assert (look["organisation"], look["why"]) == (f"120 dispatch centre ({DESK})", "taking you to a hospital")
    # Nothing of the person is kept where it was asked.
    for table in ("referrals", "audit", "feed", "idempotency"):
        rows = await district.sql(f"SELECT t::text AS row FROM observation.{table} AS t")
        assert not any(word in row["row"] for row in rows for word in ("张三丰", PHONE, ADDRESS))


async def test_the_hospital_that_the_desk_names_learns_it_too(district: District, referral: str) -> None:
    assert (await reveal(hospital(district), referral)).status_code == 404
    await publish_to_observation(district, message("referral.dispatched", referral, hospital=HOSPITAL))
    answer = await reveal(hospital(district), referral)
    assert (answer.status_code, answer.json()["phone"]) == (200, PHONE)
    (entry,) = await district.sql("SELECT * FROM registry.audit WHERE kind = 'reveal'")
    assert (entry["party"], entry["purpose"]) == (HOSPITAL, "treatment")
    assert (await reveal(hospital(district, "hospital-two"), referral)).status_code == 404


async def test_a_hospital_does_not_make_itself_the_one_that_learns_it(district: District, person: UUID) -> None:
    """By reporting a fever and naming itself anybody's phone would be one request away."""
    own = hospital(district)
    made = await own.post(REFERRALS, json=fever(person))
    assert made.status_code == 201, made.text
    refused = await reveal(own, made.json()["id"])
    assert (refused.status_code, refused.json()["code"]) == (403, "not_designated")
    told = message("referral.handed_over", made.json()["id"], source="hospital", party=HOSPITAL, hospital=HOSPITAL)
    await publish_to_observation(district, told)
    assert (await own.get(f"{REFERRALS}/{made.json()['id']}/standing")).json()["hospital"] == HOSPITAL
    refused = await reveal(own, made.json()["id"])
    assert (refused.status_code, refused.json()["code"]) == (403, "not_designated")
    assert await district.sql("SELECT FROM registry.audit WHERE kind = 'reveal'") == []


async def test_nobody_else_and_nothing_once_it_has_ended(district: District, referral: str) -> None:
    assert (await reveal(desk(district, "desk_other"), referral)).status_code == 404
    assert (await reveal(desk(district), str(new_id()))).status_code == 404
    assert (await reveal(desk(district), "nonsense")).status_code == 422
    for role in (Role.COMMUNITY_OFFICER, Role.LABORATORY, Role.MUNICIPAL, Role.RESIDENT, Role.DOORKEEPER):
        other = district.caller("observation", role, party=DESK, residents=(new_id(),))
        assert (await reveal(other, referral)).status_code == 403
    officer = district.caller("observation", Role.COMMUNITY_OFFICER, scope=COMMUNITY)
    assert (await officer.post(f"{REFERRALS}/{referral}/cancel", json={"reason": "复测正常"})).status_code == 200
    refused = await reveal(desk(district), referral)
    assert (refused.status_code, refused.json()["code"]) == (409, "referral_ended")
    assert await district.sql("SELECT FROM registry.audit WHERE kind = 'reveal'") == []


async def test_a_person_who_is_not_on_record_is_said_to_be_so(district: District) -> None:
    doctor = district.caller("observation", Role.VILLAGE_DOCTOR, scope=COMMUNITY)
    made = (await doctor.post(REFERRALS, json=fever(new_id()))).json()
    answer = await reveal(desk(district), made["id"])
    assert (answer.status_code, answer.json()["code"]) == (404, "person_not_on_record")


async def test_looks_are_limited_for_each_referral_by_itself(
    district: District, referral: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reveals, "MOST_AN_HOUR", 5)
    asked = desk(district)
    answers = await asyncio.gather(*(reveal(asked, referral) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 7
    refused: dict[str, Any] = (await reveal(asked, referral)).json()
    assert refused["code"] == "referral_reveal_limit"
    doctor = district.caller("observation", Role.VILLAGE_DOCTOR, scope=COMMUNITY)
    other = (await doctor.post(REFERRALS, json=fever(new_id()))).json()
    assert (await reveal(asked, other["id"])).json()["code"] == "person_not_on_record", (
        "another ambulance is not held up"
    )
    district.move_clock(hours=1, minutes=1)
    assert (await reveal(asked, referral)).status_code == 200


async def test_the_registry_reveals_to_no_service_on_behalf_of_others(district: District, person: UUID) -> None:
    context = district.contexts["observation"]
    asked = {"resident_id": str(person), "referral_id": str(new_id()), "purpose": "transfer", "operation": "x"}
    for role, status in ((Role.DESK_120, 200), (Role.MUNICIPAL, 403), (Role.COMMAND, 403)):
        body = asked | {"actor": Actor("x", role, party="x").claims()}
        answer = await context.service_clients.call(
            "registry", "POST", "/internal/reveals", system("observation"), json=body
        )
        assert answer.status_code == status
    staff = district.caller("registry", Role.COMMAND)
    assert (await staff.post("/internal/reveals", json=asked | {"actor": {}})).status_code == 403
