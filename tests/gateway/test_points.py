"""G4: the places that ask for codes, and who may say what they ask."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.gateway.points.schemas import NewServicePoint
from services.gateway.points.tables import PointRow, policy_of
from services.gateway.verifications.rules import ALL_SITUATIONS, Outcome, decide
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.gateway.test_codes import publish, resident
from tests.gateway.test_verifications import COMMUNITY, POINTS, device, phone, point, red_person, scan
from tests.harness import District


async def test_a_point_is_opened_changed_and_closed(district: District) -> None:
    command = district.caller("gateway", Role.COMMAND)
    new = {"name": "一号窗口", "region": COMMUNITY, "registers": ["yellow"], "negative_within_hours": 48}
    answer = await command.post(POINTS, json=new)
    made = answer.json()
    assert answer.headers["location"] == f"{POINTS}/{made['id']}"
    assert {name: made[name] for name in new} == new
    assert (made["passes"], made["fever_celsius"], made["receipt_seconds"], made["medical"]) == (
        ["green"],
        37.3,
        600,
        False,
    )
    path = f"{POINTS}/{made['id']}"
    seen = await command.get(path)
    assert (seen.json(), seen.headers["etag"]) == (made, '"1"')
    changed = await command.patch(path, json={"negative_within_hours": None}, headers={"if-match": '"1"'})
    assert changed.json() == made | {"negative_within_hours": None, "version": 2}
    assert (await command.get(POINTS)).json()["items"] == [changed.json()]
    closed = (await command.post(f"{path}/close")).json()
    assert closed["closed_at"] is not None
    assert (await command.post(f"{path}/close")).json() == closed
    late = await command.patch(path, json={"name": "x"}, headers={"if-match": f'"{closed["version"]}"'})
    assert (late.status_code, late.json()["code"]) == (409, "service_point_closed")


async def test_two_who_change_one_point(district: District) -> None:
    path = f"{POINTS}/{(await point(district))['id']}"
    command = district.caller("gateway", Role.COMMAND)
    assert (await command.patch(path, json={"name": "x"})).status_code == 428
    answers = await asyncio.gather(
        *[command.patch(path, json={"name": f"窗口 {n}"}, headers={"if-match": '"1"'}) for n in range(10)]
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"registers": ["green"]}, "colour_twice"),
    ({"upstream_url": "http://hall.example.cn"}, "upstream_without_slug"),
    ({"slug": "Hall", "upstream_url": "http://hall.example.cn"}, "string_pattern_mismatch"),
    ({"slug": "hall", "upstream_url": "ftp://hall.example.cn"}, "upstream_not_plain"),
    ({"slug": "hall", "upstream_url": "http://u:p@hall.example.cn"}, "upstream_not_plain"),
    ({"slug": "hall", "upstream_url": "http://hall.example.cn/?a=b"}, "upstream_not_plain"),
    ({"negative_within_hours": 721}, "less_than_equal"),
    ({"fever_celsius": 35}, "greater_than_equal"),
    ({"receipt_seconds": 0}, "greater_than_equal"),
    ({"passes": ["blue"]}, "literal_error"),
    ({"outcomes": "00"}, "extra_forbidden"),
]


@pytest.mark.parametrize(("wrong", "code"), WRONG)
async def test_what_no_point_may_ask_neither_when_opened_nor_when_changed(
    district: District, wrong: dict[str, Any], code: str
) -> None:
    command = district.caller("gateway", Role.COMMAND)
    answer = await command.post(POINTS, json={"name": "x", "region": COMMUNITY} | wrong)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)
    path = f"{POINTS}/{(await point(district))['id']}"
    answer = await command.patch(path, json=wrong, headers={"if-match": '"1"'})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)


async def test_a_field_that_every_point_has_cannot_be_taken_away(district: District) -> None:
    path = f"{POINTS}/{(await point(district))['id']}"
    command = district.caller("gateway", Role.COMMAND)
    for name in ("name", "passes", "medical", "fever_celsius"):
        answer = await command.patch(path, json={name: None}, headers={"if-match": '"1"'})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"#/{name}")


async def test_scope(district: District) -> None:
    officer = district.caller("gateway", Role.COMMUNITY_OFFICER, scope=COMMUNITY)
    elsewhere = district.caller("gateway", Role.COMMUNITY_OFFICER, scope="350582005002")
    made = (await officer.post(POINTS, json={"name": "x", "region": COMMUNITY})).json()
    path = f"{POINTS}/{made['id']}"
    refused = await elsewhere.post(POINTS, json={"name": "x", "region": COMMUNITY})
    assert (refused.status_code, refused.json()["code"]) == (403, "region_outside")
    for answer in (
        await elsewhere.get(path),
        await elsewhere.patch(path, json={"name": "y"}, headers={"if-match": '"1"'}),
        await elsewhere.post(f"{path}/close"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "service_point_not_found")
    assert (await elsewhere.get(POINTS)).json()["items"] == []


@pytest.mark.parametrize("role", [Role.RESIDENT, Role.DOORKEEPER, Role.GRID_WORKER, Role.SAMPLER, Role.LABORATORY])
async def test_who_may_not_open_a_point(district: District, role: Role) -> None:
    caller = district.caller("gateway", role, residents=(new_id(),))
    assert (await caller.post(POINTS, json={"name": "x", "region": COMMUNITY})).status_code == 403


ODD = ("http://127.1:8001", "http://2130706433:8002", "http://[::ffff:127.0.0.1]:8003", "http://127.0.0.2:8000")


async def test_only_command_says_where_the_edge_sends_people_and_never_to_ourselves(district: District) -> None:
    protects = {"name": "x", "region": COMMUNITY, "slug": "hall", "upstream_url": "http://hall.example.cn/a"}
    officer = district.caller("gateway", Role.COMMUNITY_OFFICER)
    command = district.caller("gateway", Role.COMMAND)
    assert (await officer.post(POINTS, json=protects)).status_code == 403
    for ours in ("http://127.0.0.1:8001/x", "http://LOCALHOST:8002", "http://[::1]:8003", "http://0.0.0.0:8000/", *ODD):
        answer = await command.post(POINTS, json=protects | {"upstream_url": ours})
        assert (answer.status_code, answer.json()["code"]) == (422, "upstream_is_ours")
    made = (await command.post(POINTS, json=protects)).json()
    path = f"{POINTS}/{made['id']}"
    renamed = await officer.patch(path, json={"name": "y"}, headers={"if-match": '"1"'})
    assert renamed.status_code == 200
    moved = await officer.patch(path, json={"upstream_url": "http://b.example.cn"}, headers={"if-match": '"2"'})
    assert moved.status_code == 403


async def test_a_slug_is_one_open_points(district: District) -> None:
    command = district.caller("gateway", Role.COMMAND)
    protects = {"name": "x", "region": COMMUNITY, "slug": "hall", "upstream_url": "http://hall.example.cn/a"}
    answers = await asyncio.gather(*[command.post(POINTS, json=protects) for _ in range(8)])
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    (made,) = (answer.json() for answer in answers if answer.status_code == 201)
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"slug_taken"}
    await command.post(f"{POINTS}/{made['id']}/close")
    assert (await command.post(POINTS, json=protects)).status_code == 201


def test_the_outcomes_a_point_keeps_are_its_policys() -> None:
    for medical in (False, True):
        new = NewServicePoint(
            name="x",
            region=COMMUNITY,
            passes=["green"],
            registers=["yellow"],
            negative_within_hours=24,
            without_negative="register",
            with_fever="register",
            unknown_person="turn_back",
            fever_celsius=37.5,
            medical=medical,
        )
        row = PointRow(region=new.region)
        row.ask(new)
        assert row.fever_tenths == 375
        for at in ALL_SITUATIONS:
            assert Outcome.of(row.outcomes[at.number]) == decide(at, policy_of(new))


# --- the protected service, all the way


@pytest.fixture
async def upstream() -> AsyncIterator[str]:
    """A foreign application that says whom it was told of."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        who = head.partition("x-fangxian-resident: ")[2].partition("\r\n")[0].encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(who), who))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/app"
    server.close()


async def ask(client: httpx.AsyncClient, slug: str, receipt: str | None = None) -> tuple[int, str]:
    answer = await client.get(f"/services/{slug}/x", headers={"x-visit-receipt": receipt} if receipt else {})
    return answer.status_code, answer.text if answer.is_success else answer.json()["code"]


async def test_verify_the_code_before_the_service(district: District, upstream: str) -> None:
    person, other = new_id(), new_id()
    await publish(district, resident(person), resident(other))
    hall = await point(district, slug="hall", upstream_url=upstream, receipt_seconds=60)
    kiosk = await point(district, slug="kiosk", upstream_url=upstream)
    receipt = (await scan(district, device(district, hall["id"]), person))["receipt"]
    elsewhere = (await scan(district, device(district, kiosk["id"]), person))["receipt"]
    mine = phone(district, person)
    assert await ask(mine, "hall", receipt) == (200, str(person))
    assert await ask(mine, "hall") == (403, "receipt_missing")
    assert await ask(mine, "hall", elsewhere) == (403, "receipt_foreign")
    assert await ask(phone(district, other), "hall", receipt) == (403, "receipt_foreign")
    district.move_clock(seconds=61)
    assert await ask(mine, "hall", receipt) == (403, "receipt_expired")
    assert await ask(mine, "kiosk", elsewhere) == (200, str(person))
    await district.caller("gateway", Role.COMMAND).post(f"{POINTS}/{kiosk['id']}/close")
    assert (await ask(mine, "kiosk", elsewhere))[0] == 404


async def test_a_clinics_service_asks_for_nothing(district: District, upstream: str) -> None:
    red = await red_person(district)
    await point(district, slug="clinic", upstream_url=upstream, medical=True)
    assert await ask(phone(district, red), "clinic") == (200, str(red))
