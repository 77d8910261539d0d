"""The audits of all services: heads for everybody, "who looked at me" for residents, search for auditors."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from deploy.audit import verify_audit
from shared.audit import acts, chaining
from shared.audit.kinds import Kind
from shared.core import clock
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.core.regions import range_of
from shared.core.settings import SERVICES, Service
from tests.gateway.test_codes import publish, resident
from tests.gateway.test_verifications import COMMUNITY, green_person, point, scan
from tests.harness import XINTANG, District

HEADS = "/gateway/v1/audit/heads"
ME = "/gateway/v1/who-looked-at-me"


async def look(district: District, service: Service, *subjects: UUID, kind: Kind = Kind.LOOK, **actor: Any) -> None:
    """Somebody of staff looks at people."""
    who = Actor("staff:7", Role.GRID_WORKER, range_of(XINTANG), purpose="door visit", request_id="req-12345")
    async with district.contexts[service].unit_of_work(replace(who, **actor), f"GET /{service}/v1/people") as uow:
        uow.audit(kind=kind, subjects=subjects, reason="nobody's business")


async def chain_all(district: District) -> None:
    await district.until_served()
    for service in SERVICES:
        await chaining.chain_entries(district.contexts[service])


@pytest.fixture
def anybody(district: District) -> httpx.AsyncClient:
    """Without a token."""
    transport = httpx.ASGITransport(district.apps["gateway"], raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


@pytest.fixture
def me(district: District) -> tuple[UUID, UUID, httpx.AsyncClient]:
    """A resident with a dependant."""
    own, child = new_id(), new_id()
    return own, child, district.caller("gateway", Role.RESIDENT, residents=(own, child), subject=f"resident:{own}")


def without(monkeypatch: pytest.MonkeyPatch, district: District, service: Service) -> None:
    """A service is down."""

    async def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    monkeypatch.setitem(
        district.contexts["gateway"].service_clients._clients,
        service,
        httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url="http://down"),
    )


async def test_everybody_may_keep_the_heads_of_all_services(district: District, anybody: httpx.AsyncClient) -> None:
    await look(district, "testing", new_id())
    await look(district, "testing", new_id())
    await look(district, "gateway", new_id())
    await chain_all(district)
    answer = await anybody.get(HEADS)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["day"] == clock.day_of(datetime.now(UTC)).isoformat()
    assert {head["service"]: head["size"] for head in said["heads"]} == {
        "registry": 0,
        "testing": 2,
        "observation": 0,
        "gateway": 1,
    }
    keys = verify_audit.keys_of(said)
    assert set(keys) == set(SERVICES)
    for head in verify_audit.heads_of(said):
        verify_audit.check_signature(head, keys, "the head")
    assert said["missing"] == []
    assert "staff:7" not in answer.text


async def test_the_heads_of_another_day(anybody: httpx.AsyncClient) -> None:
    said = (await anybody.get(HEADS, params={"day": "2021-01-21"})).json()
    assert {(head["day"], head["size"]) for head in said["heads"]} == {("2021-01-21", 0)}
    assert (await anybody.get(HEADS, params={"day": "soon"})).status_code == 422


async def test_a_service_that_is_down_has_no_head_and_is_named(
    district: District, anybody: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, district, "observation")
    said = (await anybody.get(HEADS)).json()
    assert said["missing"] == ["observation"]
    assert [head["service"] for head in said["heads"]] == ["registry", "testing", "gateway"]


async def test_a_resident_sees_who_looked_in_any_service(
    district: District, me: tuple[UUID, UUID, httpx.AsyncClient]
) -> None:
    own, child, client = me
    stranger = new_id()
    await look(district, "registry", own, stranger, party="新塘街道社区卫生服务中心")
    await look(district, "testing", child, role=Role.LABORATORY, party="lab-1", range=("~", ""))
    await look(district, "gateway", own, child, kind=Kind.RESTRICTION)
    await look(district, "observation", stranger)
    answer = await client.get(ME)
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    assert [(item["service"], item["kind"], item["role"], item["organisation"], item["region"]) for item in items] == [
        ("gateway", "restriction", "grid_worker", "no organisation on record", XINTANG),
        ("testing", "look", "laboratory", "laboratory (lab-1)", None),
        ("registry", "look", "grid_worker", "新塘街道社区卫生服务中心", XINTANG),
    ]
    assert [item["residents"] for item in items] == [
        sorted([str(own), str(child)]),
        [str(child)],
        [str(own)],
    ]
    assert {item["purpose"] for item in items} == {"door visit"}
    for secret in ("staff:7", str(stranger), "req-12345", "nobody's business"):
        assert secret not in answer.text


async def test_a_machine_is_told_by_the_name_it_was_registered_under(
    district: District, me: tuple[UUID, UUID, httpx.AsyncClient]
) -> None:
    own, _, client = me
    machine = {"client_id": "lab-1", "kind": "machine", "name": "晋江市疾控中心实验室", "region": "350582005"}
    command = district.caller("gateway", Role.COMMAND, scope="")
    made = await command.post("/gateway/v1/clients", json=machine | {"role": "laboratory", "party": "lab-1"})
    assert made.status_code == 201, made.text
    for party in ("lab-1", "lab-2"):
        await look(district, "testing", own, role=Role.LABORATORY, party=party, range=("~", ""))
    window = await point(district)
    await look(district, "gateway", own, role=Role.DOORKEEPER, party=window["id"], range=("~", ""))
    items = (await client.get(ME, headers={"accept-language": "zh-CN"})).json()["items"]
    assert [item["organisation"] for item in items] == ["一号窗口", "检测机构（lab-2）", "晋江市疾控中心实验室"]
    assert [item["party"] for item in items] == [window["id"], "lab-2", "lab-1"]


@pytest.mark.parametrize("service", SERVICES)
async def test_every_operation_is_told_in_words_of_both_languages(district: District, service: Service) -> None:
    own = new_id()
    told = [
        operation.removeprefix(f"{service} ")
        for operation in acts.declared
        if f" /{service}/v1/" in operation or operation.startswith(f"{service} ")
    ]
    for operation in told:
        who = Actor("staff:7", Role.SAMPLER, range_of(XINTANG), party="采样一队")
        async with district.contexts[service].unit_of_work(who, operation) as uow:
            uow.record_access([own])
    client = district.caller(service, Role.RESIDENT, residents=(own,))
    path, seen = f"/{service}/v1/who-looked-at-me", dict[str, list[str]]()
    for language, letters in (("zh-CN", "[一-鿿]"), ("en", "[a-z]{3}")):
        items = (await client.get(path, params={"limit": 200}, headers={"accept-language": language})).json()["items"]
        assert sorted(item["operation"] for item in items) == sorted(told)
        for item in items:
            for name in ("what", "why", "role_name"):
                assert re.search(letters, item[name]), item
                assert "/" not in item[name], "no route"
            assert item["what"] not in {text.render(language) for text, _ in acts.BY_KIND.values()}  # type: ignore[arg-type]
            assert item["organisation"] == "采样一队"
            seen.setdefault(item["operation"], []).append(item["what"])
    assert all(len(set(words)) == 2 for words in seen.values())


async def test_pages_hold_everything_once(district: District, me: tuple[UUID, UUID, httpx.AsyncClient]) -> None:
    own, _, client = me
    for service in (*SERVICES, *SERVICES, "registry", "registry", "registry"):
        await look(district, service, own)  # type: ignore[arg-type]
    found, cursor = [], None
    for _ in range(20):
        page = (await client.get(ME, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        assert len(page["items"]) <= 2
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(found) == len({item["id"] for item in found}) == 11
    assert [item["at"] for item in found] == sorted((item["at"] for item in found), reverse=True)


async def test_a_check_at_a_door_is_a_look_once_and_by_nobody_named(
    district: District, me: tuple[UUID, UUID, httpx.AsyncClient]
) -> None:
    own, child, client = me
    window = await point(district)
    door = district.caller("gateway", Role.DOORKEEPER, party=window["id"])
    await look(district, "registry", own)
    other = await green_person(district)
    await publish(district, resident(own), resident(child))
    for person in (own, child, own, other):
        await scan(district, door, person)
    found, cursor = [], None
    while not found or cursor:
        page = (await client.get(ME, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        found += page["items"]
        cursor = page["next_cursor"]
    assert [(one["role"], one["organisation"], one["region"], one["residents"]) for one in found] == [
        *(("doorkeeper", "一号窗口", COMMUNITY, [str(person)]) for person in (own, child, own)),
        ("grid_worker", "no organisation on record", XINTANG, [str(own)]),
    ]
    visits = (await client.get("/gateway/v1/visits")).json()["items"]
    assert [one["id"] for one in found[:3]] == [f"visit-{visit['scan_id']}" for visit in visits]
    assert len({one["id"] for one in found}) == 4


async def test_a_service_that_is_down_is_named_and_hides_nothing_of_the_others(
    district: District, me: tuple[UUID, UUID, httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, _, client = me
    await look(district, "registry", own)
    await look(district, "testing", own)
    without(monkeypatch, district, "testing")
    said = (await client.get(ME)).json()
    assert said["missing"] == ["testing"]
    assert [item["service"] for item in said["items"]] == ["registry"]


@pytest.mark.parametrize("cursor", ["x", "e30x", "WzFd", "eyJ4IjoieSJ9", "eyJyZWdpc3RyeSI6InkifQ"])
async def test_a_cursor_that_is_not_ours_is_refused(
    district: District, me: tuple[UUID, UUID, httpx.AsyncClient], cursor: str
) -> None:
    answer = await me[2].get(ME, params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize("service", SERVICES)
async def test_residents_of_one_service_see_their_own_only(district: District, service: Service) -> None:
    own, other = new_id(), new_id()
    await look(district, service, own)
    client = district.caller(service, Role.RESIDENT, residents=(other,))
    assert (await client.get(f"/{service}/v1/who-looked-at-me")).json()["items"] == []
    staff = district.caller(service, Role.COMMAND)
    assert (await staff.get(f"/{service}/v1/who-looked-at-me")).status_code == 403


# The auditor ---------------------------------------------------------------------------------------------------------


def audit_of(service: Service) -> str:
    return f"/{service}/v1/audit"


@pytest.mark.parametrize("service", SERVICES)
async def test_an_auditor_finds_entries_and_leaves_one(district: District, service: Service) -> None:
    own, other = new_id(), new_id()
    await look(district, service, own)
    await look(district, service, other, kind=Kind.REVEAL, subject="staff:8")
    auditor = district.caller(service, Role.AUDITOR, subject="auditor:1")
    for asked, expected in (
        ({"subject": str(own)}, ["staff:7"]),
        ({"actor": "staff:8"}, ["staff:8"]),
        ({"kind": "reveal"}, ["staff:8"]),
        ({"operation": f"GET /{service}/v1/people"}, ["staff:8", "staff:7"]),
        ({"operation": "GET /nowhere"}, []),
        ({"since": "2100-01-01T00:00:00Z"}, []),
        ({"before": "2100-01-01T00:00:00Z", "subject": str(other)}, ["staff:8"]),
    ):
        answer = await auditor.get(audit_of(service), params=asked)
        assert answer.status_code == 200, answer.text
        looks = [item["actor"] for item in answer.json()["items"] if item["kind"] != "search"]
        assert looks == expected, asked
    searches = await district.sql(
        f"SELECT reason, subjects, kind FROM {service}.audit WHERE actor = 'auditor:1' ORDER BY seq"
    )
    assert {row["kind"] for row in searches} == {"search"}
    assert (searches[0]["reason"], searches[0]["subjects"]) == (f"subject={own}", [own])
    assert searches[3]["subjects"] == sorted([own, other])
    assert len(searches) == 7
    found = (await auditor.get(audit_of(service), params={"kind": "search"})).json()["items"]
    assert len(found) == 7, "a search of the audit is found by the next"


async def test_an_entry_in_an_answer_is_bounded(district: District) -> None:
    people = sorted(new_id() for _ in range(50))
    await look(district, "registry", *people)
    (item,) = (await district.caller("registry", Role.AUDITOR).get(audit_of("registry"))).json()["items"]
    assert (item["subjects"], item["subjects_total"]) == ([str(one) for one in people[:20]], 50)


async def test_an_auditor_sees_what_was_done_in_the_name_of_their_region_and_of_none_only_over_the_whole(
    district: District,
) -> None:
    one = new_id()
    await look(district, "registry", one, subject="inside", range=range_of("350582005001"))
    await look(district, "registry", one, subject="outside", range=range_of("350582006"))
    await look(district, "registry", one, subject="above", range=range_of("3505"))
    await look(district, "registry", one, subject="laboratory", role=Role.LABORATORY, range=("~", ""))
    auditor = district.caller("registry", Role.AUDITOR)
    for asked in ({}, {"subject": str(one)}):
        found = (await auditor.get(audit_of("registry"), params=asked)).json()["items"]
        assert "inside" in {item["actor"] for item in found}
        assert {item["actor"] for item in found}.isdisjoint({"outside", "above", "laboratory"})
    whole = district.caller("registry", Role.AUDITOR, scope="")
    found = (await whole.get(audit_of("registry"), params={"subject": str(one), "kind": "look"})).json()["items"]
    assert {item["actor"] for item in found} == {"inside", "outside", "above", "laboratory"}


async def test_the_search_is_paged(district: District) -> None:
    for _ in range(5):
        await look(district, "registry", new_id())
    auditor = district.caller("registry", Role.AUDITOR)
    asked: dict[str, Any] = {"limit": 2, "kind": "look"}
    found = []
    while True:
        page = (await auditor.get(audit_of("registry"), params=asked)).json()
        found += page["items"]
        if page["next_cursor"] is None:
            break
        asked["cursor"] = page["next_cursor"]
    assert len({item["id"] for item in found}) == len(found) == 5


@pytest.mark.parametrize(
    "asked", [{"kind": "x"}, {"subject": "x"}, {"since": "2021-01-21T00:00:00"}, {"before": "0"}, {"cursor": "x"}]
)
async def test_a_search_that_cannot_be_understood_is_refused(district: District, asked: dict[str, str]) -> None:
    answer = await district.caller("registry", Role.AUDITOR).get(audit_of("registry"), params=asked)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "role", [role for role in Role.ANYONE if role is not Role.AUDITOR], ids=lambda role: role.label
)
async def test_nobody_but_an_auditor_searches(district: District, role: Role) -> None:
    answer = await district.caller("registry", role).get(audit_of("registry"))
    assert answer.status_code == 403


# Restrictions --------------------------------------------------------------------------------------------------------


async def test_looking_at_ones_own_code_leaves_no_entry_and_at_anothers_does(district: District) -> None:
    own, child = new_id(), new_id()
    for person in (own, child):
        await district.sql(
            """
            INSERT INTO gateway.codes (resident_id, version, region, colour, policy, reasons, changed_at)
            VALUES ($1, 1, '350582005001', 1, 1, '[]', now())
            """,
            person,
        )
    me = district.caller("gateway", Role.RESIDENT, residents=(own, child))
    assert (await me.get("/gateway/v1/code")).status_code == 200
    assert (await me.get(f"/gateway/v1/codes/{own}")).status_code == 200
    assert await district.sql("SELECT 1 FROM gateway.audit") == []
    assert (await me.get(f"/gateway/v1/codes/{child}")).status_code == 200
    ((subjects,),) = await district.sql("SELECT subjects FROM gateway.audit")
    assert subjects == [child]


async def test_a_count_of_seconds_is_no_day(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.get(HEADS, params={"day": "0"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "date_parsing")


@pytest.mark.parametrize(
    "path",
    [
        "/gateway/v1/visits",
        "/gateway/v1/codes/018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
        "/observation/v1/orders",
        "/observation/v1/referrals",
        "/testing/v1/tubes",
        "/testing/v1/retests",
        "/testing/v1/boxes",
        "/testing/v1/samples/refused",
        "/registry/v1/residents",
    ],
)
async def test_an_auditor_sees_what_was_done_and_not_the_data(district: District, path: str) -> None:
    service: Service = path.split("/")[1]  # type: ignore[assignment]
    answer = await district.caller(service, Role.AUDITOR, scope="").get(path)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
