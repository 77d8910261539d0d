"""Nobody sees or changes what is not theirs, through whatever operation there is: the foreign-token walk.

Walked are all operations of the merged document, also those built after this was written. What is open on purpose
stands in `walk.py`, each with its reason.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from sqlalchemy import text

from services.gateway.edge.merging import merge
from shared.runtime.context import ServiceContext
from tests.harness import District
from tests.walk.operations import operations_of
from tests.walk.state import State, populate
from tests.walk.tokens import tokens
from tests.walk.walk import OPEN_THINGS, OWN_ACTS, TOLD, Walk

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
async def state(running: District) -> AsyncIterator[State]:
    """One community's things, made once for all walks."""
    running.clock_right()
    await running.empty()
    yield await populate(running)
    await running.empty()


@pytest.fixture
async def document(running: District) -> dict[str, Any]:
    """What the edge says of all four services."""
    transport = httpx.ASGITransport(running.apps["gateway"])
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


async def test_no_foreign_token_sees_or_changes_anything(
    running: District, state: State, document: dict[str, Any]
) -> None:
    walk = Walk(running, state, tokens(running, state.neighbour))
    await walk.over(document)
    sys.stdout.write(f"\n{walk.operations} operations × {len(walk.tokens)} tokens: {sum(walk.asked.values())} requests")
    sys.stdout.write(f" ({dict(walk.asked)}), {len(state.needles)} words looked for, {len(walk.faults)} faults\n")
    assert walk.faults == [], f"{len(walk.faults)} faults\n" + "\n".join(walk.faults[:40])


async def test_what_is_open_on_purpose_is_there(document: dict[str, Any]) -> None:
    found = operations_of(document)
    names = {one.name for one in found}
    assert OWN_ACTS.keys() | TOLD.keys() <= names
    assert OPEN_THINGS.keys() <= {name for one in found for name in one.parameters}


async def test_a_parameter_that_nobody_knows_stops_the_walk(running: District, state: State) -> None:
    unknown = {
        "paths": {"/registry/v1/things/{thing_id}": {"get": {"parameters": [{"name": "thing_id", "in": "path"}]}}}
    }
    walk = Walk(running, state, tokens(running, state.neighbour))
    with pytest.raises(LookupError, match="thing_id"):
        await walk.over(unknown)


async def look(request: Request) -> Any:
    """A look that nothing guards."""
    context: ServiceContext = request.app.state.context
    async with context.system_unit_of_work("planted") as uow:
        table = "codes" if context.settings.service == "gateway" else "residents"
        return [str(row) for row in await uow.rows(text(f"SELECT * FROM {table}"))]


async def change(request: Request) -> Any:
    """An act that nothing guards."""
    async with request.app.state.context.system_unit_of_work("planted") as uow:
        return await uow.run(text("UPDATE residents SET version = version + 1"))


@contextmanager
def planted(app: FastAPI, method: str, path: str, act: Any) -> Iterator[dict[str, Any]]:
    """A route that no contract guards, and the document of it alone."""
    route = APIRoute(path, act, methods=[method], responses={}, response_model=None)
    app.router.routes.insert(0, route)
    try:
        parameters = [{"name": "resident_id", "in": "path"}]
        yield merge(
            {"planted": {"paths": {path: {method.lower(): {"parameters": parameters, "x-roles": ["command"]}}}}}
        )
    finally:
        app.router.routes.remove(route)


@pytest.mark.parametrize(
    ("service", "method", "act", "found"),
    [
        ("gateway", "GET", look, "it tells"),
        ("registry", "GET", look, "it tells"),
        ("registry", "POST", change, "changed registry.residents"),
    ],
    ids=["a look at the edge", "a look behind it", "an act behind it"],
)
async def test_a_route_that_nothing_guards_is_found(
    running: District, state: State, service: str, method: str, act: Any, found: str
) -> None:
    path = f"/{service}/v1/planted/{{resident_id}}"
    with planted(running.apps[service], method, path, act) as document:
        walk = Walk(running, state, tokens(running, state.neighbour))
        await walk.over(document)
    assert any(found in fault for fault in walk.faults), walk.faults[:5]
    assert any("401 expected" in fault for fault in walk.faults)
