"""The audit: no act without a trace, nothing that can be taken back, and a chain that skips nobody."""

import contextlib
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from httpx import ASGITransport, AsyncClient
from sqlalchemy import text

from shared.audit.entries import scope_of
from shared.audit.kinds import Kind
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.core.regions import NOTHING, range_of
from shared.core.settings import SERVICES, Service
from shared.database.engine import AUDIT_ROLES, GROUP_ROLES, group_of
from shared.http import handlers
from shared.http.route import Route
from shared.problems import NotFound
from shared.runtime.context import ServiceContext
from tests.harness import XINTANG, District
from tests.shared.audited import FIELDS, STAFF, act, entries

REGIONS = "/registry/v1/regions"


@pytest.fixture
async def context(district: District) -> ServiceContext:
    return district.contexts["registry"]


async def test_a_look_is_one_entry_with_all_it_saw(district: District, context: ServiceContext) -> None:
    seen = sorted(new_id() for _ in range(3))
    await act(context, *seen, seen[0])
    (entry,) = await entries(district)
    assert dict(entry) == {
        "kind": "look",
        "operation": "GET /registry/v1/residents",
        "target": "",
        "actor": "staff:7",
        "role": "grid_worker",
        "party": "",
        "scope": XINTANG,
        "purpose": "door visit",
        "reason": "",
        "request_id": "req-12345",
        "subjects": seen,
    }


async def test_a_look_at_nobody_leaves_none(district: District, context: ServiceContext) -> None:
    await act(context)
    assert await entries(district) == []


async def test_a_change_without_people_leaves_an_entry_that_names_what_came_to_be(district: District) -> None:
    command = district.caller("registry", Role.COMMAND)
    made = await command.post(REGIONS, json={"code": "35058200500131", "name": "片"})
    (entry,) = await entries(district)
    assert (entry["kind"], entry["operation"], entry["subjects"]) == ("change", f"POST {REGIONS}", [])
    assert entry["target"] == made.headers["location"]
    assert entry["actor"] == "test:command"


async def test_an_act_sent_twice_leaves_one_entry(district: District) -> None:
    command = district.caller("registry", Role.COMMAND)
    for _ in range(2):
        asked = {"code": "35058200500132", "name": "片"}
        assert (await command.post(REGIONS, json=asked, headers={"idempotency-key": "the-same"})).status_code == 201
    assert len(await entries(district)) == 1


async def test_what_is_refused_leaves_none(district: District) -> None:
    command = district.caller("registry", Role.COMMAND)
    assert (await command.post(REGIONS, json={"code": "3505820050019901", "name": "x"})).status_code == 422
    assert await entries(district) == []


async def test_acts_of_kinds_of_their_own(district: District, context: ServiceContext) -> None:
    one, other, third = sorted(new_id() for _ in range(3))
    nobody = Actor("nobody", Role(0))
    async with context.unit_of_work(nobody, "POST /sessions") as uow:
        uow.audit(kind=Kind.SIGN_IN, subjects=[one], reason="password", actor=STAFF)
        uow.audit(kind=Kind.SIGN_IN, subjects=[other], reason="password", actor=STAFF)
        uow.audit(kind=Kind.GRANT)
        uow.record_access([one, third])
    found = {entry["kind"]: (entry["actor"], entry["reason"], entry["subjects"]) for entry in await entries(district)}
    assert found == {
        "look": ("nobody", "", [third]),
        "sign_in": ("staff:7", "password", [one, other]),
        "grant": ("nobody", "", []),
    }


async def test_what_is_undone_within_an_act_leaves_none(district: District, context: ServiceContext) -> None:
    kept, undone = new_id(), new_id()
    async with context.unit_of_work(STAFF, "x") as uow:
        uow.audit(kind=Kind.REVEAL, subjects=[kept])
        with contextlib.suppress(NotFound):
            async with uow.savepoint():
                uow.audit(kind=Kind.REVEAL, subjects=[undone])
                uow.record_access([undone])
                raise NotFound()
    (entry,) = await entries(district)
    assert (entry["kind"], entry["subjects"]) == ("reveal", [kept])


async def test_whoever_shows_later_who_they_are_acts_under_that_name(
    district: District, context: ServiceContext
) -> None:
    async with context.unit_of_work(Actor("nobody", Role(0)), "x") as uow:
        assert await uow.rows(text("SELECT 1 FROM regions LIMIT 1")) == []
        await uow.act_as(STAFF)
        assert len(await uow.rows(text("SELECT 1 FROM regions LIMIT 1"))) == 1
        uow.record_access([new_id()])
    (entry,) = await entries(district)
    assert entry["actor"] == "staff:7"


@pytest.mark.parametrize(
    ("actor", "scope"),
    [
        (STAFF, XINTANG),
        (Actor("c", Role.COMMAND, range_of("")), ""),
        (Actor("r", Role.RESIDENT), NOTHING[0]),
        (Actor("service:x", Role.SERVICE, range_of("")), NOTHING[0]),
        (Actor("staff:1", Role.SERVICE, range_of(XINTANG)), XINTANG),
    ],
)
def test_the_region_acted_in_the_name_of(actor: Actor, scope: str) -> None:
    assert scope_of(actor) == scope


async def test_without_a_trace_nothing_is_done(district: District) -> None:
    command = district.caller("registry", Role.COMMAND)
    await district.sql("REVOKE INSERT (kind) ON registry.audit FROM fangxian_registry_staff")
    try:
        answer = await command.post(REGIONS, json={"code": "35058200500133", "name": "无痕"})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    finally:
        await district.sql("GRANT INSERT (kind) ON registry.audit TO fangxian_registry_staff")
    assert await district.sql("SELECT 1 FROM registry.regions WHERE region = '35058200500133'") == []
    assert await district.sql("SELECT 1 FROM registry.feed WHERE region = '35058200500133'") == []


# Every operation that writes, by itself ------------------------------------------------------------------------------


PASSED_ON = "/services/", "/gateway/v1/forward-auth/"
"""Requests of foreign applications: what those do with them, they alone can write down. A decision changes nothing."""


def _writing(district: District) -> list[tuple[Service, Any]]:
    """Every operation that changes something, of every service."""
    found = [
        (service, route)
        for service in SERVICES
        for route in district.apps[service].routes
        if isinstance(route, APIRoute)
        and route.methods
        and not route.methods <= {"GET", "HEAD"}
        and not route.path.startswith(PASSED_ON)
    ]
    documented = {
        (service, f"{method} {path}")
        for service in SERVICES
        for path, item in district.apps[service].openapi()["paths"].items()
        for method in item
        if method in ("post", "put", "patch", "delete") and not path.startswith(PASSED_ON)
    }
    public = [(service, route) for service, route in found if route.include_in_schema]
    assert {(service, f"{min(route.methods).lower()} {route.path}") for service, route in public} == documented
    return found


async def test_every_operation_that_writes_leaves_an_entry(district: District) -> None:
    """Each is called under its own contract, with an endpoint that does nothing: not even that goes without a trace."""
    walked = 0
    for service, route in _writing(district):
        assert isinstance(route, Route), f"{route.path} is not a route of ours"
        if route.fast_endpoint is not None:
            assert route.path == "/gateway/v1/verifications", "a hot route that writes keeps its own record"
            continue
        async with _alone(district, service, route) as client:
            answer = await client.request(min(route.methods or ()), "/here", headers={"idempotency-key": str(new_id())})
        assert answer.status_code == 204, (route.path, answer.text)
        (entry,) = await district.sql(f"SELECT * FROM {service}.audit ORDER BY at DESC, seq DESC LIMIT 1")
        contract = route.endpoint.__contract__  # type: ignore[attr-defined]
        assert (entry["kind"], entry["target"]) == (contract.audit.value, "/here")
        walked += 1
    assert walked >= 40
    counts = [await district.sql(f"SELECT count(*) FROM {service}.audit") for service in SERVICES]
    assert sum(count[0][0] for count in counts) == walked


def _alone(district: District, service: Service, route: Route) -> AsyncClient:
    """An application that has only this operation, doing nothing."""

    async def nothing() -> Response:
        return Response(status_code=204)

    # What surrounds an upload reads its file; here there is none.
    nothing.__contract__ = replace(route.endpoint.__contract__, around=None)  # type: ignore[attr-defined]
    app = FastAPI()
    app.state.context = district.contexts[service]
    app.state.authenticate = lambda _: Actor("walker", next(one for one in Role if one in nothing.__contract__.role))  # type: ignore[attr-defined]
    app.router.routes.append(Route("/here", nothing, methods=list(route.methods or ()), status_code=204))
    handlers.install(app)

    async def with_state(scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["request_id"] = "walk"
        await app(scope, receive, send)

    return AsyncClient(transport=ASGITransport(with_state), base_url="http://walk")


# Append-only ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
async def test_no_role_of_ours_can_take_anything_back(district: District, service: Service) -> None:
    connection = await asyncpg.connect(district.database.url_of(service))
    tables = [f"{service}.{name}" for name in ("audit", "audit_seals", "audit_default", "audit_seals_default")]
    changes = {table: "actor = 'x'" if "seals" not in table else "hash = ''" for table in tables}
    try:
        for role in (*GROUP_ROLES, *AUDIT_ROLES):
            await connection.execute(f"SET ROLE {group_of(service, role)}")
            for table in tables:
                for statement in (
                    f"UPDATE {table} SET {changes[table]}",
                    f"DELETE FROM {table}",
                    f"TRUNCATE {table}",
                    f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
                    f"DROP TABLE {table}",
                ):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await connection.execute(statement)
            await connection.execute("RESET ROLE")
    finally:
        await connection.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_only_the_sealer_seals_and_nobody_sets_the_time_or_the_place(
    district: District, service: Service
) -> None:
    connection = await asyncpg.connect(district.database.url_of(service))
    forged = {
        "at": "'2020-01-01'",
        "xid": "'3'",
        "seq": "1",
    }
    try:
        for role in (*GROUP_ROLES, *AUDIT_ROLES):
            await connection.execute(f"SET ROLE {group_of(service, role)}")
            for column, value in forged.items():
                with pytest.raises(asyncpg.PostgresError):
                    await connection.execute(
                        f"INSERT INTO {service}.audit ({column}, epoch, {FIELDS}) OVERRIDING SYSTEM VALUE "
                        f"VALUES ({value}, 1, 'look', '', '', '', '', '', '', '', '', '', '{{}}')"
                    )
            if role != "sealer":
                for statement in (
                    f"INSERT INTO {service}.audit_seals VALUES ('2021-01-21', 1, 1, '')",
                    f"INSERT INTO {service}.audit_sealed VALUES (true, 1, '9', 9, now())",
                    f"UPDATE {service}.audit_sealed SET seq = 9",
                ):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await connection.execute(statement)
            if role in ("staff", "machine", "door"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(f"SELECT count(*) FROM {service}.audit")
            if role != "auditor" and role != "sealer":
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(f"SELECT actor FROM {service}.audit")
            await connection.execute("RESET ROLE")
    finally:
        await connection.close()
