"""G4: verify the code before the service, at the edge."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from services.gateway.app import API
from services.gateway.edge import protected
from services.gateway.edge.authentication import outside_tokens
from services.gateway.edge.forward_auth import ForwardAuth
from services.gateway.edge.internal_tokens import Issuer
from services.gateway.edge.receipt_check import Point, ReceiptCheck
from services.gateway.edge.trusted_issuers import TrustedIssuers
from services.gateway.tokens.rules import Key
from services.gateway.verifications import receipts
from shared.core import clock
from shared.core.actors import Actor, Role
from shared.problems import Problem, Unauthenticated, Unavailable
from shared.runtime.app import build
from tests.harness import District

KEY, OTHER_KEY = Key(bytes(32)), Key(bytes([1] * 32))
WINDOW, CLINIC, ELSEWHERE = uuid4(), uuid4(), uuid4()
RESIDENT, CHILD, OTHER = uuid4(), uuid4(), uuid4()


BEYOND = {
    "access-control-allow-origin": "*",
    "accept-ch": "sec-ch-ua-model",
    "alt-svc": 'h2="evil.example.cn:443"',
    "clear-site-data": '"*"',
    "critical-ch": "sec-ch-ua-model",
    "nel": '{"report_to": "x", "max_age": 9, "success_fraction": 1}',
    "origin-agent-cluster": "?1",
    "refresh": "0; url=https://evil.example.cn",
    "report-to": '{"group": "x", "max_age": 9, "endpoints": [{"url": "https://evil.example.cn"}]}',
    "reporting-endpoints": 'x="https://evil.example.cn"',
    "service-worker-allowed": "/",
    "set-cookie": "a=b",
    "set-login": "logged-in",
    "speculation-rules": '"/rules.json"',
    "strict-transport-security": "max-age=9",
    "www-authenticate": "Basic",
    "x-invented-tomorrow": "1",
}
"""What would reach beyond the answer, to other pages of this host."""


class Upstream:
    """A foreign application, over a real socket."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.seen.append((head[0], headers, body))
        writer.write(
            b"HTTP/1.1 303 X\r\nlocation: /there\r\nconnection: close\r\ncontent-type: text/html\r\n"
            b'etag: "1"\r\ncache-control: max-age=5\r\ncontent-disposition: inline\r\n'
            + b"".join(b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in BEYOND.items())
            + b"content-length: 4\r\n\r\nfine"
        )
        await writer.drain()
        writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[Upstream, int]]:
    made = Upstream()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    yield made, server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def edge(district: District, upstream: tuple[Upstream, int]) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with two points: a window, and a clinic."""
    base = f"http://127.0.0.1:{upstream[1]}/app/"
    points = {"window": Point(WINDOW, base, False), "clinic": Point(CLINIC, base, True)}
    points["down"] = Point(WINDOW, "http://127.0.0.1:9", False)

    async def find(slug: str) -> Point | None:
        return points.get(slug)

    context = district.contexts["gateway"]
    receipt_check = ReceiptCheck(find, lambda: {KEY.id: KEY.receipt_secret})
    authenticate = outside_tokens(TrustedIssuers.of(context.settings))
    api = replace(API, fast_routes=lambda _: protected.routes(context, receipt_check), authenticate=authenticate)
    app = build(context.settings, api, context)
    app.add_middleware(ForwardAuth, receipt_check=receipt_check)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.fixture
def bearer(district: District) -> dict[str, str]:
    return {"authorization": f"Bearer {token(district)}"}


def token(district: District, role: Role = Role.RESIDENT, *residents: UUID) -> str:
    issuer = Issuer.from_files(district.contexts["gateway"].settings.keys)
    people = residents or (RESIDENT, CHILD)
    return issuer.issue(Actor("somebody", role, residents=people if role is Role.RESIDENT else ()), None, 3600)


def receipt(resident: UUID = RESIDENT, point: UUID = WINDOW, minutes_ago: float = 0, key: Key = KEY) -> dict[str, str]:
    decided = clock.now() - timedelta(minutes=minutes_ago)
    return {"x-visit-receipt": receipts.write(receipts.Receipt(resident, point, uuid4(), decided), key)}


@pytest.mark.parametrize("refusal", [Unauthenticated, Unavailable], ids=["a bad token", "the keys of its issuer away"])
async def test_care_waits_for_nobodys_token(refusal: type[Problem]) -> None:
    async def find(slug: str) -> Point:
        return Point(CLINIC, "http://127.0.0.1:9", medical=slug == "clinic")

    def identify() -> Actor:
        raise refusal()

    receipt_check = ReceiptCheck(find, dict)
    assert (await receipt_check.check(identify, "clinic", None, clock.now())).resident_id is None
    with pytest.raises(refusal):
        await receipt_check.check(identify, "window", None, clock.now())


async def test_with_a_receipt_the_request_goes_through(
    edge: httpx.AsyncClient, upstream: tuple[Upstream, int], bearer: dict[str, str]
) -> None:
    headers = bearer | receipt() | {"cookie": "c=d", "x-fangxian-resident": str(OTHER), "x-request-id": "mine-12345"}
    answer = await edge.post("/services/window/a%20b/c?d=%2Fe", content=b"hello", headers=headers)
    assert (answer.status_code, answer.text, answer.headers["location"]) == (303, "fine", "/there")
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-security-policy"].startswith("sandbox ")  # an origin of its own
    line, seen, body = upstream[0].seen[0]
    assert (line, body) == ("POST /app/a%20b/c?d=%2Fe HTTP/1.1", b"hello")
    assert seen["x-fangxian-resident"] == str(RESIDENT)
    assert seen["x-request-id"] == "mine-12345"
    assert not {"authorization", "cookie", "x-visit-receipt"} & seen.keys()
    assert (await edge.get("/services/window", headers=bearer | receipt(CHILD))).status_code == 303
    assert upstream[0].seen[1][0] == "GET /app/ HTTP/1.1"
    assert upstream[0].seen[1][1]["x-fangxian-resident"] == str(CHILD)


async def test_a_foreign_page_does_not_reach_ours(edge: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    worker = await edge.get("/services/clinic/sw.js", headers={"service-worker": "script"})
    assert (worker.status_code, worker.json()["code"]) == (404, "no_such_path")
    answer = await edge.get("/services/clinic/x", headers=bearer)
    assert not BEYOND.keys() & set(answer.headers)
    said = {"content-type": "text/html", "etag": '"1"', "cache-control": "max-age=5", "content-disposition": "inline"}
    assert said.items() <= dict(answer.headers).items()


@pytest.mark.parametrize(
    "path",
    [
        "a%2Fb",
        "a//b",
        "/a",
        "a%2fb//c%3Fd%23",
        "100%25",
        "a%252Fb",
        "%E5%81%A5%E5%BA%B7?q=%2F//",
        "a|b",
        "..a/b..",
        "~.;x",
    ],
)
async def test_a_path_reaches_the_service_as_it_was_sent(
    edge: httpx.AsyncClient, upstream: tuple[Upstream, int], path: str
) -> None:
    request = edge.build_request("GET", "/services/clinic/x")
    request.url = httpx.URL("http://gateway").copy_with(raw_path=f"/services/clinic/{path}".encode())
    assert request.url.raw_path.decode() == f"/services/clinic/{path}"
    assert (await edge.send(request)).status_code == 303
    assert upstream[0].seen[0][0] == f"GET /app/{path} HTTP/1.1"


@pytest.mark.parametrize(
    "path",
    [
        *(
            "%2e%2e/x",
            "a/%2E%2e/b",
            "..%2fx",
            "a%2f..%2fb",
            "%252e%252e/x",
            "..;a/x",
            "%2e%2e%3bx/y",
            "a%5cb",
            "a%0d%0ab",
        ),
        *("%2e/x", "%25252525252e", "%7f"),
    ],
)
async def test_a_path_leads_out_of_no_service(
    edge: httpx.AsyncClient, upstream: tuple[Upstream, int], path: str
) -> None:
    answer = await edge.get(f"/services/clinic/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_path")
    assert upstream[0].seen == []


async def test_a_slug_is_not_spelled_otherwise(edge: httpx.AsyncClient, upstream: tuple[Upstream, int]) -> None:
    for path in ("/services/clini%63/x", "/services/clinic%2Fx", "/services%2Fclinic/x"):
        assert (await edge.get(path)).status_code == 404
    assert upstream[0].seen == []


async def test_a_packed_body_passes_as_it_is(edge: httpx.AsyncClient, upstream: tuple[Upstream, int]) -> None:
    body = gzip.compress(b"x" * 5_000)
    headers = {
        "content-encoding": "gzip",
        "content-type": "text/plain",
        "accept": "text/event-stream",
        "upgrade": "h2c",
    }
    assert (await edge.post("/services/clinic/x", content=body, headers=headers)).status_code == 303
    _, seen, came = upstream[0].seen[0]
    assert (came, seen["content-encoding"], seen["content-type"]) == (body, "gzip", "text/plain")
    assert "upgrade" not in seen


REFUSED: dict[str, tuple[Callable[[], dict[str, str]], str]] = {
    "none": (dict, "receipt_missing"),
    "empty": (lambda: {"x-visit-receipt": ""}, "receipt_missing"),
    "of another person": (lambda: receipt(OTHER), "receipt_foreign"),
    "of another point": (lambda: receipt(point=ELSEWHERE), "receipt_foreign"),
    "of another key": (lambda: receipt(key=OTHER_KEY), "receipt_foreign"),
    "nonsense": (lambda: {"x-visit-receipt": "FXR.nonsense"}, "receipt_foreign"),
}
"""Written when they are shown: they last ten minutes, and a run takes longer."""


@pytest.mark.parametrize(("shown", "code"), REFUSED.values(), ids=REFUSED)
async def test_without_a_receipt_of_ones_own_it_does_not(
    edge: httpx.AsyncClient,
    upstream: tuple[Upstream, int],
    bearer: dict[str, str],
    shown: Callable[[], dict[str, str]],
    code: str,
) -> None:
    headers = bearer | shown()
    answer = await edge.get("/services/window/x", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, code)
    forward = await edge.get("/gateway/v1/forward-auth/window", headers=headers)
    assert (forward.status_code, forward.json()["code"]) == (403, code)
    assert upstream[0].seen == []


async def test_a_receipt_ends(edge: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    minutes = receipts.LASTS.total_seconds() / 60
    assert (
        await edge.get("/services/window/x", headers=bearer | receipt(minutes_ago=minutes - 0.5))
    ).status_code == 303
    answer = await edge.get("/services/window/x", headers=bearer | receipt(minutes_ago=minutes + 0.1))
    assert (answer.status_code, answer.json()["code"]) == (403, "receipt_expired")


async def test_seeking_care_is_open_to_everybody(
    district: District, edge: httpx.AsyncClient, upstream: tuple[Upstream, int], bearer: dict[str, str]
) -> None:
    assert (await edge.get("/services/clinic/x", headers=bearer)).status_code == 303
    assert upstream[0].seen[0][1]["x-fangxian-resident"] == str(RESIDENT)
    assert (await edge.get("/services/clinic/x", headers=bearer | receipt(OTHER))).status_code == 303
    doctor = {"authorization": f"Bearer {token(district, Role.VILLAGE_DOCTOR)}"}
    assert (await edge.get("/services/clinic/x", headers=doctor)).status_code == 303
    assert "x-fangxian-resident" not in upstream[0].seen[2][1]
    for nobody in ({}, {"authorization": "Bearer expired"}, {"authorization": "Basic x"}):
        said = nobody | {"x-fangxian-resident": str(OTHER)}
        assert (await edge.get("/services/clinic/x", headers=said)).status_code == 303
        assert "x-fangxian-resident" not in upstream[0].seen[-1][1]
        assert (await edge.get("/gateway/v1/forward-auth/clinic", headers=said)).status_code == 200
        assert (await edge.get("/services/window/x", headers=said | receipt())).status_code == 401
        assert (await edge.get("/services/nothing/x", headers=said)).status_code == 401


async def test_a_receipt_is_of_use_to_its_resident_only(district: District, edge: httpx.AsyncClient) -> None:
    for role in (Role.COMMAND, Role.DOORKEEPER, Role.MUNICIPAL):
        headers = {"authorization": f"Bearer {token(district, role)}"} | receipt()
        assert (await edge.get("/services/window/x", headers=headers)).json()["code"] == "receipt_foreign"


async def test_what_is_not_there_or_down(edge: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    assert (await edge.get("/services/nothing/x", headers=bearer | receipt())).json()["code"] == "not_found"
    assert (await edge.get("/services/down/x", headers=bearer | receipt())).json()["code"] == "upstream_failed"
    assert (await edge.get("/services/window/a/%2e%2e/b", headers=bearer | receipt())).json()["code"] == "no_such_path"


async def test_who_asks_for_a_proxy_cannot_name_another_point(edge: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    """A proxy passes on what the caller says: only its own configuration names the point."""
    said = {"x-service-point": "clinic", "x-original-uri": "/services/clinic/", "x-forwarded-uri": "/services/clinic/"}
    answer = await edge.get("/gateway/v1/forward-auth/window", headers=bearer | said)
    assert (answer.status_code, answer.json()["code"]) == (403, "receipt_missing")


async def test_the_gateway_asks_its_own_points_and_keys(district: District, upstream: tuple[Upstream, int]) -> None:
    from services.gateway.points.schemas import NewServicePoint
    from services.gateway.points.tables import PointRow
    from services.gateway.tokens.keys import Keys

    context = district.contexts["gateway"]
    url = f"http://127.0.0.1:{upstream[1]}/"
    asked = NewServicePoint(name="一号窗口", region="350582005001", slug="hall", upstream_url=url)
    async with context.system_unit_of_work() as uow:
        row = PointRow(region=asked.region)
        row.ask(asked)
        uow.add(row)
    resident = district.caller("gateway", Role.RESIDENT, residents=(RESIDENT,))
    assert (await resident.get("/services/hall/x")).json()["code"] == "receipt_missing"
    key = Keys.from_files(context.settings.keys).current
    assert (await resident.get("/services/hall/x", headers=receipt(point=row.id, key=key))).status_code == 303
    assert (await resident.get("/services/hall/x", headers=receipt(point=row.id, key=KEY))).status_code == 403
    async with context.system_unit_of_work() as uow:
        (await uow.lock(PointRow, row.id)).closed_at = uow.now
    assert (await resident.get("/services/hall/x", headers=receipt(point=row.id, key=key))).status_code == 404
    published = (await resident.get("/.well-known/jwks.json")).json()["keys"]
    assert key.id.hex() in {one["kid"] for one in published}
