"""Care is not shut by the requests of strangers who come from the same address."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from services.gateway.app import create_app
from services.gateway.edge.internal_tokens import Issuer
from services.gateway.edge.priority_class import PriorityClass
from services.gateway.edge.rates import Rates
from shared.core.actors import Actor, Role
from shared.core.clock import now
from shared.core.ids import new_id
from shared.core.regions import range_of
from shared.problems import TooManyRequests
from tests.gateway.behind_reverse_proxies import Service, opened, serving
from tests.gateway.signing_in import app, outside, refreshed, signed_in
from tests.gateway.test_codes import publish, resident
from tests.gateway.test_hooks import HOOK, POSTED, signed, source
from tests.harness import District, Still

COMMUNITY = "350582005001"
MOST = 10
FLOOD = 40
"""An address may ask ten times here, in place of six thousand; a stranger behind it asks far more often."""
NOTHING = "/nothing/of/this/name"


@asynccontextmanager
async def gateway(district: District, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Another process of the gateway, whose one address is everybody's."""
    limits = {"requests_a_minute_per_client": MOST, "requests_in_flight": 2, **settings}
    behind = {service: httpx.ASGITransport(app) for service, app in district.apps.items()}
    context = Still.build(district.contexts["gateway"].settings.model_copy(update=limits), behind)
    made = create_app(context.settings, context)
    async with made.router.lifespan_context(made):
        transport = httpx.ASGITransport(made, client=(f"address-{new_id()}", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield client


def token(district: District, role: Role, seconds: int = 600, **who: Any) -> dict[str, str]:
    scope = None if role is Role.RESIDENT else "350582005"
    actor = Actor(subject=str(new_id()), role=role, range=range_of("350582005"), **who)
    issued = Issuer.from_files(district.contexts["gateway"].settings.keys).issue(actor, scope, seconds)
    return {"authorization": f"Bearer {issued}"}


async def flooded(client: httpx.AsyncClient, path: str, method: str = "GET", **how: Any) -> list[int]:
    return [(await client.request(method, path, **how)).status_code for _ in range(FLOOD)]


def is_stopped(statuses: list[int], before: int) -> bool:
    """Whether a flood met its limit, also if a minute ended meanwhile and the limit began again."""
    return set(statuses) == {before, 429} and MOST <= statuses.count(before) <= 2 * MOST


GARBAGE = {"authorization": "Bearer garbage"}


FLOODS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", NOTHING, {}),
    ("GET", "/gateway/v1/policies", {"headers": GARBAGE}),
    ("GET", "/gateway/v1/code.svg", {"headers": GARBAGE}),
    ("POST", "/gateway/v1/hooks/desk_120", {"json": {}}),
    ("POST", "/oauth/token", {"data": {"grant_type": "refresh_token", "refresh_token": "garbage"}}),
    ("GET", "/services/nothing/", {}),
    ("GET", "/gateway/v1/code", {"headers": GARBAGE}),
    ("GET", "/gateway/v1/forward-auth/service-hall", {"headers": GARBAGE}),
]


async def test_what_strangers_ask_stops_no_care_from_the_same_address(district: District) -> None:
    person = new_id()
    await publish(district, resident(person))
    secret = str((await source(district.caller("gateway", Role.COMMAND)))["secret"])
    await opened(district, slug="fever-clinic", medical=True)
    await app(district)
    async with outside(district) as browser:
        _, tokens = await signed_in(district, browser)
    own = token(district, Role.RESIDENT, residents=(person,))
    doctor = token(district, Role.VILLAGE_DOCTOR)
    async with gateway(district) as client:
        for method, path, how in FLOODS:
            assert len(await flooded(client, path, method, **how)) == FLOOD
            fever = {"resident_id": str(person), "region": COMMUNITY, "celsius": 38.5, "measured_at": now().isoformat()}
            headers = doctor | {"idempotency-key": str(new_id())}
            reported = await client.post("/observation/v1/referrals", json=fever, headers=headers)
            assert reported.status_code == 201, (path, reported.text)
            for mine in ("/gateway/v1/code.svg", "/gateway/v1/code", "/testing/v1/my-samples"):
                assert (await client.get(mine, headers=own)).status_code == 200, (path, mine)
            body = json.dumps(POSTED).encode()
            posted = await client.post(HOOK, content=body, headers=signed(secret, body, str(new_id())))
            assert posted.status_code == 202, (path, posted.text)
            again = await refreshed(client, tokens["refresh_token"])
            assert again.status_code == 200, (path, again.text)
            tokens = again.json()
            assert (await client.get("/sign-in/start")).status_code not in (429, 503), path
            assert (await client.get("/gateway/v1/forward-auth/fever-clinic")).status_code == 200


async def test_a_stranger_is_told_to_stop_where_no_care_is_asked_for(district: District) -> None:
    async with gateway(district) as client:
        assert is_stopped(await flooded(client, NOTHING), 404)


async def test_refused_tokens_of_the_hot_routes_count_against_their_address(district: District) -> None:
    person = new_id()
    await publish(district, resident(person))
    async with gateway(district) as client:
        assert is_stopped(await flooded(client, "/gateway/v1/code", headers=GARBAGE), 401)
        own = token(district, Role.RESIDENT, residents=(person,))
        assert (await client.get("/gateway/v1/code", headers=own)).status_code == 200


@pytest.mark.parametrize("path", ["/gateway/v1/code", "/gateway/v1/code.svg", "/testing/v1/my-samples"])
async def test_whose_token_has_ended_is_told_so_whatever_strangers_ask(district: District, path: str) -> None:
    ended = token(district, Role.RESIDENT, seconds=-60, residents=(new_id(),))
    async with gateway(district) as client:
        for flood in (NOTHING, path):
            await flooded(client, flood, headers=GARBAGE)
        answer = await client.get(path, headers=ended)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_a_page_of_many_parts_locks_nobody_out(district: District) -> None:
    service = Service()
    async with serving(service) as port:
        await opened(district, slug="clinic", upstream_url=f"http://127.0.0.1:{port}", medical=True)
        limits = {"requests_a_minute_per_client": 6_000, "requests_a_minute_per_resident": 5}
        async with gateway(district, **limits) as client:
            own = token(district, Role.RESIDENT, residents=(new_id(),))
            answers = {(await client.get("/services/clinic/part", headers=own)).status_code for _ in range(150)}
            assert answers == {200}
            assert (await client.get("/testing/v1/my-samples", headers=own)).status_code == 200


async def test_care_has_a_budget_beside_the_ordinary_one(district: District) -> None:
    settings = district.contexts["gateway"].settings.model_copy(update={"requests_a_minute_per_staff": 3})
    rates = Rates(settings)
    worker = Actor(str(new_id()), Role.GRID_WORKER)
    for _ in range(3):
        await rates.admit_person(worker, "GET", "/testing/v1/rolls")
    with pytest.raises(TooManyRequests):
        await rates.admit_person(worker, "GET", "/testing/v1/rolls")
    for _ in range(3):
        await rates.admit_person(worker, "POST", "/observation/v1/referrals", PriorityClass.CARE)
    with pytest.raises(TooManyRequests):
        await rates.admit_person(worker, "POST", "/observation/v1/referrals", PriorityClass.CARE)
