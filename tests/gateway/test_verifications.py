"""G4 through the face: a code is checked before the service, the visit is kept, and everybody learns only their own."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from services.gateway.codes.policy import Colour
from services.gateway.tokens.keys import Keys
from services.gateway.tokens.rules import Subject, issue
from services.gateway.verifications import receipts
from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_id
from shared.core.regions import EVERYTHING
from tests.gateway.test_codes import publish, resident, tube
from tests.harness import District

POINTS = "/gateway/v1/service-points"
VERIFICATIONS = "/gateway/v1/verifications"
VISITS = "/gateway/v1/visits"
COMMUNITY = "350582005001"


async def point(district: District, **wishes: Any) -> dict[str, Any]:
    command = district.caller("gateway", Role.COMMAND)
    answer = await command.post(POINTS, json={"name": "一号窗口", "region": COMMUNITY} | wishes)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def device(district: District, point_id: str, role: Role = Role.DOORKEEPER) -> httpx.AsyncClient:
    return district.caller("gateway", role, party=point_id)


def phone(district: District, *people: UUID) -> httpx.AsyncClient:
    return district.caller("gateway", Role.RESIDENT, residents=people)


async def token_of(district: District, *people: UUID, **query: Any) -> str:
    answer = await phone(district, *people).get("/gateway/v1/code", params=query)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


async def scan(district: District, door: httpx.AsyncClient, person: UUID, **changes: Any) -> dict[str, Any]:
    asked = {"scan_id": str(new_id()), "token": await token_of(district, person), "temperature_celsius": 36.5}
    answer = await door.post(VERIFICATIONS, json=asked | changes)
    assert answer.status_code == 201, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def green_person(district: District) -> UUID:
    person = new_id()
    await publish(district, resident(person))
    return person


async def red_person(district: District) -> UUID:
    person = new_id()
    await publish(district, resident(person), tube([person], "positive"))
    return person


async def test_green_passes_with_a_receipt_and_red_turns_back_with_nothing(district: District) -> None:
    green, red = await green_person(district), await red_person(district)
    window = await point(district, receipt_seconds=90)
    door = device(district, window["id"])
    said = await scan(district, door, green)
    assert (said["verdict"], said["word"]) == ("pass", "Let pass")
    assert "why" not in said
    read = receipts.read(said["receipt"], keys(district).receipt_secrets, clock.now())
    assert (read.resident_id, str(read.point_id), read.lasts_seconds) == (green, window["id"], 90)
    said = await scan(district, door, red)
    assert set(said) == {"scan_id", "verdict", "word", "decided_at"}
    assert (said["verdict"], said["word"]) == ("turn_back", "Turn back")


def keys(district: District) -> Keys:
    return Keys.from_files(district.contexts["gateway"].settings.keys)


async def test_who_is_refused_sees_why_and_the_door_does_not(district: District) -> None:
    red = await red_person(district)
    window = await point(district, registers=["yellow"], negative_within_hours=48)
    door = device(district, window["id"])
    assert "why" not in await scan(district, door, red)
    checkpoint = device(district, window["id"], Role.CHECKPOINT)
    assert (await scan(district, checkpoint, red))["why"] == "colour"
    own = (await phone(district, red).get(VISITS)).json()["items"]
    assert [(visit["why"], visit["point_name"]) for visit in own] == [("colour", "一号窗口")] * 2
    assert (await door.get(VISITS)).status_code == 403


async def test_a_person_of_whom_nobody_knows_is_registered(district: District) -> None:
    stranger = issue(Subject(new_id(), Colour.GREEN), keys(district).current, clock.now())
    door = device(district, (await point(district))["id"])
    answer = await door.post(VERIFICATIONS, json={"scan_id": str(new_id()), "token": stranger})
    assert (answer.status_code, answer.json()["word"]) == (201, "Register")


async def test_a_point_that_asks_for_a_recent_negative(district: District) -> None:
    person = await green_person(district)
    door = device(district, (await point(district, negative_within_hours=48))["id"], Role.CHECKPOINT)
    said = await scan(district, door, person)
    assert (said["verdict"], said["why"]) == ("turn_back", "negative_missing")
    await publish(district, tube([person], "negative"))
    assert (await scan(district, door, person))["verdict"] == "pass"


async def test_a_fever_is_turned_back(district: District) -> None:
    person = await green_person(district)
    door = device(district, (await point(district))["id"])
    assert (await scan(district, door, person, temperature_celsius=37.3))["verdict"] == "turn_back"
    assert (await scan(district, door, person, temperature_celsius=37.2))["verdict"] == "pass"


async def test_seeking_care_is_never_refused(district: District) -> None:
    red = await red_person(district)
    clinic = device(district, (await point(district, medical=True, negative_within_hours=24))["id"])
    said = await scan(district, clinic, red, temperature_celsius=39.5)
    assert (said["verdict"], "receipt" in said) == ("pass", True)
    (visit,) = (await phone(district, red).get(VISITS)).json()["items"]
    assert (visit["verdict"], visit["why"], visit["temperature_celsius"]) == ("pass", "colour", 39.5)


async def test_the_same_scan_again_is_the_same_answer_to_the_byte(district: District) -> None:
    person = await green_person(district)
    window = await point(district)
    door = device(district, window["id"])
    asked = {"scan_id": str(new_id()), "token": await token_of(district, person)}
    first = await door.post(VERIFICATIONS, json=asked)
    changed = await district.caller("gateway", Role.COMMAND).patch(
        f"{POINTS}/{window['id']}", json={"receipt_seconds": 5, "passes": []}, headers={"if-match": '"1"'}
    )
    assert changed.status_code == 200, changed.text
    district.move_clock(seconds=20)
    again = await asyncio.gather(*[door.post(VERIFICATIONS, json=asked) for _ in range(20)])
    assert {answer.content for answer in again} == {first.content}
    assert len(await district.sql("SELECT FROM gateway.visits")) == 1


async def test_the_change_of_a_point_counts_from_the_next_scan(district: District) -> None:
    person = await green_person(district)
    window = await point(district)
    door = device(district, window["id"])
    assert (await scan(district, door, person))["verdict"] == "pass"
    command = district.caller("gateway", Role.COMMAND)
    change = {"passes": [], "registers": ["green"]}
    await command.patch(f"{POINTS}/{window['id']}", json=change, headers={"if-match": '"1"'})
    assert (await scan(district, door, person))["verdict"] == "register"
    assert (await command.post(f"{POINTS}/{window['id']}/close")).status_code == 200
    asked = {"scan_id": str(new_id()), "token": await token_of(district, person)}
    answer = await door.post(VERIFICATIONS, json=asked)
    assert (answer.status_code, answer.json()["code"]) == (404, "service_point_not_found")


async def test_a_hundred_scanners_at_once(district: District) -> None:
    people = [new_id() for _ in range(100)]
    await publish(district, *map(resident, people), tube(people[:10], "positive"))
    points = [await point(district, name=f"门 {number}") for number in range(4)]
    doors = [device(district, one["id"]) for one in points]
    answers = await asyncio.gather(*[scan(district, doors[number % 4], person) for number, person in enumerate(people)])
    assert [answer["verdict"] for answer in answers] == ["turn_back"] * 10 + ["pass"] * 90
    kept = await district.sql("SELECT scan_id, resident_id, region FROM gateway.visits")
    assert {(str(row["scan_id"]), row["resident_id"], row["region"]) for row in kept} == {
        (answer["scan_id"], person, COMMUNITY) for answer, person in zip(answers, people, strict=True)
    }


async def test_a_code_counts_as_it_is_now_whatever_the_picture_says(district: District) -> None:
    person = await green_person(district)
    door = device(district, (await point(district))["id"])
    token = await token_of(district, person)
    await publish(district, tube([person], "positive"))
    assert (await scan(district, door, person, token=token))["verdict"] == "turn_back"


# --- who sees which visit


async def test_visits_are_seen_by_who_answers_for_the_place_and_by_the_person(district: District) -> None:
    person, other = await green_person(district), await green_person(district)
    here = await point(district, name="这里")
    there = await point(district, name="那里", region="350582005002")
    for place in (here, there):
        for who in (person, other):
            await scan(district, device(district, place["id"]), who)
    everything = district.caller("gateway", Role.COMMAND)
    of_here = district.caller("gateway", Role.GRID_WORKER, scope=COMMUNITY)
    elsewhere = district.caller("gateway", Role.COMMAND, scope="350582006")
    assert len((await everything.get(VISITS)).json()["items"]) == 4
    assert {visit["point_name"] for visit in (await of_here.get(VISITS)).json()["items"]} == {"这里"}
    assert (await elsewhere.get(VISITS)).json()["items"] == []
    own = (await phone(district, person).get(VISITS)).json()["items"]
    assert {(visit["resident_id"], visit["point_name"]) for visit in own} == {
        (str(person), "这里"),
        (str(person), "那里"),
    }
    assert (await phone(district, person).get(VISITS, params={"resident_id": str(other)})).json()["items"] == []
    guardian = (await phone(district, person, other).get(VISITS)).json()["items"]
    assert len(guardian) == 4
    one = await everything.get(VISITS, params={"point_id": there["id"], "resident_id": str(other)})
    assert [(visit["point_id"], visit["resident_id"]) for visit in one.json()["items"]] == [(there["id"], str(other))]
    hidden = await of_here.get(VISITS, params={"point_id": there["id"]})
    assert (hidden.status_code, hidden.json()["code"]) == (404, "service_point_not_found")
    assert (await phone(district, person).get(VISITS, params={"point_id": here["id"]})).status_code == 403


async def test_who_may_see_a_visit_reads_it_where_it_is_said_to_be(district: District) -> None:
    person, place = await green_person(district), await point(district)
    door = device(district, place["id"])
    asked = {"scan_id": str(new_id()), "token": await token_of(district, person)}
    made = await door.post(VERIFICATIONS, json=asked)
    again = await door.post(VERIFICATIONS, json=asked)
    where = made.headers["location"]
    assert (where, again.headers["location"]) == (f"{VISITS}/{asked['scan_id']}",) * 2
    found = await district.caller("gateway", Role.GRID_WORKER, scope=COMMUNITY, subject="nosy").get(where)
    said = found.json()
    assert (said["resident_id"], said["point_name"], said["verdict"]) == (str(person), "一号窗口", "pass")
    assert (await phone(district, person).get(where)).json() == said
    rows = await district.sql("SELECT subjects FROM gateway.audit WHERE actor = 'nosy'")
    assert [row["subjects"] for row in rows] == [[person]]
    assert (await door.get(where)).status_code == 403
    strangers = (phone(district, new_id()), district.caller("gateway", Role.COMMAND, scope="350582006"))
    refused = [(await one.get(where)).json()["code"] for one in strangers]
    never = [(await phone(district, person).get(f"{VISITS}/{id_}")).json()["code"] for id_ in (new_id(), UUID(int=1))]
    assert refused == never == ["not_found"] * 2


async def test_looking_at_visits_is_in_the_audit(district: District) -> None:
    person = await green_person(district)
    await scan(district, device(district, (await point(district))["id"]), person)
    await district.caller("gateway", Role.GRID_WORKER, subject="nosy").get(VISITS)
    rows = await district.sql("SELECT subjects FROM gateway.audit WHERE actor = 'nosy'")
    assert [row["subjects"] for row in rows] == [[person]]


async def test_visits_page_by_page_are_each_of_them_once(district: District) -> None:
    person = await green_person(district)
    door = device(district, (await point(district))["id"])
    made = [(await scan(district, door, person))["scan_id"] for _ in range(7)]
    staff = district.caller("gateway", Role.COMMAND)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = (await staff.get(VISITS, params={"limit": 3} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [visit["scan_id"] for visit in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(made, reverse=True)
    for wrong in ("x", "AAAAAAAAAAAAAAAAAAAAAA"):
        assert (await staff.get(VISITS, params={"cursor": wrong})).json()["code"] == "invalid_cursor"


# --- what the door's database role can do

FORBIDDEN = [
    "SELECT reasons FROM gateway.codes",
    "SELECT region FROM gateway.codes",
    "SELECT policy FROM gateway.codes",
    "SELECT temperature_tenths FROM gateway.visits",
    "SELECT shown_by FROM gateway.visits",
    "SELECT name FROM gateway.points",
    "SELECT upstream_url FROM gateway.points",
    "SELECT * FROM gateway.facts",
    "SELECT * FROM gateway.code_changes",
    "SELECT * FROM gateway.messages",
    "SELECT * FROM gateway.hook_sources",
    "SELECT * FROM gateway.webhook_endpoints",
    "SELECT * FROM gateway.feed",
    "SELECT * FROM gateway.audit",
    "SELECT * FROM gateway.jobs",
    "SELECT * FROM registry.residents",
    "UPDATE gateway.codes SET colour = 1",
    "UPDATE gateway.visits SET outcome = 0",
    "DELETE FROM gateway.visits",
    "INSERT INTO gateway.points (id) VALUES (gen_random_uuid())",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_a_door_reads_and_writes_nothing_but_what_a_door_needs(district: District, statement: str) -> None:
    connection = await asyncpg.connect(
        district.database.url_of("gateway"), server_settings={"role": "fangxian_gateway_door"}
    )
    try:
        await connection.execute(f"SET scope.low = '{EVERYTHING[0]}'; SET scope.high = '{EVERYTHING[1]}'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_hot_connections_work_under_roles_of_their_own(district: District) -> None:
    person = await green_person(district)
    await scan(district, device(district, (await point(district))["id"]), person)
    roles = {"fangxian_gateway_door": "gateway.visits", "fangxian_gateway_resident": "gateway.codes"}
    for role, table in roles.items():
        allowed = await district.sql("SELECT has_table_privilege($1, $2, 'DELETE') AS may", role, table)
        assert not allowed[0]["may"]
    asked = await district.sql("SELECT query FROM pg_stat_activity WHERE usename = 'fangxian_gateway'")
    assert any("insert into gateway.visits" in row["query"] for row in asked)


async def test_hot_routes_are_declared_and_meet_the_surroundings_of_all(district: District) -> None:
    person = await green_person(district)
    mine = phone(district, person)
    answer = await mine.get("/gateway/v1/code", headers={"x-request-id": "mine-0001"})
    assert answer.headers["x-request-id"] == "mine-0001"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    head = await mine.head("/gateway/v1/code")
    assert (head.status_code, head.content) == (200, b"")
    wrong = await mine.delete("/gateway/v1/code")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    refused = await mine.get("/gateway/v1/code", headers={"accept": "text/plain"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")
    nobody = httpx.ASGITransport(district.apps["gateway"])
    async with httpx.AsyncClient(transport=nobody, base_url="http://gateway") as client:
        unknown = await client.post(VERIFICATIONS, json={}, headers={"accept-language": "en"})
        assert (unknown.status_code, unknown.json()["code"]) == (401, "unauthenticated")
        assert unknown.json()["request_id"] == unknown.headers["x-request-id"]
        document = (await client.get("/gateway/openapi.json")).json()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(district.apps["testing"]), base_url="http://x"
    ) as inside:
        metrics = (await inside.get("/metrics/gateway")).text
    verify = document["paths"][VERIFICATIONS]["post"]
    assert verify["x-roles"] == ["doorkeeper", "checkpoint"]
    assert {"201", "401", "403", "404", "409", "422"} <= verify["responses"].keys()
    assert document["paths"]["/gateway/v1/code"]["get"]["summary"].startswith("Show your own code")
    assert 'route="/gateway/v1/verifications",service="gateway",status="401"' in metrics


async def test_a_slow_scan_is_given_up_in_time(district: District) -> None:
    """A device that says how long it waits is answered within it, with a problem."""
    person = await green_person(district)
    door = device(district, (await point(district))["id"])
    asked = {"scan_id": str(new_id()), "token": await token_of(district, person)}
    owner = await asyncpg.connect(district.database.owner_url)
    try:
        async with owner.transaction():
            await owner.execute("LOCK TABLE gateway.points IN ACCESS EXCLUSIVE MODE")
            answer = await door.post(VERIFICATIONS, json=asked, headers={"x-deadline-ms": "200"})
        assert (answer.status_code, answer.json()["code"]) == (504, "upstream_timeout")
    finally:
        await owner.close()
    answer = await door.post(VERIFICATIONS, json=asked)
    assert answer.status_code == 201
    assert len(await district.sql("SELECT FROM gateway.visits")) == 1


async def test_a_scan_made_before_midnight_is_filed_there(district: District) -> None:
    person = await green_person(district)
    door = device(district, (await point(district))["id"])
    made = clock.now() - timedelta(hours=20)
    low = new_id().int & ((1 << 80) - 1)
    scan_id = UUID(int=int(made.timestamp() * 1000) << 80 | low)
    await scan(district, door, person, scan_id=str(scan_id))
    (row,) = await district.sql("SELECT tableoid::regclass::text AS name, at FROM gateway.visits")
    assert row["name"] == f"gateway.visits_{clock.day_of(made):%Y%m%d}"
