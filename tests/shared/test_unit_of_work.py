"""One transaction on behalf of one actor: keys, pages, versions, scope and audit."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services.registry.regions.tables import RegionRow
from shared.audit.kinds import Kind
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.core.regions import range_of
from shared.database.paging import Position, cursor_of, position_of
from shared.database.unit_of_work import UnitOfWork
from shared.problems import VersionMismatch
from shared.runtime.context import ServiceContext
from tests.harness import District

REGIONS = "/registry/v1/regions"


async def test_of_many_at_once_with_one_key_one_acts_and_all_are_answered(district: District) -> None:
    command = district.caller("registry", Role.COMMAND)
    new = {"code": "35058200500111", "name": "竞赛片"}
    answers = await asyncio.gather(
        *(command.post(REGIONS, json=new, headers={"idempotency-key": "racing-key-1"}) for _ in range(15))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    entries = await district.sql("SELECT count(*) FROM registry.feed WHERE region = '35058200500111'")
    assert entries[0][0] == 1


async def test_a_refused_act_may_be_tried_again_with_its_key(district: District) -> None:
    command = district.caller("registry", Role.COMMAND)
    key = {"idempotency-key": "patch-first-1"}
    grid = {"code": "3505820050011201", "name": "网格"}
    assert (await command.post(REGIONS, json=grid, headers=key)).status_code == 422
    await command.post(REGIONS, json={"code": "35058200500112", "name": "片"})
    assert (await command.post(REGIONS, json=grid, headers=key)).status_code == 201


async def test_a_key_belongs_to_one_caller(district: District) -> None:
    key = {"idempotency-key": "everybodys-key"}
    for subject, code in (("staff:a", "35058200500113"), ("staff:b", "35058200500114")):
        caller = district.caller("registry", Role.COMMAND, subject=subject)
        made = await caller.post(REGIONS, json={"code": code, "name": "片"}, headers=key)
        assert made.json()["region"] == code


async def test_a_key_is_forgotten_after_a_day(district: District) -> None:
    key = {"idempotency-key": "yesterdays-key"}
    command = district.caller("registry", Role.COMMAND)
    await command.post(REGIONS, json={"code": "35058200500115", "name": "片"}, headers=key)
    await district.sql("UPDATE registry.idempotency SET at = at - interval '25 hours'")
    made = await command.post(REGIONS, json={"code": "35058200500116", "name": "片"}, headers=key)
    assert made.json()["region"] == "35058200500116"


async def test_what_creates_needs_a_key(district: District) -> None:
    command = district.caller("registry", Role.COMMAND)
    command.event_hooks = {}
    answer = await command.post(REGIONS, json={"code": "35058200500117", "name": "片"})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")


async def test_pages_are_stable_under_inserts(district: District) -> None:
    command = district.caller("registry", Role.COMMAND)
    for number in (20, 25, 21, 24, 22, 23):
        await command.post(REGIONS, json={"code": f"350582005001{number}", "name": "片"})
    first = (await command.get(REGIONS, params={"parent": "350582005001", "limit": 3})).json()
    for number in (19, 26):
        await command.post(REGIONS, json={"code": f"350582005001{number}", "name": "插队"})
    rest = (
        await command.get(REGIONS, params={"parent": "350582005001", "limit": 50, "cursor": first["next_cursor"]})
    ).json()
    codes = [item["region"][-2:] for item in first["items"] + rest["items"]]
    assert codes == ["20", "21", "22", "23", "24", "25", "26"]  # no row twice, and none that was there left out
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["x", "e30", "s", "s-1", "s0x1", "sFF", "s1\n", "s" + "f" * 16, "é", "[" * 190])
async def test_a_cursor_that_is_not_ours_is_refused(district: District, cursor: str) -> None:
    answer = await district.caller("registry", Role.COMMAND).get(REGIONS, params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


def test_cursors_come_back() -> None:
    for place in (Position("350582005", 123), Position("", 1), Position("~", 7)):
        assert position_of(cursor_of(place)) == place
    assert position_of(None) == Position()


async def test_versions_count_themselves_and_guard_changes(district: District) -> None:
    context = district.contexts["registry"]
    async with context.system_unit_of_work() as uow:
        row = await _township(uow)
        assert row.version == 1
        row.name = "新塘"
    async with context.system_unit_of_work() as uow:
        row = await _township(uow)
        assert row.version == 2
        uow.require_version(row, '"2"')
        uow.require_version(row, '"1", "2"')
        with pytest.raises(VersionMismatch):
            uow.require_version(row, '"1"')
        row.name = "新塘街道"


async def test_an_error_leaves_nothing_behind(district: District) -> None:
    context = district.contexts["registry"]

    async def fail_half_way() -> None:
        async with context.system_unit_of_work() as uow:
            row = await _township(uow)
            row.name = "half"
            await uow.publish(row, change="half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_half_way()
    async with context.system_unit_of_work() as uow:
        assert (await _township(uow)).name != "half"
    assert (await district.sql("SELECT count(*) FROM registry.feed WHERE change = 'half'"))[0][0] == 0


async def test_one_audit_entry_holds_all_whom_a_request_saw(district: District) -> None:
    actor = Actor("staff:7", Role.GRID_WORKER, range_of("350582005"), purpose="door visit", request_id="req-12345")
    seen = sorted(new_id() for _ in range(3))
    async with district.contexts["registry"].unit_of_work(actor, "GET /registry/v1/residents") as uow:
        uow.record_access(seen[:2])
        uow.record_access(seen[1:])
    (entry,) = await district.sql("SELECT * FROM registry.audit")
    assert entry["subjects"] == seen
    assert (entry["actor"], entry["role"], entry["scope"], entry["purpose"], entry["request_id"]) == (
        "staff:7",
        "grid_worker",
        "350582005",
        "door visit",
        "req-12345",
    )


async def test_what_follows_from_an_act_sees_everything_and_remains_the_callers(district: District) -> None:
    actor = Actor("staff:7", Role.COMMAND, range_of("350582004"))
    township, subject = text("SELECT 1 FROM regions WHERE region = '350582005'"), new_id()
    async with district.contexts["registry"].unit_of_work(actor, "POST /registry/v1/regions") as uow:
        assert not await uow.rows(township)
        async with uow.unscoped():
            assert await uow.rows(township)
            uow.audit(kind=Kind.CHANGE, subjects=[subject])
        assert not await uow.rows(township)
    (entry,) = await district.sql("SELECT actor, role, scope, subjects FROM registry.audit")
    assert tuple(entry) == ("staff:7", "command", "350582004", [subject])


async def test_no_role_of_ours_can_change_the_audit(district: District) -> None:
    connection = await asyncpg.connect(district.database.url_of("registry"))
    try:
        for role in ("staff", "resident", "machine", "door", "system"):
            await connection.execute(f"SET ROLE fangxian_registry_{role}")
            for statement in (
                "UPDATE registry.audit SET actor = 'x'",
                "DELETE FROM registry.audit",
                "TRUNCATE registry.audit",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
            await connection.execute("RESET ROLE")
    finally:
        await connection.close()


async def test_a_transaction_ends_by_itself(district: District) -> None:
    settings = district.database.settings("registry", transaction_timeout_seconds=0.3)
    context = replace(ServiceContext.build(settings), is_open=True)
    try:
        with pytest.raises(DBAPIError):
            async with context.system_unit_of_work() as uow:
                await uow.run(text("SELECT pg_sleep(2)"))
    finally:
        await context.close()


async def _township(uow: UnitOfWork) -> RegionRow:
    (found,) = await uow.rows(text("SELECT id FROM regions WHERE region = '350582005'"))
    return await uow.lock(RegionRow, found["id"])
