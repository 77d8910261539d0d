"""G9: two people declare the emergency over, and from then on nothing is collected about anybody."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.gateway.points.schemas import NewServicePoint
from services.gateway.points.tables import PointRow
from shared.core.actors import Role
from shared.core.ids import new_id
from shared.core.settings import SERVICES, Service
from shared.governance.sunset.rules import STAYS_OPEN, stays_open
from tests.harness import District

SUNSET = "/gateway/v1/sunset"
ASKED = {"declaration": {"declared_on": "2022-12-26", "decree": "2022年第7号"}, "reason": "解除"}


@pytest.fixture(autouse=True)
async def _goes_on(district: District) -> AsyncIterator[None]:
    yield
    for service in SERVICES:
        await district.sql(f"DELETE FROM {service}.sunset")
        await district.contexts[service].open()


async def propose(district: District, by: str = "lin") -> dict[str, Any]:
    async with district.caller("gateway", Role.COMMAND, subject=by) as one:
        answer = await one.post(SUNSET, json=ASKED)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def approve(district: District, proposal: dict[str, Any], by: str = "wang") -> httpx.Response:
    async with district.caller("gateway", Role.COMMAND, subject=by) as other:
        decision = {"content_hash": proposal["content_hash"], "reason": "同意"}
        return await other.post(f"/gateway/v1/proposals/{proposal['id']}/approve", json=decision)


async def know(district: District) -> None:
    """What every process does within two seconds."""
    for service in SERVICES:
        await district.contexts[service].open()


async def test_two_people_declare_it_once(district: District) -> None:
    first, second = await propose(district), await propose(district)
    async with district.caller("gateway", Role.RESIDENT, residents=(new_id(),)) as somebody:
        assert (await somebody.get(SUNSET)).status_code == 404
        assert (await approve(district, first, "lin")).json()["code"] == "proposal_same_person"
        assert (await somebody.get(SUNSET)).status_code == 404
        assert (await approve(district, first)).status_code == 200
        said = (await somebody.get(SUNSET)).json()
    assert (said["declared_on"], said["decree"]) == ("2022-12-26", "2022年第7号")
    assert (await approve(district, second)).json()["code"] == "sunset_declared"


async def test_the_door_keeps_no_visit_any_more(district: District) -> None:
    await approve(district, await propose(district))
    await know(district)
    async with district.caller("gateway", Role.DOORKEEPER, party=str(new_id())) as door:
        answer = await door.post("/gateway/v1/verifications", json={"scan_id": str(new_id()), "token": "x"})
    assert (answer.status_code, answer.json()["code"]) == (410, "sunset")
    assert await district.sql("SELECT 1 FROM gateway.visits") == []


async def test_no_protected_service_asks_for_a_code_any_more(district: District) -> None:
    context = district.contexts["gateway"]
    asked = NewServicePoint(name="窗口", region="350582005001", slug="after", upstream_url="http://127.0.0.1:9/")
    async with context.system_unit_of_work() as uow:
        row = PointRow(region=asked.region)
        row.ask(asked)
        uow.add(row)
    path = "/gateway/v1/forward-auth/after"
    async with district.caller("gateway", Role.RESIDENT, residents=(new_id(),)) as somebody:
        assert (await somebody.get(path)).json()["code"] == "receipt_missing"
        await approve(district, await propose(district))
        await know(district)
        assert (await somebody.get(path)).status_code == 200
        assert (await somebody.get(path, headers={"authorization": ""})).status_code == 200


@pytest.mark.parametrize("service", ["registry", "testing", "observation"])
async def test_the_edge_passes_nothing_on_that_collects(district: District, service: Service) -> None:
    await approve(district, await propose(district))
    await know(district)
    path = {"registry": "residents", "testing": "samples", "observation": "referrals"}[service]
    async with district.caller("gateway", Role.COMMAND) as command:
        answer = await command.post(f"/{service}/v1/{path}", json={})
        assert (answer.status_code, answer.json()["code"]) == (410, "sunset")
        assert (await command.get(f"/{service}/v1/retention")).status_code == 200


async def test_each_service_refuses_by_itself_once_it_is_told(district: District) -> None:
    (row,) = await district.sql("SELECT gen_random_uuid() AS id")
    await district.sql("INSERT INTO registry.sunset VALUES (true, '2022-12-26', 'x', $1, now())", row["id"])
    await know(district)
    async with district.caller("registry", Role.COMMAND) as command:
        answer = await command.post("/registry/v1/residents", json={})
        assert (answer.status_code, answer.json()["code"]) == (410, "sunset")
        assert (await command.post("/registry/v1/residents/search", json={"phone": "13800000000"})).status_code == 200
        assert (await command.get("/registry/v1/residents")).status_code == 200


COLLECTING = ("residents", "imports", "samples", "results", "referrals", "verifications", "hooks/desk_120", "proxies")
OPEN = (
    ("GET", "/registry/v1/residents"),
    ("POST", "/registry/v1/residents/search"),
    ("POST", "/registry/v1/residents/0190/erasure"),
    ("POST", "/registry/v1/legal-holds"),
    ("POST", "/testing/v1/proposals/0190/approve"),
    ("POST", "/observation/v1/orders/0190/end"),
    ("DELETE", "/gateway/v1/sessions/0190"),
)


async def test_all_that_stays_open_is_there(district: District) -> None:
    """No opening is left over for something that will come to have its address."""
    operations = {
        path
        for service in SERVICES
        for path, item in district.apps[service].openapi()["paths"].items()
        if set(item) & {"post", "put", "patch", "delete"}
    }
    inside = {"/registry/v1/residents/recognise", "/internal/reveals", "/gateway/v1/development/tokens"}
    for one in STAYS_OPEN:
        assert any(one.fullmatch(path) for path in operations | inside), one.pattern


@pytest.mark.parametrize("what", COLLECTING)
@pytest.mark.parametrize("service", SERVICES)
def test_what_collects_ends(service: Service, what: str) -> None:
    assert not stays_open("POST", f"/{service}/v1/{what}")


@pytest.mark.parametrize(("method", "path"), OPEN, ids=[path for _, path in OPEN])
def test_what_shows_decides_or_forgets_goes_on(method: str, path: str) -> None:
    assert stays_open(method, path)
