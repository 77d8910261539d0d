"""Reveal: a person in clear, only for who may, for a purpose, so often an hour, and never without a trace."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import text

from shared.audit.kinds import Kind
from shared.core.actors import Actor, Role
from shared.core.regions import range_of
from tests.harness import District
from tests.registry.people import ADDRESS, HOUKU, PHONE, number, register

RESIDENTS = "/registry/v1/residents"
ASKED = {"fields": ["name", "phone"], "purpose": "contact_tracing", "reason": "阳性混管需通知复采"}


@pytest.fixture
def officer(district: District):
    return district.caller("registry", Role.COMMUNITY_OFFICER, subject="staff:wang")


async def test_what_is_asked_for_is_in_clear_and_nothing_else(district: District, officer) -> None:
    id_ = await register(district, officer)
    answer = await officer.post(f"{RESIDENTS}/{id_}/reveal", json=ASKED)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"id": id_, "name": "张三丰", "document_number": None, "phone": PHONE, "address": None}
    assert answer.headers["cache-control"] == "no-store"
    everything = ASKED | {"fields": ["name", "document_number", "phone", "address"]}
    shown = (await officer.post(f"{RESIDENTS}/{id_}/reveal", json=everything)).json()
    assert (shown["document_number"], shown["address"]) == (number(), ADDRESS)


async def test_it_is_in_the_audit_with_purpose_and_reason(district: District, officer) -> None:
    id_ = await register(district, officer)
    await officer.post(f"{RESIDENTS}/{id_}/reveal", json=ASKED)
    (entry,) = await district.sql("SELECT * FROM registry.audit WHERE operation LIKE '%/reveal'")
    assert (entry["actor"], entry["subjects"]) == ("staff:wang", [UUID(id_)])
    assert (entry["kind"], entry["purpose"], entry["reason"]) == ("reveal", "contact_tracing", ASKED["reason"])


async def test_the_person_reads_the_purpose_the_reason_and_the_organisation_in_words(district: District) -> None:
    office = "沙塘社区居委会"
    officer = district.caller("registry", Role.COMMUNITY_OFFICER, subject="staff:wang", party=office)
    id_ = await register(district, officer)
    assert (await officer.post(f"{RESIDENTS}/{id_}/reveal", json=ASKED)).status_code == 200
    me = district.caller("gateway", Role.RESIDENT, residents=(UUID(id_),))
    guardian = district.caller("gateway", Role.RESIDENT, residents=(uuid4(), UUID(id_)))
    expected = {
        "zh-CN": ("查看了您未遮盖的信息（姓名、证件号码、电话或住址）", "密切接触者追踪", "社区工作人员"),
        "en": (
            "viewed your name, document number, phone or address unmasked",
            "contact tracing",
            "community officer",
        ),
    }
    for reader in (me, guardian):
        for language, words in expected.items():
            answer = await reader.get("/gateway/v1/who-looked-at-me", headers={"accept-language": language})
            reveal, registration = answer.json()["items"]
            assert (reveal["what"], reveal["why"], reveal["role_name"]) == words
            assert (reveal["reason"], reveal["organisation"], reveal["purpose"]) == (
                ASKED["reason"],
                office,
                "contact_tracing",
            )
            assert (registration["operation"], registration["reason"]) == ("settle requests", "")
            assert "staff:wang" not in answer.text


async def test_only_of_reveals_is_the_reason_told_also_by_the_database(district: District, officer) -> None:
    id_ = await register(district, officer)
    context = district.contexts["registry"]
    async with context.unit_of_work(Actor("staff:9", Role.COMMAND, range_of(""))) as uow:
        uow.audit(kind=Kind.RESTRICTION, subjects=[UUID(id_)], reason="not for the person")
    me = Actor("resident:1", Role.RESIDENT, residents=(UUID(id_),))
    async with context.unit_of_work(me) as uow:
        assert {row["told"] for row in await uow.rows(text("SELECT told FROM audit"))} == {""}
    async with context.unit_of_work(me) as uow:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await uow.rows(text("SELECT reason FROM audit"))


async def test_no_answer_is_kept_even_with_a_key(district: District, officer) -> None:
    id_ = await register(district, officer)
    before = await district.sql("SELECT count(*) FROM registry.idempotency")
    key = {"idempotency-key": "the-same-key"}
    for _ in range(2):
        answer = await officer.post(f"{RESIDENTS}/{id_}/reveal", json=ASKED, headers=key)
        assert "idempotency-replayed" not in answer.headers
    assert await district.sql("SELECT count(*) FROM registry.idempotency") == before
    assert len(await district.sql("SELECT FROM registry.audit WHERE operation LIKE '%/reveal'")) == 2


@pytest.mark.parametrize("role", [Role.SAMPLER, Role.SUPERVISOR, Role.AUDITOR, Role.RESIDENT, Role.LABORATORY])
async def test_who_may_not_is_refused(district: District, officer, role: Role) -> None:
    id_ = await register(district, officer)
    answer = await district.caller("registry", role, residents=(UUID(id_),)).post(
        f"{RESIDENTS}/{id_}/reveal", json=ASKED
    )
    assert answer.status_code == 403


async def test_outside_of_the_scope_nobody_is_there(district: District, officer) -> None:
    id_ = await register(district, officer)
    neighbour = district.caller("registry", Role.COMMUNITY_OFFICER, scope=HOUKU)
    refused = await neighbour.post(f"{RESIDENTS}/{id_}/reveal", json=ASKED)
    unknown = await neighbour.post(f"{RESIDENTS}/{uuid4()}/reveal", json=ASKED)
    assert (refused.status_code, unknown.status_code) == (404, 404)
    assert await district.sql("SELECT FROM registry.reveals") == []


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"fields": []}, "#/fields"),
        ({"fields": ["birth_date"]}, "#/fields/0"),
        ({"purpose": "curiosity"}, "#/purpose"),
        ({"reason": "  "}, "#/reason"),
        ({"reason": "致电张三丰本人"}, "#/reason"),
        ({"reason": f"call {PHONE}"}, "#/reason"),
    ],
    ids=["nothing", "unknown field", "unknown purpose", "no reason", "the name in it", "the phone in it"],
)
async def test_what_is_asked_wrongly_is_named_and_shows_nothing(
    district: District, officer, values: dict, place: str
) -> None:
    id_ = await register(district, officer)
    answer = await officer.post(f"{RESIDENTS}/{id_}/reveal", json=ASKED | values)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, place)
    assert "张三丰" not in answer.text
    assert PHONE not in answer.text


async def test_so_many_times_an_hour_and_no_more_also_at_once(district: District, officer) -> None:
    id_ = await register(district, officer)
    limit = district.contexts["registry"].settings.reveals_per_hour
    answers = await asyncio.gather(*(officer.post(f"{RESIDENTS}/{id_}/reveal", json=ASKED) for _ in range(limit + 10)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * limit + [429] * 10
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["type"].endswith("reveal_limit")
    assert 0 < int(refused.headers["retry-after"]) <= 3601
    assert len(await district.sql("SELECT FROM registry.audit WHERE operation LIKE '%/reveal'")) == limit

    colleague = district.caller("registry", Role.COMMUNITY_OFFICER, subject="staff:li")
    assert (await colleague.post(f"{RESIDENTS}/{id_}/reveal", json=ASKED)).status_code == 200
    district.move_clock(minutes=61)
    later = district.caller("registry", Role.COMMUNITY_OFFICER, subject="staff:wang")
    assert (await later.post(f"{RESIDENTS}/{id_}/reveal", json=ASKED)).status_code == 200
