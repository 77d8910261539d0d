"""Two protected services behind a reverse proxy that runs a recipe of deploy/protecting, and what is asked of them."""

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.edge.internal_tokens import Issuer
from services.gateway.points.schemas import NewServicePoint
from services.gateway.points.tables import PointRow
from services.gateway.tokens.keys import Keys
from services.gateway.tokens.rules import Key
from services.gateway.verifications import receipts
from shared.core import clock
from shared.core.actors import Actor, Role
from shared.http.protocol import FastPathProtocol
from tests.harness import District
from tests.until import until

RECIPES = Path(__file__).parents[2] / "deploy" / "protecting"
HALL, CLINIC = "hall.example.cn", "clinic.example.cn"
ADDRESSES = {"gateway": 8000, HALL: 9000, CLINIC: 9001, "proxy": 80}
"""The ports in the recipes, which a test replaces; nothing else of a recipe is changed."""


def recipe(name: str, ports: Mapping[str, int]) -> str:
    """A recipe with the ports of a test."""
    text = (RECIPES / name).read_text(encoding="utf-8")
    for which, port in ADDRESSES.items():
        if which != "proxy":
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{ports[which]}")
            text = text.replace(f"127.0.0.1, port_value: {port}}}", f"127.0.0.1, port_value: {ports[which]}}}")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{ports['proxy']};")
    text = text.replace("0.0.0.0, port_value: 80}", f"127.0.0.1, port_value: {ports['proxy']}}}")
    for site in (HALL, CLINIC):
        text = text.replace(f"http://{site} ", f"http://{site}:{ports['proxy']} ")
    return text


@dataclass
class Service:
    """A foreign application that knows nothing of Fangxian; it records what reaches it."""

    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        path = (scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")).decode("ascii")
        self.seen.append((scope["method"], path, dict(request.headers), body))
        status = 500 if path.startswith("/broken") else 200
        await Response("here", status)(scope, receive, send)


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """Serve an application over TCP, as the gateway is served."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=FastPathProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
        )
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await until(lambda: server.started)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            await task


async def listening(port: int) -> None:
    """Wait until a proxy answers."""
    async with asyncio.timeout(60), httpx.AsyncClient(trust_env=False, timeout=60) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                await client.get(f"http://127.0.0.1:{port}/", headers={"host": "nothing.example.cn"})
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """Something that takes connections and never answers, as a gateway that hangs."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in held:
            writer.close()


@dataclass
class Site:
    """What is behind the proxy, and what people show."""

    gateway: int
    hall: Service
    clinic: Service
    ports: Mapping[str, int]
    resident: UUID
    token: dict[str, str]
    shown: Mapping[str, dict[str, str]]
    """Headers of a caller by what is right or wrong with their receipt."""


async def opened(district: District, **wishes: Any) -> UUID:
    """A service point, opened without going through its API."""
    asked = NewServicePoint(name="窗口", region="350582005001", **wishes)
    async with district.contexts["gateway"].system_unit_of_work() as uow:
        row = PointRow(region=asked.region)
        row.ask(asked)
        uow.add(row)
    return row.id


def bearer_of(district: District, *residents: UUID) -> dict[str, str]:
    """The token of a resident."""
    issuer = Issuer.from_files(district.contexts["gateway"].settings.keys)
    return {"authorization": "Bearer " + issuer.issue(Actor("somebody", Role.RESIDENT, residents=residents), None, 600)}


def shown_by(district: District, resident: UUID, point: UUID) -> Mapping[str, dict[str, str]]:
    """Credentials of every kind; only `good` is admitted at the point."""
    key = Keys.from_files(district.contexts["gateway"].settings.keys).current
    token = bearer_of(district, resident)

    def receipt(who: UUID = resident, where: UUID = point, minutes_ago: float = 0, key: Key = key) -> dict[str, str]:
        decided = clock.now() - timedelta(minutes=minutes_ago)
        return token | {"x-visit-receipt": receipts.write(receipts.Receipt(who, where, uuid4(), decided), key)}

    return {
        "good": receipt(),
        "no token": {name: value for name, value in receipt().items() if name != "authorization"},
        "no receipt": token,
        "nothing": {},
        "another person's": receipt(who=uuid4()),
        "another point's": receipt(where=uuid4()),
        "expired": receipt(minutes_ago=11),
        "of another key": receipt(key=Key(bytes(32))),
        "garbage receipt": token | {"x-visit-receipt": "FXR.garbage"},
        "garbage token": receipt() | {"authorization": "Bearer garbage"},
        "basic": receipt() | {"authorization": "Basic Zm9vOmJhcg=="},
    }


EXPECTED = {
    "good": 200,
    "no token": 401,
    "no receipt": 403,
    "nothing": 401,
    "another person's": 403,
    "another point's": 403,
    "expired": 403,
    "of another key": 403,
    "garbage receipt": 403,
    "garbage token": 401,
    "basic": 401,
}


@asynccontextmanager
async def site(district: District, gateway: ASGIApp) -> AsyncIterator[Site]:
    """A hall and a clinic, neither with an upstream_url, and the gateway over TCP."""
    resident = uuid4()
    hall = await opened(district, slug="service-hall")
    await opened(district, slug="fever-clinic", medical=True)
    services = Service(), Service()
    async with contextlib.AsyncExitStack() as stack:
        port, *behind = [await stack.enter_async_context(serving(app)) for app in (gateway, *services)]
        ports = {"gateway": port, HALL: behind[0], CLINIC: behind[1]}
        shown = shown_by(district, resident, hall)
        yield Site(port, *services, ports, resident, bearer_of(district, resident), shown)


Checked = Sequence[tuple[str, object, object]]
"""What is asked, what is expected, and what is found."""

NOBODY = (None, "", "-")


async def checked(here: Site, proxy: int) -> Checked:
    """Everything that is asked while the gateway answers."""
    found: list[tuple[str, object, object]] = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy}", trust_env=False, timeout=60) as client:

        async def ask(name: str, host: str, status: int, **how: Any) -> dict[str, str] | None:
            service = here.hall if host == HALL else here.clinic
            before = len(service.seen)
            method = how.pop("method", "GET")
            path = how.pop("path", "/a")
            headers = {"host": host, "x-fangxian-resident": str(UUID(int=7)), **how.pop("headers", {})}
            answer = await client.request(method, path, headers=headers, **how)
            reached = len(service.seen) - before
            found.append((name, (status, int(status < 400)), (answer.status_code, reached)))
            return service.seen[-1][2] if reached else None

        def named(name: str, seen: dict[str, str] | None, resident: UUID | None) -> None:
            said = (seen or {}).get("x-fangxian-resident")
            found.append((f"{name}: who is named", str(resident or ""), "" if said in NOBODY else said))
            kept = {"authorization", "x-visit-receipt"} & (seen or {}).keys()
            found.append((f"{name}: token and receipt stay", set(), kept))

        for what, status in EXPECTED.items():
            seen = await ask(f"hall, {what}", HALL, status, headers=here.shown[what])
            if status == 200:
                named("hall", seen, here.resident)
        for what in EXPECTED:
            seen = await ask(f"clinic, {what}", CLINIC, 200, headers=here.shown[what])
            known = what not in ("no token", "nothing", "garbage token", "basic")
            named(f"clinic, {what}", seen, here.resident if known else None)
        good = here.shown["good"]
        for accept in ("text/event-stream", "application/fhir+json", "text/html", "image/webp"):
            await ask(f"hall, Accept: {accept}", HALL, 200, headers=good | {"accept": accept})
            await ask(f"clinic, Accept: {accept}", CLINIC, 200, headers={"accept": accept})
        odd = {"x-deadline-ms": "1", "idempotency-key": "x", "range": "bytes=0-", "if-none-match": "*", "cookie": "a=b"}
        await ask("hall, odd headers", HALL, 200, headers=good | odd)
        for host, headers in ((HALL, good), (CLINIC, {})):
            for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
                await ask(f"{host}, {method}", host, 200, method=method, headers=headers)
            body = gzip.compress(b"x" * 100_000)
            packed = headers | {"content-encoding": "gzip", "content-type": "application/fhir+json"}
            await ask(f"{host}, gzip body", host, 200, method="POST", headers=packed, content=body)
            service = here.hall if host == HALL else here.clinic
            found.append((f"{host}, gzip body arrives", body, service.seen[-1][3]))
            large = b"y" * 900_000
            await ask(f"{host}, 900 KB", host, 200, method="PUT", headers=headers, content=large)
            found.append((f"{host}, 900 KB arrive", large, service.seen[-1][3]))
            await ask(f"{host}, long query", host, 200, headers=headers, path="/a?q=" + "z" * 6_000)
        await ask("hall, OPTIONS of a stranger", HALL, 401, method="OPTIONS")
        preflight = {"origin": "https://a.example.cn", "access-control-request-method": "POST"}
        await ask("hall, preflight of a stranger", HALL, 401, method="OPTIONS", headers=preflight)
        await ask("hall, dot segments to the clinic", HALL, 401, path="/b/..%2ffever-clinic")
        many = [await client.get("/asset", headers={"host": HALL, **good}) for _ in range(300)]
        found.append(("hall, 300 requests of one resident", {200}, {answer.status_code for answer in many}))
        many = [await client.get("/asset", headers={"host": CLINIC}) for _ in range(100)]
        found.append(("clinic, 100 requests of strangers", {200}, {answer.status_code for answer in many}))
        broken = await client.get("/broken", headers={"host": CLINIC})
        found.append(("clinic, the service's own 500", (500, "here"), (broken.status_code, broken.text)))
    return found


async def checked_without_gateway(here: Site, proxy: int, *, closed: Sequence[int]) -> Checked:
    """What is asked while the gateway is down or hangs: the hall is closed, the clinic open."""
    found: list[tuple[str, object, object]] = []
    spoofed = {"x-fangxian-resident": str(here.resident)}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy}", trust_env=False, timeout=60) as client:
        before = len(here.hall.seen)
        answer = await client.get("/a", headers={"host": HALL, **here.shown["good"], **spoofed})
        found.append(("hall is closed", (True, before), (answer.status_code in closed, len(here.hall.seen))))
        for method, body in (("GET", b""), ("POST", b"z" * 100_000)):
            answer = await client.request(
                method, "/b?c=d", headers={"host": CLINIC, **here.shown["good"], **spoofed}, content=body
            )
            found.append((f"clinic is open, {method}", 200, answer.status_code))
            if answer.status_code == 200:
                how, path, headers, came = here.clinic.seen[-1]
                found.append((f"clinic is open, {method}: as sent", (method, "/b?c=d", body), (how, path, came)))
                kept = {"authorization", "x-visit-receipt"} & headers.keys()
                found.append((f"clinic is open, {method}: nothing of ours passes", set(), kept))
                named = headers.get("x-fangxian-resident")
                found.append((f"clinic is open, {method}: nobody is named", True, named in NOBODY))
    return found
