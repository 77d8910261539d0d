"""What surrounds a request: its id, its limits, its deadline, and the last resort. Over HTTP, and as raw ASGI."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI, Request, Response
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Scope

from shared.http import handlers, limits
from shared.http.limits import accepts, check_accept, check_content_type, remaining_seconds
from shared.problems import Conflict

UUID7 = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"


def add_answers(app: FastAPI) -> None:
    @app.post("/registry/v1/echo")
    @app.post("/registry/v1/uploads")
    async def echo(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/registry/v1/things")
    async def things(request: Request) -> dict[str, Any]:
        said = structlog.contextvars.get_contextvars()
        return {"id": request.state.request_id, "logged": said["request_id"], "left": remaining_seconds(request.scope)}

    @app.get("/registry/v1/cached")
    async def cached() -> Response:
        return Response("x", headers={"Cache-Control": "max-age=60"})

    @app.get("/registry/v1/page")
    async def page() -> Response:
        return Response(
            "x", headers={"Content-Security-Policy": "default-src 'self'", "Referrer-Policy": "same-origin"}
        )

    @app.get("/foreign/page")
    async def foreign() -> Response:
        return Response("<p>")

    @app.post("/registry/v1/typed")
    async def typed(request: Request) -> None:
        check_content_type(request, ["application/json", "text/csv"])

    @app.get("/registry/v1/csv")
    async def csv(request: Request) -> Response:
        check_accept(request, ["text/csv"])
        return Response("a,b", media_type="text/csv")


def add_failures(app: FastAPI) -> None:
    @app.get("/registry/v1/slow")
    async def slow() -> None:
        await asyncio.sleep(30)

    @app.get("/registry/v1/stubborn")
    async def stubborn() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            raise Conflict() from None

    @app.get("/registry/v1/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            raise ValueError("Chen Dawen")

        return StreamingResponse(parts())


async def fast(request: Request) -> JSONResponse:
    if request.query_params.get("fail"):
        raise ValueError("Chen Dawen")
    return JSONResponse({"bytes": len(await request.body())})


def make_app(**options: Any) -> FastAPI:
    app = FastAPI()
    add_answers(app)
    add_failures(app)
    app.router.routes.append(Route("/registry/v1/hot", fast, methods=["POST"]))
    handlers.install(app)
    settings: dict[str, Any] = {"request_timeout_seconds": 5, "upload_paths": ["/registry/v1/uploads"]} | options
    limits.install(app, **settings)
    return app


def client(**options: Any) -> httpx.AsyncClient:
    headers = {"accept-language": "en"}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(make_app(**options)), base_url="http://test", headers=headers
    )


async def raw(
    app: Any, method: str = "GET", path: str = "/registry/v1/things", **changes: Any
) -> tuple[int, dict[str, str], bytes]:
    """One request as a server would pass it on, so that also what no client sends can be sent."""
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [],
        "state": {},
        "server": ("test", 80),
        "client": ("127.0.0.1", 1),
    }
    chunks: list[bytes] = changes.pop("chunks", [b""])
    scope.update(changes)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


async def test_every_answer_carries_its_request_id() -> None:
    async with client() as http:
        given = await http.get("/registry/v1/things", headers={"X-Request-Id": "hop-1234"})
        made = [
            await http.get("/registry/v1/things", headers={"X-Request-Id": bad})
            for bad in ("short", "x" * 65, "a b c d e")
        ]
        missing = await http.get("/nowhere")
    assert given.headers["x-request-id"] == given.json()["id"] == given.json()["logged"] == "hop-1234"
    for response in made:
        assert response.headers["x-request-id"] == response.json()["logged"]
        assert re.match(UUID7, response.headers["x-request-id"])
    assert missing.json()["request_id"] == missing.headers["x-request-id"]
    assert structlog.contextvars.get_contextvars() == {}


async def test_answers_are_not_kept_unless_they_say_so() -> None:
    async with client() as http:
        plain = await http.get("/registry/v1/things")
        cached = await http.get("/registry/v1/cached")
    assert (plain.headers["cache-control"], plain.headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert cached.headers.get_list("cache-control") == ["max-age=60"]


@pytest.mark.parametrize(
    ("path", "policy", "referrer"),
    [
        ("/registry/v1/things", "default-src 'none'; frame-ancestors 'none'", "no-referrer"),
        ("/registry/v1/nothing", "default-src 'none'; frame-ancestors 'none'", "no-referrer"),
        ("/registry/v1/page", "default-src 'self'", "same-origin"),
        ("/foreign/page", None, None),
    ],
    ids=["answer", "problem", "page-of-its-own", "foreign"],
)
async def test_a_browser_makes_no_page_of_an_answer(path: str, policy: str | None, referrer: str | None) -> None:
    async with client(foreign_paths=["/foreign/"]) as http:
        headers = (await http.get(path)).headers
    expected = [[] if said is None else [said] for said in (policy, referrer)]
    assert [headers.get_list("content-security-policy"), headers.get_list("referrer-policy")] == expected


@pytest.mark.parametrize("path", ["/registry/v1/echo", "/registry/v1/hot"])
async def test_a_long_body_is_413_however_it_comes(path: str) -> None:
    app = make_app()
    chunk = b"x" * 65_536
    ways: list[dict[str, Any]] = [
        {"headers": [(b"content-length", b"1048577")]},
        {"headers": [(b"content-length", b"9" * 400)]},
        {"headers": [(b"transfer-encoding", b"chunked")], "chunks": [chunk] * 17},
        {"headers": [(b"content-length", b"5")], "chunks": [chunk] * 17},
    ]
    for way in ways:
        status, headers, body = await raw(app, "POST", path, **way)
        assert (status, headers["connection"], json.loads(body)["code"]) == (413, "close", "payload_too_large")
    status, _, body = await raw(app, "POST", path, chunks=[chunk] * 16)
    assert (status, json.loads(body)) == (200, {"bytes": 1 << 20})


async def test_uploads_may_be_longer() -> None:
    status, _, body = await raw(make_app(), "POST", "/registry/v1/uploads", chunks=[b"x" * 65_536] * 17)
    assert (status, json.loads(body)) == (200, {"bytes": 17 * 65_536})


async def test_headers_have_limits() -> None:
    app = make_app()
    many = [(b"x-%d" % n, b"1") for n in range(101)]
    status, _, body = await raw(app, headers=many)
    assert (status, json.loads(body)["code"]) == (431, "headers_too_large")
    assert (await raw(app, headers=many[:100]))[0] == 200
    assert (await raw(app, headers=[(b"x", b"y" * 16_380)]))[0] == 431
    assert (await raw(app, headers=[(b"x", b"y" * 16_300)]))[0] == 200


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/registry/v1/things", b"a=" + b"x" * 8_192, 414),
        ("/registry/v1/" + "x" * 8_192, b"", 414),
        ("/registry/v1/things", b"a=%00", 400),
        ("/registry/v1/things", b"a=%ff", 400),
        ("/registry/v1/things", b"a=\xff", 400),
        ("/registry/v1/things", b"a=%E4&b=%B8%AD", 400),
        ("/registry/v1/things%00", b"", 400),
        ("/registry/v1/%C3%28", b"", 400),
        ("/registry/v1/things", b"a=%E4%B8%AD", 200),
        ("/registry/v1/%E4%B8%AD", b"", 404),
    ],
)
async def test_addresses_have_limits(path: str, query: bytes, status: int) -> None:
    found, headers, body = await raw(make_app(), path=path, query_string=query)
    assert found == status
    if status != 200:
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["status"] == status


async def test_compressed_bodies_are_415() -> None:
    async with client() as http:
        gzip = await http.post("/registry/v1/echo", content=b"x", headers={"Content-Encoding": "gzip"})
        plain = await http.post("/registry/v1/echo", content=b"x", headers={"Content-Encoding": "identity"})
    assert (gzip.status_code, gzip.json()["code"], gzip.headers["accept-encoding"]) == (
        415,
        "unsupported_encoding",
        "identity",
    )
    assert plain.status_code == 200


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("*/*", True),
        ("application/json", True),
        ("APPLICATION/JSON; charset=utf-8", True),
        ("application/*;q=0.1", True),
        ("application/problem+json", True),
        ("text/html, */*;q=0.1", True),
        ("text/html", False),
        ("application/xml", False),
        ("application/json;q=0", False),
        ("*/*;q=0", False),
        ("*/*, application/json;q=0, application/problem+json;q=0.0", False),
        ("nonsense", False),
        ("*/*;q=.", True),
    ],
)
def test_accept_is_negotiated(accept: str, taken: bool) -> None:
    assert accepts(accept.encode(), limits.OFFERED) is taken


async def test_what_excludes_json_is_406_below_the_api_only() -> None:
    async with client() as http:
        refused = await http.get("/registry/v1/things", headers={"Accept": "text/html"})
        docs = await http.get("/docs", headers={"Accept": "text/html"})
        csv = await http.get("/registry/v1/csv", headers={"Accept": "text/csv"})
        not_csv = await http.get("/registry/v1/csv", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")
    assert (docs.status_code, csv.status_code, not_csv.status_code) == (200, 200, 406)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ('application/json; charset="utf-8"', 200),
        ("text/csv; charset=gb18030", 200),
        ("application/json; charset=gbk", 415),
        ("text/plain", 415),
        ("", 415),
        ("application/json-patch", 415),
    ],
)
async def test_content_types_are_checked(content_type: str, status: int) -> None:
    async with client() as http:
        response = await http.post("/registry/v1/typed", content=b"{}", headers={"Content-Type": content_type})
    assert response.status_code == status
    if status == 415:
        assert response.headers["accept"] == "application/json, text/csv"


@pytest.mark.parametrize(
    ("asked", "most", "least"),
    [
        (None, 5.0, 1.0),
        ("1000", 1.0, 0.0),
        ("99000", 5.0, 1.0),
        ("-5", 5.0, 1.0),
        ("1e3", 5.0, 1.0),
        ("9" * 30, 5.0, 1.0),
    ],
)
async def test_a_request_knows_its_remaining_time(asked: str | None, most: float, least: float) -> None:
    async with client() as http:
        response = await http.get("/registry/v1/things", headers={"X-Deadline-Ms": asked} if asked else {})
    assert least < response.json()["left"] <= most


async def test_an_overdue_request_is_cancelled() -> None:
    began = time.monotonic()
    async with client() as http:
        slow = await http.get("/registry/v1/slow", headers={"X-Deadline-Ms": "50"})
        stubborn = await http.get("/registry/v1/stubborn", headers={"X-Deadline-Ms": "50"})
        none = await http.get("/registry/v1/slow", headers={"X-Deadline-Ms": "0"})
    assert time.monotonic() - began < 30, "which the first alone would have taken"
    assert (slow.status_code, slow.json()["code"], slow.headers["retry-after"]) == (504, "upstream_timeout", "1")
    assert (stubborn.status_code, none.status_code) == (409, 504)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_caller_who_cancels_is_not_told_of_a_deadline() -> None:
    task = asyncio.create_task(raw(make_app(), path="/registry/v1/slow"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_timeouts_can_differ_by_path() -> None:
    async with client(timeouts={"/registry/v1/slow": 0.05}) as http:
        assert (await http.get("/registry/v1/slow")).status_code == 504


async def test_the_last_resort_also_stands_behind_hot_routes() -> None:
    with structlog.testing.capture_logs() as logged:
        async with client() as http:
            response = await http.post("/registry/v1/hot?fail=1", headers={"X-Request-Id": "hop-1234"})
    assert (response.status_code, response.json()["request_id"]) == (500, "hop-1234")
    assert set(response.json()) == {"type", "title", "status", "detail", "code", "request_id"}
    assert [entry["request_id"] for entry in logged] == ["hop-1234"]
    assert "Chen" not in response.text + str(logged)


async def test_an_answer_that_breaks_off_cuts_the_connection_and_says_nothing() -> None:
    with structlog.testing.capture_logs() as logged, pytest.raises(handlers.BrokenOff) as caught:
        await raw(make_app(), path="/registry/v1/half")
    assert caught.value.__suppress_context__
    assert [entry["event"] for entry in logged] == ["answer_broken_off"]
    assert "Chen" not in str(logged)


async def test_head_answers_as_get_without_a_body() -> None:
    async with client() as http:
        head = await http.head("/registry/v1/things")
        wrong = await http.head("/registry/v1/echo")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    assert wrong.status_code == 405


async def test_what_is_measured_is_the_answer() -> None:
    seen: list[tuple[str, int]] = []
    async with client(observe=lambda scope, status, seconds: seen.append((scope["path"], status))) as http:
        await http.get("/registry/v1/things")
        await http.get("/registry/v1/things", headers={"Accept": "text/html"})
        await http.get("/nowhere")
    assert seen == [("/registry/v1/things", 200), ("/registry/v1/things", 406), ("/nowhere", 404)]


async def test_a_caller_who_hangs_up_is_no_fault_of_ours() -> None:
    async def hang_up() -> Message:
        return {"type": "http.disconnect"}

    app = make_app()
    scope: Scope = {"type": "http", "method": "POST", "path": "/registry/v1/hot", "raw_path": b"/registry/v1/hot"}
    scope |= {"query_string": b"", "headers": [], "root_path": "", "state": {}}

    async def send(message: Message) -> None: ...

    with structlog.testing.capture_logs() as logged:
        await app(scope, hang_up, send)
    assert logged == []
