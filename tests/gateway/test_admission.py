"""G1: the edge under attack: what goes first, how often one may ask, and which web pages may call."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from services.gateway.app import create_app
from services.gateway.edge import admission, networks, shedding
from services.gateway.edge.admission import AdmissionMiddleware
from services.gateway.edge.internal_tokens import Issuer
from services.gateway.edge.networks import address_of
from services.gateway.edge.priority_class import PriorityClass, priority_class_of
from services.gateway.edge.rates import LocalLimiter, Rates
from services.gateway.edge.shedding import MOST_WAITING, Shedder
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.core.regions import range_of
from shared.problems import TooManyRequests, Unavailable
from shared.runtime.app import bearer
from tests.harness import District
from tests.until import until

ID = "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"


@pytest.mark.parametrize(
    ("asked", "urgency"),
    [
        ("POST /observation/v1/referrals", PriorityClass.CARE),
        (f"GET /observation/v1/referrals/{ID}", PriorityClass.CARE),
        ("POST /gateway/v1/hooks/desk_120", PriorityClass.CARE),
        ("GET /gateway/v1/code", PriorityClass.CARE),
        ("GET /gateway/v1/code.svg", PriorityClass.CARE),
        ("POST /gateway/v1/verifications", PriorityClass.CARE),
        ("GET /services/fever-clinic/register", PriorityClass.CARE),
        ("POST /oauth/token", PriorityClass.CARE),
        ("GET /sign-in/link/x", PriorityClass.CARE),
        ("POST /testing/v1/samples", PriorityClass.ORDINARY),
        ("GET /gateway/v1/codes/counts", PriorityClass.REPORT),
        (f"GET /gateway/v1/codes/{ID}", PriorityClass.ORDINARY),
        ("GET /registry/v1/population", PriorityClass.REPORT),
        ("POST /registry/v1/imports", PriorityClass.REPORT),
        (f"GET /testing/v1/campaigns/{ID}/progress", PriorityClass.REPORT),
        ("POST /registry/v1/residents/search", PriorityClass.ORDINARY),
    ],
)
def test_care_goes_first_and_reports_last(asked: str, urgency: PriorityClass) -> None:
    assert priority_class_of(*asked.split(" ")) is urgency


async def test_what_is_too_much_is_refused_by_class_and_leaves_room_again() -> None:
    shedder = Shedder({PriorityClass.CARE: 3, PriorityClass.ORDINARY: 2, PriorityClass.REPORT: 1})
    leave = [await shedder.enter(PriorityClass.ORDINARY) for _ in range(2)]
    with pytest.raises(Unavailable) as refused:
        await shedder.enter(PriorityClass.ORDINARY)
    assert 1 <= (refused.value.wait or 0) <= 5
    await shedder.enter(PriorityClass.REPORT)
    for _ in range(3):
        await shedder.enter(PriorityClass.CARE)
    leave[0]()
    leave[0]()  # who leaves twice makes room once
    await shedder.enter(PriorityClass.ORDINARY)
    with pytest.raises(Unavailable):
        await shedder.enter(PriorityClass.ORDINARY)


async def test_a_burst_waits_a_moment_in_the_order_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shedding, "WAIT_SECONDS", 60)
    shedder = Shedder({PriorityClass.ORDINARY: 1})
    served: list[int] = []

    async def ask(number: int) -> None:
        leave = await shedder.enter(PriorityClass.ORDINARY)
        served.append(number)
        await asyncio.sleep(0)
        leave()

    await asyncio.gather(*map(ask, range(MOST_WAITING + 1)))
    assert served == list(range(MOST_WAITING + 1))


@pytest.mark.parametrize("gives_up", ["before", "in the same moment", "overdue"])
async def test_who_gives_up_waiting_takes_no_room_along(gives_up: str) -> None:
    shedder = Shedder({PriorityClass.ORDINARY: 1})
    leave = await shedder.enter(PriorityClass.ORDINARY)
    waits = asyncio.create_task(shedder.enter(PriorityClass.ORDINARY))
    await asyncio.sleep(0)
    if gives_up == "in the same moment":
        leave()
    if gives_up != "overdue":
        waits.cancel()
    with pytest.raises((asyncio.CancelledError, Unavailable)):
        await waits
    leave()
    (await shedder.enter(PriorityClass.ORDINARY))()
    (await shedder.enter(PriorityClass.ORDINARY))()


async def test_more_than_may_wait_are_refused_at_once() -> None:
    shedder = Shedder({PriorityClass.ORDINARY: 1})
    await shedder.enter(PriorityClass.ORDINARY)
    waiting = [asyncio.create_task(shedder.enter(PriorityClass.ORDINARY)) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        shedder.enter(PriorityClass.ORDINARY).send(None)  # without waiting for anything
    assert {type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)} == {Unavailable}


@pytest.mark.parametrize(
    ("path", "is_open"),
    [
        *((path, True) for path in ("/livez", "/readyz", "/metrics", "/internal/feed")),
        *((path, False) for path in ("/livezX", "/readyz/x", "/metrics-x", "/internalx", "/registry/v1/regions")),
    ],
)
def test_only_what_operators_ask_passes_when_there_is_no_room(path: str, is_open: bool) -> None:
    assert admission._is_always_open(path) is is_open


PROXIES = [ip_network("10.0.0.0/8"), ip_network("::1/128")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("1.2.3.4", "", "1.2.3.4"),
        ("1.2.3.4", "9.9.9.9", "1.2.3.4"),  # not from a proxy of ours: believed by nobody
        ("10.0.0.1", "5.6.7.8", "5.6.7.8"),
        ("10.0.0.1", "9.9.9.9, 5.6.7.8", "5.6.7.8"),  # what the client wrote itself comes first
        ("10.0.0.1", "5.6.7.8, 10.0.0.2", "5.6.7.8"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "rubbish", "10.0.0.1"),
        ("::1", "240e:1:2:3:4:5:6:7", "240e:1:2:3::/64"),
        ("240e:1:2:3::9", "", "240e:1:2:3::/64"),
        ("240e:1:2:3:ffff::", "", "240e:1:2:3::/64"),
        ("::ffff:203.0.113.7", "9.9.9.9", "203.0.113.7"),
        ("::ffff:10.0.0.1", "5.6.7.8", "5.6.7.8"),
        ("10.0.0.1", "::ffff:5.6.7.8, ::ffff:10.0.0.2", "5.6.7.8"),
        ("fe80::1%eth0", "", "fe80::/64"),
        ("", "", ""),
    ],
)
def test_a_client_is_who_no_proxy_of_ours_is(peer: str, forwarded: str, client: str) -> None:
    assert address_of(peer, forwarded, PROXIES) == client


def rates(district: District, **limits: Any) -> Rates:
    settings = district.contexts["gateway"].settings
    return Rates(settings.model_copy(update={f"requests_a_minute_per_{who}": most for who, most in limits.items()}))


async def admitted(one: Rates, address: str, times: int) -> int:
    count = 0
    for _ in range(times):
        with contextlib.suppress(TooManyRequests):
            await one.admit_client(address)
            count += 1
    return count


async def test_an_address_that_asks_too_often_is_told_when_to_come_back(district: District) -> None:
    one = rates(district, client=10)
    address = str(new_id())
    assert await admitted(one, address, 15) == 10
    with pytest.raises(TooManyRequests) as refused:
        await one.admit_client(address)
    assert 1 <= (refused.value.wait or 0) <= 61
    assert await admitted(one, str(new_id()), 3) == 3


async def test_replicas_keep_one_limit_together(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.edge.rates.REDIS_SECONDS", 60)
    replicas = [rates(district, client=20) for _ in range(3)]
    address = str(new_id())
    total = sum([await admitted(one, address, 20) for one in replicas])
    assert 20 <= total <= 20 + 3 * 4  # each counts a fifth by itself first


async def test_without_redis_each_keeps_the_limit_by_itself(district: District) -> None:
    settings = district.contexts["gateway"].settings
    away = settings.model_copy(
        update={
            "redis_url": type(settings.redis_url)("redis://127.0.0.1:1/0"),
            "requests_a_minute_per_client": 10,
        }
    )
    assert await admitted(Rates(away), "1.2.3.4", 15) == 10


async def test_a_person_is_limited_by_role_and_by_operation(district: District) -> None:
    one = rates(district, resident=5, staff=1_000)
    somebody = Actor(str(new_id()), Role.RESIDENT)
    for _ in range(5):
        await one.admit_person(somebody, "GET", "/testing/v1/my-samples")
    with pytest.raises(TooManyRequests):
        await one.admit_person(somebody, "GET", "/testing/v1/my-samples")
    officer = Actor(str(new_id()), Role.COMMAND)
    for _ in range(20):
        await one.admit_person(officer, "POST", "/gateway/v1/policies/trials")
    with pytest.raises(TooManyRequests):
        await one.admit_person(officer, "POST", "/gateway/v1/policies/trials/")
    await one.admit_person(officer, "GET", "/gateway/v1/policies")


def test_the_hot_limit_begins_anew_each_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("services.gateway.edge.rates.time.time", lambda: now)
    limiter = LocalLimiter(2)
    limiter.count("a")
    limiter.count("a")
    limiter.count("b")
    with pytest.raises(TooManyRequests) as refused:
        limiter.count("a")
    assert refused.value.wait == 60 - 1_000_000 % 60
    now += 60
    limiter.count("a")


@asynccontextmanager
async def gateway(district: District, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Another process of the gateway, with settings of its own."""
    context = district.contexts["gateway"]
    context = replace(context, settings=context.settings.model_copy(update=settings))
    app = create_app(context.settings, context)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


def token(district: District, role: Role, **who: Any) -> dict[str, str]:
    actor = Actor(subject=str(new_id()), role=role, range=range_of("350582005"), **who)
    region = None if role is Role.RESIDENT else "350582005"
    issued = Issuer.from_files(district.contexts["gateway"].settings.keys).issue(actor, region, 600)
    return {"authorization": f"Bearer {issued}", "accept-language": "en"}


async def test_who_asks_too_often_gets_a_problem_with_the_time_to_come_back(district: District) -> None:
    async with gateway(district, requests_a_minute_per_staff=3) as client:
        headers = token(district, Role.COMMAND)
        answers = [await client.get("/gateway/v1/policies/1", headers=headers) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].json()["code"] == "too_many_requests"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 61
        assert answers[-1].headers["x-request-id"]
        others = await client.get("/gateway/v1/policies/1", headers=token(district, Role.COMMAND))
        assert others.status_code == 200
        assert (await client.get("/livez")).status_code == 200


async def test_a_resident_asks_for_the_own_code_as_often_as_is_sensible(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr("services.gateway.edge.rates.time.time", lambda: now)  # the minute does not change meanwhile
    async with gateway(district, requests_a_minute_per_resident=3) as client:
        headers = token(district, Role.RESIDENT, residents=(new_id(),))
        codes = [(await client.get("/gateway/v1/code", headers=headers)).status_code for _ in range(4)]
    assert codes[3] == 429
    assert 429 not in codes[:3]


async def test_who_sends_slowly_keeps_nobody_out(district: District) -> None:
    begun, end = asyncio.Semaphore(0), asyncio.Event()

    async def dribbling() -> AsyncIterator[bytes]:
        yield b"{"
        begun.release()
        await end.wait()
        yield b"}"

    async with gateway(district, requests_in_flight=2) as client, asyncio.TaskGroup() as tasks:
        slow = [tasks.create_task(client.post("/registry/v1/residents/search", content=dribbling())) for _ in range(4)]
        for _ in slow:
            await begun.acquire()
        answer = await client.get("/gateway/v1/policies/1", headers=token(district, Role.COMMAND))
        end.set()
    assert answer.status_code == 200
    assert [(await one).status_code for one in slow] == [401] * 4


async def test_who_reads_slowly_keeps_nobody_out(district: District) -> None:
    begun, end = asyncio.Semaphore(0), asyncio.Event()

    async def unread(_: Any) -> None:
        begun.release()
        await end.wait()

    async with gateway(district, requests_in_flight=2) as client, asyncio.TaskGroup() as tasks:
        app = client._transport.app  # type: ignore[attr-defined]
        request = {"type": "http", "method": "GET", "path": "/openapi.json", "query_string": b"", "headers": []}
        for _ in range(4):
            tasks.create_task(app({**request, "state": {}}, asyncio.Event().wait, unread))
        for _ in range(4):
            await asyncio.wait_for(begun.acquire(), 10)
        answer = await client.get("/gateway/v1/policies/1", headers=token(district, Role.COMMAND))
        end.set()
    assert answer.status_code == 200


async def test_what_is_too_much_comes_back_later_and_care_is_served(district: District) -> None:
    end = asyncio.Event()

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        await end.wait()
        await Response(status_code=200)(scope, receive, send)

    settings = district.contexts["gateway"].settings.model_copy(update={"requests_in_flight": 2})
    app = Starlette(routes=[Mount("/", busy)], middleware=[Middleware(AdmissionMiddleware, settings=settings)])
    app.state.authenticate = bearer(district.contexts["gateway"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        asked = [asyncio.create_task(client.get("/registry/v1/regions")) for _ in range(MOST_WAITING + 12)]
        care = [asyncio.create_task(client.get("/services/clinic/x")) for _ in range(12)]
        await until(lambda: sum(one.done() for one in asked) >= MOST_WAITING + 10)
        done = [one for one in asked if one.done()]
        end.set()
        answers, cared = await asyncio.gather(*asked), await asyncio.gather(*care)
    assert len(done) == MOST_WAITING + 10
    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [503] * (MOST_WAITING + 10)
    assert all(1 <= int(answer.headers["retry-after"]) <= 5 for answer in answers if answer.status_code == 503)
    assert {answer.status_code for answer in cared} == {200}


@pytest.mark.parametrize(
    ("peer", "forwarded", "is_counted"),
    [("1.2.3.4", "9.9.9.9", 1), ("1.2.3.4", None, 0), ("10.0.0.1", "9.9.9.9", 0), ("::ffff:10.0.0.1", "9.9.9.9", 0)],
)
def test_an_address_that_nobody_believes_is_noticed_and_not_logged(
    peer: str, forwarded: str | None, is_counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("services.gateway.edge.networks.time.monotonic", lambda: now)
    before = networks.UNBELIEVED._value.get()
    unbelieved = networks.Unbelieved()
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            unbelieved.look({"client": (peer, 1), "headers": headers}, PROXIES)
        assert len(logs) == is_counted  # once a minute
        now += 61
        unbelieved.look({"client": (peer, 1), "headers": headers}, PROXIES)
    assert len(logs) == 2 * is_counted
    assert networks.UNBELIEVED._value.get() - before == 4 * is_counted
    assert peer not in str(logs)
    assert "9.9.9.9" not in str(logs)


ORIGIN = "https://console.example.cn"


@pytest.mark.parametrize("path", ["/gateway/v1/policies/1", "/gateway/v1/code"])
async def test_named_pages_may_call_and_others_read_nothing(district: District, path: str) -> None:
    async with gateway(district, browser_origins=(ORIGIN,)) as client:
        for origin, shown in ((ORIGIN, ORIGIN), ("https://evil.example.cn", None), ("null", None)):
            answer = await client.get(path, headers={"origin": origin})
            assert answer.headers.get("access-control-allow-origin") == shown
            assert "access-control-allow-credentials" not in answer.headers
            asked = {"origin": origin, "access-control-request-method": "POST"}
            preflight = await client.options(path, headers=asked)
            assert preflight.headers.get("access-control-allow-origin") == shown


async def test_without_named_pages_no_page_may_call(district: District) -> None:
    async with gateway(district) as client:
        answer = await client.get("/gateway/v1/policies/1", headers={"origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers


OPEN = (
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/.well-known/jwks.json",
    "/.well-known/fangxian-code-keys.json",
    "/oauth/jwks",
)


@pytest.mark.parametrize("origins", [(), (ORIGIN,)], ids=["no page named", "one page named"])
async def test_every_page_may_read_where_to_sign_in_and_the_keys(district: District, origins: tuple[str, ...]) -> None:
    async with gateway(district, browser_origins=origins) as client:
        for path in OPEN:
            answer = await client.get(path, headers={"origin": "https://anybody.example"})
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in answer.headers
            assert answer.headers["cache-control"].startswith("public")
            known = {"if-none-match": f'"x", W/{answer.headers["etag"]}', "origin": "https://anybody.example"}
            again = await client.get(path, headers=known)
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
            assert (await client.get(path, headers={"if-none-match": '"x"'})).status_code == 200


async def test_a_named_page_may_send_what_the_documents_ask_for(district: District) -> None:
    names = ("Accept-Language", "Idempotency-Key", "If-Match", "If-None-Match", "X-Deadline-Ms", "X-Request-Id")
    asked = ", ".join(("Authorization", "Content-Type", *names))
    async with gateway(district, browser_origins=(ORIGIN,)) as client:
        headers = {"origin": ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": asked}
        assert (await client.options("/gateway/v1/clients", headers=headers)).status_code == 200
        answer = await client.get("/gateway/v1/policies/1", headers={"origin": ORIGIN})
        shown = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert {"ETag", "Location", "Retry-After", "WWW-Authenticate", "X-Request-Id"} <= shown
