"""R2: people are registered once, changed, moved, closed and found; each within one's scope, and never in clear."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from asyncpg.connection import LoggedQuery
from sqlalchemy import Engine, event

from services.registry.app import API
from services.registry.residents import rules
from services.registry.residents.transfers import settle_requests
from shared.contracts.registry import Resident
from shared.core import clock
from shared.core.actors import Role
from tests.harness import District
from tests.registry.people import (
    ADDRESS,
    ELSEWHERE,
    HOUKU,
    PHONE,
    SHATANG,
    everything_kept,
    number,
    person,
    published,
    register,
)

RESIDENTS = "/registry/v1/residents"
YOUNG = f"{clock.now().year - 9}0601"
"""Of a child, whenever this runs."""


@pytest.fixture
def command(district: District):
    return district.caller("registry", Role.COMMAND)


@pytest.fixture
def neighbour(district: District):
    """Staff of another sub-district."""
    return district.caller("registry", Role.COMMAND, scope="350582004")


async def test_somebody_is_registered_and_shown_masked(district: District, command) -> None:
    id_ = await register(district, command)
    shown = await command.get(f"{RESIDENTS}/{id_}")
    assert shown.headers["etag"] == '"1"'
    body = shown.json()
    assert (body["name"], body["document_number"], body["phone"], body["address"]) == (
        "张**",
        f"003582********{number()[-4:]}",
        "154****5678",
        "晋江市新塘街道沙塘社区****",
    )
    assert (body["sex"], body["state"], body["region"]) == ("male", "active", SHATANG)
    (entry,) = await published(district)
    face = Resident.model_validate_json(entry["data"])
    assert (str(face.id), face.version, face.region, face.state) == (id_, 1, SHATANG, "active")
    assert face.tags == (), "what has not begun is not said: its day would tell the birth date"
    assert face.household_id == rules.household_of(SHATANG, "H00001")


async def test_what_is_wrong_is_named_with_its_place(command) -> None:
    wrong = person(document_number="003582199003070018", phone="12345", sex="female")
    answer = await command.post(RESIDENTS, json=wrong)
    assert answer.status_code == 422
    assert {(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]} == {
        ("#/document_number", "id_check_digit"),
        ("#/phone", "phone_form"),
    }
    assert "12345" not in answer.json()["detail"]
    passport = {"document_type": 20, "document_number": "E12345678"}
    for values, code in (
        ({"sex": "female"}, "sex_differs"),
        ({"birth_date": "1990-03-08"}, "birth_date_differs"),
        (passport, "birth_date_missing"),
        (passport | {"sex": "male", "birth_date": "2990-01-01"}, "birth_date_range"),
    ):
        answer = await command.post(RESIDENTS, json=person(**values))
        assert code in [fault["code"] for fault in answer.json()["errors"]], values
    answer = await command.post(RESIDENTS, json=person(region="350582005999"))
    assert answer.json()["code"] == "region_unknown"


async def test_numbers_for_demonstrations_need_the_setting(district: District, command) -> None:
    context = district.contexts["registry"]
    settings = context.settings
    context.settings = settings.model_copy(update={"demonstration_ids": False})
    try:
        answer = await command.post(RESIDENTS, json=person())
    finally:
        context.settings = settings
    assert [fault["code"] for fault in answer.json()["errors"]] == ["id_demonstration"]


async def test_who_is_registered_within_ones_scope_is_named(district: District, command) -> None:
    id_ = await register(district, command)
    answer = await command.post(RESIDENTS, json=person(region=HOUKU))
    assert (answer.status_code, answer.json()["code"]) == (409, "resident_exists")
    assert id_ in answer.json()["detail"]


async def test_who_lives_elsewhere_is_answered_as_anybody_new(district: District, command, neighbour) -> None:
    there = await register(district, neighbour, region=ELSEWHERE)
    answers = [await command.post(RESIDENTS, json=person(place)) for place in (1, 2)]
    known, new = (answer.json() for answer in answers)
    assert {answer.status_code for answer in answers} == {202}
    assert known.keys() == new.keys()
    same = {"version", "region", "state", "reason", "resident_id"}
    assert {name: known[name] for name in same} == {name: new[name] for name in same}

    await settle_requests(district.contexts["registry"])
    await settle_requests(district.contexts["registry"])
    waiting, settled = [(await command.get(answer.headers["location"])).json() for answer in answers]
    assert (settled["state"], waiting) == ("settled", known)
    assert [item["id"] for item in (await command.get(RESIDENTS)).json()["items"]] == [settled["resident_id"]]
    assert (await command.get("/registry/v1/transfers")).json()["items"] == []
    assert (await command.get(f"{RESIDENTS}/{there}")).status_code == 404

    (transfer,) = (await neighbour.get("/registry/v1/transfers")).json()["items"]
    assert (transfer["kind"], transfer["resident_id"], transfer["to_region"]) == ("claim", there, SHATANG)
    accept = f"/registry/v1/transfers/{transfer['id']}/accept"
    assert (await command.post(accept)).status_code == 404
    assert (await neighbour.post(accept)).json()["state"] == "accepted"
    assert (await neighbour.post(accept)).json()["code"] == "transfer_decided"
    await settle_requests(district.contexts["registry"])
    assert (await command.get(answers[0].headers["location"])).json()["resident_id"] == there
    assert (await command.get(f"{RESIDENTS}/{there}")).json()["region"] == SHATANG
    assert (await neighbour.get(f"{RESIDENTS}/{there}")).status_code == 404
    assert [(row["version"], row["change"]) for row in await published(district) if str(row["subject"]) == there] == [
        (1, "created"),
        (2, "moved"),
    ]


async def test_a_claim_may_be_refused(district: District, command, neighbour) -> None:
    there = await register(district, neighbour, region=ELSEWHERE)
    asked = await command.post(RESIDENTS, json=person())
    await settle_requests(district.contexts["registry"])
    (transfer,) = (await neighbour.get("/registry/v1/transfers")).json()["items"]
    await neighbour.post(f"/registry/v1/transfers/{transfer['id']}/refuse")
    await settle_requests(district.contexts["registry"])
    answer = (await command.get(asked.headers["location"])).json()
    assert (answer["state"], answer["reason"], answer["resident_id"]) == ("refused", "declined", None)
    assert (await neighbour.get(f"{RESIDENTS}/{there}")).json()["version"] == 1


@contextlib.contextmanager
def statements_of(engine: Engine) -> Iterator[list[str]]:
    """What an engine's connections are sent: by SQLAlchemy, and by the driver past it."""
    sent: list[str] = []

    def by_sqlalchemy(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    def by_driver(query: LoggedQuery) -> None:
        sent.append(query.query)

    def listen(connection: Any, *_: object) -> None:
        connection.driver_connection.add_query_logger(by_driver)

    def stop(connection: Any, *_: object) -> None:
        connection.driver_connection.remove_query_logger(by_driver)

    listeners = [
        (engine, "before_cursor_execute", by_sqlalchemy),
        (engine.pool, "checkout", listen),
        (engine.pool, "checkin", stop),
    ]
    for listener in listeners:
        event.listen(*listener)
    try:
        yield sent
    finally:
        for listener in listeners:
            event.remove(*listener)


async def test_the_time_of_the_answer_tells_nothing(district: District, command, neighbour) -> None:
    """Both kinds of request do the very same work before they are answered: the same statements, as often."""
    await register(district, neighbour, region=ELSEWHERE)
    with statements_of(district.contexts["registry"].engine.sync_engine) as sent:
        done = []
        for place in (1, 2):
            sent.clear()
            answer = await command.post(RESIDENTS, json=person(place))
            assert answer.status_code == 202
            await asyncio.sleep(0)  # the driver says what it has sent in the next turn of the loop
            done.append(list(sent))
    known, new = done
    assert known == new
    assert any("set_config" in statement for statement in known), "the driver's own statements are not seen"


async def test_two_staff_register_the_same_person_at_once(district: District, command) -> None:
    officers = [district.caller("registry", Role.GRID_WORKER, subject=f"worker:{place}") for place in range(8)]
    answers = await asyncio.gather(*(officer.post(RESIDENTS, json=person()) for officer in officers))
    assert {answer.status_code for answer in answers} == {202}
    context = district.contexts["registry"]
    await asyncio.gather(*(settle_requests(context) for _ in range(4)))
    await settle_requests(context)
    states = [(await command.get(answer.headers["location"])).json() for answer in answers]
    assert sorted(state["state"] for state in states) == ["refused"] * 7 + ["settled"]
    assert {state["reason"] for state in states} == {None, "resident_exists"}
    assert len({state["resident_id"] for state in states}) == 1
    assert len(await published(district)) == 1


async def test_two_districts_register_the_same_person_at_once(district: District, command, neighbour) -> None:
    answers = await asyncio.gather(
        command.post(RESIDENTS, json=person()), neighbour.post(RESIDENTS, json=person(region=ELSEWHERE))
    )
    await asyncio.gather(*(settle_requests(district.contexts["registry"]) for _ in range(3)))
    await settle_requests(district.contexts["registry"])
    states = [
        (await caller.get(answer.headers["location"])).json()["state"]
        for caller, answer in zip((command, neighbour), answers, strict=True)
    ]
    assert sorted(states) == ["received", "settled"]
    assert (await district.sql("SELECT count(*) FROM registry.residents"))[0][0] == 1


async def test_a_change_needs_the_version_seen_last(district: District, command) -> None:
    id_ = await register(district, command)
    url = f"{RESIDENTS}/{id_}"
    assert (await command.patch(url, json={"phone": "15487654321"})).json()["code"] == "precondition_required"
    changed = await command.patch(url, json={"phone": "15487654321"}, headers={"if-match": '"1"'})
    assert (changed.json()["phone"], changed.headers["etag"]) == ("154****4321", '"2"')
    late = await command.patch(url, json={"phone": None}, headers={"if-match": '"1"'})
    assert late.json()["code"] == "version_mismatch"
    racing = await asyncio.gather(
        *(command.patch(url, json={"name": f"李{place}"}, headers={"if-match": '"2"'}) for place in range(5))
    )
    assert sorted(answer.status_code for answer in racing) == [200, 412, 412, 412, 412]


async def test_tags_have_days(district: District, command) -> None:
    id_ = await register(district, command, born=YOUNG)
    url, seen = f"{RESIDENTS}/{id_}", {"if-match": "*"}
    held = {"valid_from": "2021-01-01", "valid_until": "2021-06-30"}
    tags = (await command.patch(url, json={"dependent": held}, headers=seen)).json()["tags"]
    assert {"kind": "dependent", **held} in tags
    assert {"kind": "child", "valid_from": None, "valid_until": None} in tags, "no day that tells the birth date"
    wrong = await command.patch(url, json={"pregnant": {"valid_until": "2020-01-01"}}, headers=seen)
    assert wrong.json()["errors"][0]["code"] == "days_out_of_order"
    tags = (await command.patch(url, json={"dependent": None}, headers=seen)).json()["tags"]
    assert {tag["kind"] for tag in tags} == {"child"}


async def test_a_move_within_ones_scope_is_done_at_once(district: District, command) -> None:
    id_ = await register(district, command)
    moved = await command.post(f"{RESIDENTS}/{id_}/move", json={"region": HOUKU})
    assert moved.json() == {"outcome": "moved", "version": 2, "transfer_id": None}
    shown = (await command.get(f"{RESIDENTS}/{id_}")).json()
    assert (shown["region"], shown["address"], shown["household_id"]) == (HOUKU, None, None)
    (was,) = await district.sql("SELECT region, state FROM registry.resident_history")
    assert (was["region"], was["state"]) == (SHATANG, "active")


async def test_a_move_out_of_ones_scope_is_offered(district: District, command, neighbour) -> None:
    id_ = await register(district, command)
    move = {"region": ELSEWHERE, "address": "晋江市梅岭街道某社区8号"}
    offered = (await command.post(f"{RESIDENTS}/{id_}/move", json=move)).json()
    assert offered["outcome"] == "offered"
    again = await command.post(f"{RESIDENTS}/{id_}/move", json=move)
    assert again.json()["code"] == "transfer_open"
    nowhere = await command.post(f"{RESIDENTS}/{id_}/move", json={"region": "350582004999"})
    assert nowhere.json()["code"] == "region_unknown"
    url = f"/registry/v1/transfers/{offered['transfer_id']}"
    assert (await command.get(url)).json()["state"] == "asked"
    assert (await command.post(f"{url}/accept")).status_code == 404
    assert (await neighbour.get(url)).json()["name"] == "张**"
    assert (await neighbour.post(f"{url}/accept")).status_code == 200
    await settle_requests(district.contexts["registry"])
    assert (await command.get(f"{RESIDENTS}/{id_}")).status_code == 404
    shown = (await neighbour.get(f"{RESIDENTS}/{id_}")).json()
    assert (shown["region"], shown["phone"], shown["version"]) == (ELSEWHERE, "154****5678", 2)
    assert (await command.get(url)).json()["state"] == "done"


async def test_who_is_closed_is_not_changed_and_may_be_reopened(district: District, command) -> None:
    id_ = await register(district, command)
    url = f"{RESIDENTS}/{id_}"
    closed = (await command.post(f"{url}/close", json={"reason": "died"})).json()
    assert (closed["state"], closed["closed_reason"]) == ("closed", "died")
    assert (await command.post(f"{url}/close", json={"reason": "died"})).json()["code"] == "resident_closed"
    assert (await command.post(f"{url}/move", json={"region": HOUKU})).json()["code"] == "resident_closed"
    assert (await command.post(RESIDENTS, json=person())).json()["code"] == "resident_exists"
    assert (await command.post(f"{url}/reopen")).json()["state"] == "active"
    assert (await command.post(f"{url}/reopen")).json()["code"] == "resident_active"


@pytest.mark.parametrize("reason", ["moved_away", "entered_wrongly"])
async def test_who_has_left_or_never_was_there_is_registered_elsewhere_without_asking(
    district: District, command, neighbour, reason
) -> None:
    id_ = await register(district, command)
    await command.post(f"{RESIDENTS}/{id_}/close", json={"reason": reason})
    assert await register(district, neighbour, region=ELSEWHERE) == id_
    assert (await neighbour.get(f"{RESIDENTS}/{id_}")).json()["state"] == "active"
    assert (await command.get(f"{RESIDENTS}/{id_}")).status_code == 404


@pytest.mark.parametrize("reason", ["moved_away", "entered_wrongly"])
async def test_an_open_claim_is_met_when_the_person_is_let_go(district: District, command, neighbour, reason) -> None:
    id_ = await register(district, neighbour, region=ELSEWHERE)
    asked = await command.post(RESIDENTS, json=person())
    await settle_requests(district.contexts["registry"])
    await neighbour.post(f"{RESIDENTS}/{id_}/close", json={"reason": reason})
    await settle_requests(district.contexts["registry"])
    assert (await command.get(asked.headers["location"])).json()["resident_id"] == id_


@pytest.mark.parametrize(
    ("reason", "state"), [("died", "closed"), ("entered_wrongly", "closed"), ("moved_away", "active")]
)
async def test_nobody_arrives_who_was_offered_and_died_or_never_was_there(
    district: District, command, neighbour, reason, state
) -> None:
    id_ = await register(district, command)
    offered = (await command.post(f"{RESIDENTS}/{id_}/move", json={"region": ELSEWHERE})).json()
    await command.post(f"{RESIDENTS}/{id_}/close", json={"reason": reason})
    await neighbour.post(f"/registry/v1/transfers/{offered['transfer_id']}/accept")
    await settle_requests(district.contexts["registry"])
    (row,) = await district.sql("SELECT state FROM registry.residents WHERE id = $1", UUID(id_))
    (transfer,) = await district.sql("SELECT state FROM registry.transfers")
    assert (row["state"], transfer["state"]) == (state, "refused" if state == "closed" else "done")


async def test_the_dead_are_not_claimed(district: District, command, neighbour) -> None:
    id_ = await register(district, neighbour, region=ELSEWHERE)
    asked = await command.post(RESIDENTS, json=person())
    await settle_requests(district.contexts["registry"])
    await neighbour.post(f"{RESIDENTS}/{id_}/close", json={"reason": "died"})
    (claim,) = (await neighbour.get("/registry/v1/transfers")).json()["items"]
    await neighbour.post(f"/registry/v1/transfers/{claim['id']}/accept")
    await settle_requests(district.contexts["registry"])
    assert (await neighbour.get(f"{RESIDENTS}/{id_}")).json()["state"] == "closed"
    assert (await command.get(asked.headers["location"])).json()["state"] == "refused"


async def test_search_finds_exactly_and_is_in_the_audit(district: District, command, neighbour) -> None:
    id_ = await register(district, command)
    doctor = district.caller("registry", Role.VILLAGE_DOCTOR, subject="doctor:1")
    for asked in ({"document_number": number()}, {"phone": "+86 154-1234-5678"}):
        answer = await doctor.post(f"{RESIDENTS}/search", json=asked)
        assert [item["id"] for item in answer.json()["items"]] == [id_]
        assert (await neighbour.post(f"{RESIDENTS}/search", json=asked)).json() == {"items": []}
    looks = await district.sql("SELECT subjects FROM registry.audit WHERE actor = 'doctor:1'")
    assert [[str(one) for one in look["subjects"]] for look in looks] == [[id_], [id_]]
    both = await doctor.post(f"{RESIDENTS}/search", json={"document_number": number(), "phone": PHONE})
    assert both.json()["errors"][0]["code"] == "one_of_two"


async def test_residents_see_themselves_and_nobody_else(district: District, command) -> None:
    mine, other = [await register(district, command, place=place) for place in (1, 2)]
    me = district.caller("registry", Role.RESIDENT, residents=(uuid4(), UUID(mine)))
    assert (await me.get(f"{RESIDENTS}/{mine}")).json()["name"] == "张**"
    assert (await me.get(f"{RESIDENTS}/{other}")).status_code == 404
    assert (await me.get(RESIDENTS)).status_code == 403
    assert (await me.patch(f"{RESIDENTS}/{mine}", json={"phone": None})).status_code == 403


@pytest.mark.parametrize("role", [Role.VILLAGE_DOCTOR, Role.SAMPLER, Role.SUPERVISOR, Role.LABORATORY, Role.DOORKEEPER])
async def test_only_keepers_register(district: District, role: Role) -> None:
    assert (await district.caller("registry", role).post(RESIDENTS, json=person())).status_code == 403


async def test_staff_reach_their_scope_and_no_further(district: District, command, neighbour) -> None:
    id_ = await register(district, command)
    url = f"{RESIDENTS}/{id_}"
    worker = district.caller("registry", Role.GRID_WORKER, scope=HOUKU)
    for caller in (neighbour, worker):
        assert (await caller.get(url)).status_code == 404
        assert (await caller.patch(url, json={"name": "李四"}, headers={"if-match": "*"})).status_code == 404
        assert (await caller.post(f"{url}/close", json={"reason": "died"})).status_code == 404
        assert (await caller.get(RESIDENTS)).json()["items"] == []
    inside = district.caller("registry", Role.GRID_WORKER, scope=SHATANG)
    assert (await inside.get(url)).status_code == 200
    assert (await command.get(RESIDENTS, params={"region": HOUKU})).json()["items"] == []


async def test_lists_are_paged_and_households_stay_together(district: District, command) -> None:
    ids = {await register(district, command, place=place) for place in range(1, 6)}
    found, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await command.get(RESIDENTS, params=params)).json()
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert (set(found), len(found)) == (ids, 5)
    household = str(rules.household_of(SHATANG, "H00001"))
    together = (await command.get(RESIDENTS, params={"household_id": household})).json()["items"]
    assert {item["id"] for item in together} == ids


async def test_nothing_of_a_person_is_kept_in_clear(district: District, command, neighbour) -> None:
    id_ = await register(district, command)
    await command.patch(f"{RESIDENTS}/{id_}", json={"name": "欧阳锋"}, headers={"if-match": "*"})
    await neighbour.post(RESIDENTS, json=person(region=ELSEWHERE))
    await settle_requests(district.contexts["registry"])
    await command.post(f"{RESIDENTS}/{id_}/move", json={"region": ELSEWHERE, "address": ADDRESS})
    kept = await everything_kept(district)
    assert id_ in kept
    for clear in ("张三丰", "欧阳锋", number(), PHONE, ADDRESS):
        assert clear not in kept
        assert clear.encode().hex() not in kept


async def test_the_snapshot_says_what_the_feed_said(district: District, command) -> None:
    id_ = await register(district, command, born=YOUNG)
    async with district.contexts["registry"].system_unit_of_work() as uow:
        (resident,) = await API.snapshots[Resident](uow, None, 10)
    (entry,) = await published(district)
    assert str(resident.id) == id_
    assert resident == Resident.model_validate_json(entry["data"])
