"""G1: the edge. Who calls, and how a request reaches the service behind."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from services.gateway.edge.issuer import AUDIENCE, ISSUER, Issuer
from services.gateway.edge.paths import is_plain, upstream_path
from shared import clock
from shared.actors import Actor, Role
from shared.http.handlers import BrokenOff
from shared.problems import Unauthenticated
from tests.harness import District

REGIONS = "/registry/v1/regions/350582005"


@pytest.fixture
async def outside(district: District) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a token."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(district.apps["gateway"], raise_app_exceptions=False), base_url="http://gateway"
    ) as client:
        yield client


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", **headers}


async def token_of(outside: httpx.AsyncClient, **asked: object) -> str:
    answer = await outside.post("/gateway/v1/development/tokens", json=asked)
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "Bearer"
    return str(answer.json()["access_token"])


# Who calls ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [role for role in Role.ANYONE if role is not Role.RESIDENT], ids=lambda r: r.label)
async def test_a_token_says_role_scope_and_party(district: District, outside: httpx.AsyncClient, role: Role) -> None:
    token = await token_of(outside, role=role.label, region="350582", party="lab-1", subject="who")
    actor = Issuer.from_files(district.houses["gateway"].settings.keys).actor_of(token)
    assert actor == Actor("who", role, ("350582", "350582~"), party="lab-1")


async def test_a_resident_has_no_range_but_themselves(district: District, outside: httpx.AsyncClient) -> None:
    person = uuid4()
    token = await token_of(outside, role="resident", resident_id=str(person), region="350582")
    actor = Issuer.from_files(district.houses["gateway"].settings.keys).actor_of(token)
    assert (actor.residents, actor.range) == ((person,), ("~", ""))


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"role": "service"}, "role_unknown"),
        ({"role": "emperor"}, "role_unknown"),
        ({"role": "resident"}, "resident_needed"),
        ({"role": "command"}, "region_needed"),
        ({"role": "command", "region": "350582~"}, "string_pattern_mismatch"),
        ({"role": "command", "region": "", "lifetime_seconds": 43_201}, "less_than_equal"),
    ],
)
async def test_a_token_that_makes_no_sense_is_not_given(outside: httpx.AsyncClient, asked: object, code: str) -> None:
    answer = await outside.post("/gateway/v1/development/tokens", json=asked)
    assert answer.status_code == 422
    assert [error["code"] for error in answer.json()["errors"]] == [code]


async def test_production_has_no_development_issuer(district: District) -> None:
    from services.gateway.app import create_app

    app = create_app(district.database.settings("gateway", development_issuer=False), district.houses["gateway"])
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answer = await client.post("/gateway/v1/development/tokens", json={"role": "command", "region": ""})
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_path")


def claims(**changed: object) -> dict[str, object]:
    now = int(clock.now().timestamp())
    given = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "iat": now, "nbf": now, "exp": now + 600,
        "role": "command", "region": "350582005", "residents": [], "party": "",
    }  # fmt: skip
    return {name: value for name, value in {**given, **changed}.items() if value is not None}


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": 1},
        {"exp": None},
        {"nbf": 9_999_999_999, "exp": 9_999_999_999 + 60},
        {"exp": 9_999_999_999},
        {"iss": "elsewhere"},
        {"aud": "registry"},
        {"aud": None},
        {"role": "service"},
        {"role": "people"},
        {"role": None},
        {"residents": ["x"]},
        {"residents": 5},
    ],
    ids=str,
)
async def test_a_token_with_a_wrong_claim_is_nobodys(
    district: District, outside: httpx.AsyncClient, changed: dict[str, object]
) -> None:
    key = Issuer.from_files(district.houses["gateway"].settings.keys).key
    good = jwt.encode({"alg": "Ed25519"}, claims(), key, algorithms=["Ed25519"])
    assert (await outside.get(REGIONS, headers=bearer(good))).status_code == 200
    bad = jwt.encode({"alg": "Ed25519"}, claims(**changed), key, algorithms=["Ed25519"])
    answer = await outside.get(REGIONS, headers=bearer(bad))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_only_our_key_and_our_algorithm_sign(district: District, outside: httpx.AsyncClient) -> None:
    issuer = Issuer.from_files(district.houses["gateway"].settings.keys)
    public = json.dumps(issuer.public).encode()
    head = jwt.encode({"alg": "Ed25519"}, claims(), issuer.key, algorithms=["Ed25519"]).split(".")
    none = "eyJhbGciOiJub25lIn0." + head[1] + "."
    foreign = jwt.encode(
        {"alg": "Ed25519", "kid": issuer.key.kid}, claims(), OKPKey.generate_key("Ed25519"), algorithms=["Ed25519"]
    )
    confused = jwt.encode({"alg": "HS256"}, claims(), OctKey.import_key(public), algorithms=["HS256"])
    inside = district.houses["gateway"].signer.token_for("gateway", Actor("x", Role.COMMAND, ("", "~")))
    for token in (none, foreign, confused, inside, head[0] + "." + head[1] + ".", "x", "", "a" * 9_000, "é"):
        raw = [(b"authorization", b"Bearer " + token.encode()), (b"host", b"gateway")]
        answer = await outside.get(REGIONS, headers=raw)
        assert answer.json()["code"] == "unauthenticated", token[:40]
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_two_tokens_at_once_are_none(outside: httpx.AsyncClient) -> None:
    token = await token_of(outside, role="command", region="")
    headers = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]
    assert (await outside.get(REGIONS, headers=headers)).status_code == 401


def test_a_remembered_token_still_ends(district: District) -> None:
    issuer = Issuer.from_files(district.houses["gateway"].settings.keys)
    token = issuer.issue(Actor("x", Role.COMMAND, ("", "~")), "", 60)
    assert issuer.actor_of(token) is issuer.actor_of(token)
    clock.move(timedelta(seconds=61))
    with pytest.raises(Unauthenticated):
        issuer.actor_of(token)
    clock.move(timedelta(0))


async def test_what_is_internal_takes_internal_tokens_only(district: District, outside: httpx.AsyncClient) -> None:
    feed = "/internal/feed?types=gateway.code.v1"
    from_outside = await token_of(outside, role="command", region="")
    assert (await outside.get(feed, headers=bearer(from_outside))).status_code == 401
    service = district.houses["testing"].signer.token_for("gateway", Actor("service:testing", Role.SERVICE))
    assert (await outside.get(feed, headers=bearer(service))).status_code == 200


# Through to the services --------------------------------------------------------------------------------------------


async def test_a_request_passes_with_the_callers_scope_language_and_key(outside: httpx.AsyncClient) -> None:
    token = await token_of(outside, role="command", region="350582005")
    new = {"code": "35058200500177", "name": "第七片"}
    headers = bearer(token, **{"idempotency-key": "through-the-edge", "x-request-id": "asked-by-me-1"})
    made = await outside.post("/registry/v1/regions", json=new, headers=headers)
    assert made.status_code == 201, made.text
    assert made.headers.get_list("x-request-id") == ["asked-by-me-1"]
    assert made.headers.get_list("x-content-type-options") == ["nosniff"]
    again = await outside.post("/registry/v1/regions", json=new, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    found = await outside.get(made.headers["location"], headers=headers)
    assert found.json() == made.json()

    elsewhere = bearer(await token_of(outside, role="command", region="350582004"), **{"accept-language": "en"})
    refused = await outside.get("/registry/v1/regions/350582005", headers=elsewhere)
    assert (refused.status_code, refused.json()["title"]) == (404, "There is no such thing")


async def test_nobody_passes_without_a_token(outside: httpx.AsyncClient) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        answer = await outside.request(method, "/registry/v1/regions")
        assert answer.json()["code"] == "unauthenticated", method


DETOURS = [
    "/registry/../internal/feed",
    "/registry/v1/../../internal/feed",
    "/registry/%2e%2e/internal/feed",
    "/registry/v1/%2e%2e/%2e%2e/internal/feed",
    "/registry/v1/..%2f..%2finternal/feed",
    "/registry/v1/%252e%252e/%252e%252e/internal/feed",
    "/registry/v1/.%2e/x",
    "/registry/v1/..;x/..;x/internal/feed",
    "/registry//internal/feed",
    "/registry/v1//regions",
    "/registry/v1/./regions",
    "/registry/v1/%5c..%5cinternal",
    "/registry/v1/regions%0d%0ax",
    "/registry/internal/feed",
    "/metrics",
    "/metrics/gateway",
    "/registry/metrics",
    "/registry/metrics/gateway",
    "/registry/readyz",
    "/registry/openapi.json",
    "/registry/",
    "/registry/testing/v1/rolls",
    "/registry/V1/regions",
]


@pytest.mark.parametrize("path", DETOURS)
async def test_no_detour_leads_inside(district: District, outside: httpx.AsyncClient, path: str) -> None:
    token = await token_of(outside, role="command", region="")
    status, body = await raw_get(district, path, token)
    assert status == 404, body
    assert json.loads(body)["code"] == "no_such_path"


async def raw_get(district: District, path: str, token: str) -> tuple[int, bytes]:
    """A GET whose path no client has tidied up: the scope as a server would make it."""
    from urllib.parse import unquote

    sent: list[dict[str, object]] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"gateway"), (b"authorization", f"Bearer {token}".encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: object) -> None:
        sent.append(message)  # type: ignore[arg-type]

    await district.apps["gateway"](scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])  # type: ignore[misc]
    return sent[0]["status"], body  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("path", "passed"),
    [
        ("/testing/v1/rolls", "/testing/v1/rolls"),
        ("/testing/v1", "/testing/v1"),
        ("/testing/v1/rolls/", "/testing/v1/rolls/"),
        ("/testing/v1/a b/中?#", "/testing/v1/a%20b/%E4%B8%AD%3F%23"),
        ("/testing/v1/100%", "/testing/v1/100%25"),
        ("/registry/v1/rolls", None),
        ("/testing/v1/..", None),
        ("/testing/v1/a\x7f", None),
    ],
)
def test_paths(path: str, passed: str | None) -> None:
    assert upstream_path(path, "testing") == passed


def test_a_plain_path_has_no_detour() -> None:
    assert is_plain("/")
    assert is_plain("/a/b.c/..d/")
    assert not is_plain("//")
    assert not is_plain("/a//b")


class Upstream:
    """A service that answers what it is told to, over a real socket."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], int]] = []
        self.most_waiting = 0
        self.answers: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
            how = self.answers.pop(0) if self.answers else "ok"
            if how == "drop":
                self.seen.append((head[0], headers, 0))
                return
            size = 0
            remaining = int(headers.get("content-length", 0))
            while remaining:
                chunk = await reader.read(min(65_536, remaining))
                remaining -= len(chunk)
                size += len(chunk)
            self.seen.append((head[0], headers, size))
            if how == "hang":
                await asyncio.sleep(30)
            hop = b"Connection: close, x-secret\r\nx-secret: 1\r\nset-cookie: a=b\r\nserver: mine\r\n"
            if how == "break":
                writer.write(b"HTTP/1.1 200 OK\r\n" + hop + b"content-length: 100\r\n\r\nhalf")
                return
            writer.write(b"HTTP/1.1 200 OK\r\n" + hop + b"content-type: text/csv\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()
        finally:
            writer.close()


@pytest.fixture
async def upstream(district: District, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Upstream]:
    """A service of our own making in the place of testing."""
    made = Upstream()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        monkeypatch.setitem(district.houses["gateway"].peers._clients, "testing", client)
        yield made
    server.close()


async def test_what_passes_and_what_stays_behind(upstream: Upstream, outside: httpx.AsyncClient) -> None:
    token = await token_of(outside, role="sampler", region="350582005")
    headers = bearer(
        token,
        **{
            "accept-language": "en",
            "if-match": '"3"',
            "cookie": "c=d",
            "x-forwarded-for": "1.1.1.1",
            "x-deadline-ms": "9000",
        },
    )
    answer = await outside.get("/testing/v1/rolls?a=%2F&b=", headers=headers)
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "ok", "text/csv")
    for kept in ("x-secret", "set-cookie", "server"):
        assert kept not in answer.headers
    line, seen, _ = upstream.seen[0]
    assert line == "GET /testing/v1/rolls?a=%2F&b= HTTP/1.1"
    assert token not in seen["authorization"]
    assert (seen["accept-language"], seen["if-match"]) == ("en", '"3"')
    assert 0 < int(seen["x-deadline-ms"]) <= 9000
    assert seen["x-request-id"] == answer.headers["x-request-id"]
    assert not {"cookie", "x-forwarded-for"} & seen.keys()


async def test_a_lost_connection_is_tried_again_once_for_what_changes_nothing(
    upstream: Upstream, outside: httpx.AsyncClient
) -> None:
    headers = bearer(await token_of(outside, role="sampler", region="350582005"), **{"accept-language": "en"})
    upstream.answers = ["drop"]
    assert (await outside.get("/testing/v1/rolls", headers=headers)).text == "ok"
    assert len(upstream.seen) == 2
    upstream.answers = ["drop"]
    answer = await outside.post("/testing/v1/rolls", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_failed")
    assert answer.json()["title"] == "Another system failed to do its part"
    assert len(upstream.seen) == 3


async def test_half_an_answer_is_not_taken_for_a_whole_one(
    district: District, upstream: Upstream, outside: httpx.AsyncClient
) -> None:
    headers = bearer(await token_of(outside, role="sampler", region="350582005"))
    upstream.answers = ["break"]
    transport = httpx.ASGITransport(district.apps["gateway"], raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        with pytest.raises(BrokenOff):
            await client.get("/testing/v1/rolls", headers=headers)
    assert len(upstream.seen) == 1


async def test_a_service_that_hangs_is_given_up(upstream: Upstream, outside: httpx.AsyncClient) -> None:
    headers = bearer(await token_of(outside, role="sampler", region="350582005"), **{"x-deadline-ms": "200"})
    upstream.answers = ["hang"]
    answer = await outside.get("/testing/v1/rolls", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream_timeout")


async def test_a_service_that_is_down(outside: httpx.AsyncClient, district: District, monkeypatch) -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False) as client:
        monkeypatch.setitem(district.houses["gateway"].peers._clients, "observation", client)
        headers = bearer(await token_of(outside, role="sampler", region="350582005"))
        answer = await outside.get("/observation/v1/orders", headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (502, "另一系统未能完成")
    assert answer.headers["retry-after"] == "5"


async def test_an_upload_streams_through_in_bounded_memory(upstream: Upstream, outside: httpx.AsyncClient) -> None:
    import tracemalloc

    headers = bearer(await token_of(outside, role="command", region="350582005"))
    size = 64 << 20

    async def file() -> AsyncIterator[bytes]:
        chunk = bytes(1 << 16)
        for _ in range(size // len(chunk)):
            yield chunk

    tracemalloc.start()
    answer = await outside.post("/testing/v1/uploads", content=file(), headers={**headers, "content-length": str(size)})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 200
    assert upstream.seen[0][2] == size
    assert peak < 16 << 20


async def test_too_large_is_refused_without_reading_it(upstream: Upstream, outside: httpx.AsyncClient) -> None:
    headers = bearer(await token_of(outside, role="command", region=""), **{"content-length": str((256 << 20) + 1)})
    answer = await outside.post("/testing/v1/uploads", content=b"", headers=headers)
    assert answer.status_code == 413
    assert upstream.seen == []


async def test_figures_are_for_the_inside(district: District, outside: httpx.AsyncClient) -> None:
    """The gateway's own port is everybody's: its figures are asked for behind it, with a token of ours."""
    assert (await outside.get("/metrics")).status_code == 404
    assert (await outside.get("/internal/metrics")).status_code == 401
    token = await token_of(outside, role="command", region="")
    answer = await outside.get("/internal/metrics", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    for service in ("registry", "testing", "observation"):
        transport = httpx.ASGITransport(district.apps[service])
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{service}") as inside:
            own = await inside.get("/metrics")
            edge = await inside.get("/metrics/gateway")
        assert own.status_code == edge.status_code == 200, edge.text
        assert edge.headers["content-type"] == own.headers["content-type"]
        assert "fangxian_request_seconds_count" in edge.text
