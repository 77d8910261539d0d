"""One request is one message: how the server of every service reads what clients really send, at the socket."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from services.gateway.app import API
from shared.core.actors import Role
from shared.core.settings import SERVICES, Service
from shared.http import framing
from shared.problems import LANGUAGES, MEDIA_TYPE
from tests.harness import District
from tests.shared.fast_path_server import PATH, SECONDS, FastPathServer, answer, asked, line, served

H2C = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__")
WEBSOCKET = ("connection: keep-alive, upgrade", "upgrade: websocket", "sec-websocket-version: 13")
OFFERS = pytest.mark.parametrize(
    "offer", [H2C, WEBSOCKET, ("connection: upgrade", "upgrade: x/1")], ids=["h2c", "ws", "x"]
)


def chunked(said: Any, *more: str, path: str = PATH, trailers: tuple[str, ...] = ()) -> bytes:
    """A request whose body comes in pieces of three bytes."""
    body = json.dumps(said).encode()
    pieces = (body[at : at + 3] for at in range(0, len(body), 3))
    head = [f"POST {path} HTTP/1.1", "host: test", "content-type: application/json", "transfer-encoding: chunked"]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return "\r\n".join((*head, *more, "", "")).encode() + framed + "\r\n".join(("0", *trailers, "", "")).encode()


@OFFERS
@pytest.mark.parametrize("make", [asked, chunked], ids=["length", "chunked"])
async def test_a_request_that_offers_an_upgrade_is_read_with_its_body(
    server: FastPathServer, make: Any, offer: Any
) -> None:
    inside = asked("inside").decode()
    async with line(server) as (reader, writer):
        for said in ("one", inside, "three"):  # on one connection
            writer.write(make(said, *offer))
            assert (await answer(reader))[2]["said"] == said
        writer.write(make("a", *offer) + asked("b") + make(inside, *offer) + make("d") + asked("e", *offer))
        assert [(await answer(reader))[2]["said"] for _ in range(5)] == ["a", "b", inside, "d", "e"]
    assert server.statuses == [201] * 8


@OFFERS
async def test_a_question_that_offers_an_upgrade_is_answered_once(server: FastPathServer, offer: Any) -> None:
    asks = "\r\n".join(("GET /registry/v1/cold HTTP/1.1", "host: test", *offer, "", "")).encode()
    async with line(server) as (reader, writer):
        writer.write(asks + asks)
        assert [(await answer(reader))[2] for _ in range(2)] == ["cold", "cold"]
        writer.write(asked("next"))
        assert (await answer(reader))[2]["said"] == "next"


async def test_the_head_of_an_offer_is_remembered_as_any_other(server: FastPathServer) -> None:
    async with line(server) as (reader, writer):
        for said in ("one", "two", "six", "ten"):
            writer.write(asked(said, *H2C))
            assert (await answer(reader))[2] == {"way": "at once", "said": said}
    assert len(server.known) == 1


BODIES = some.one_of(some.integers(0, 9), some.sampled_from(["one", "a\r\n\r\nb", asked("one").decode()]))
WAYS = some.sampled_from([asked, chunked])
MORE = some.sampled_from([(), H2C, WEBSOCKET, ("x-a: 1",)])


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    some.lists(some.tuples(WAYS, BODIES, MORE), min_size=1, max_size=10),
    some.lists(some.integers(0, 3_000), max_size=8),
)
async def test_however_offers_come_each_body_is_its_own(
    server: FastPathServer, requests: list[tuple[Any, Any, tuple[str, ...]]], cuts: list[int]
) -> None:
    whole = b"".join(make(said, *more) for make, said, more in requests)
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    async with line(server) as (reader, writer):
        for start, end in itertools.pairwise(places):
            writer.write(whole[start:end])
            await writer.drain()
            await asyncio.sleep(0)
        answers = [await answer(reader) for _ in requests]
    assert [said["said"] for _, _, said in answers] == [said for _, said, _ in requests]


async def test_a_broken_body_of_an_offer_is_refused_and_nothing_of_it_is_a_request(server: FastPathServer) -> None:
    async with line(server) as (reader, writer):
        writer.write(chunked("x", *H2C).replace(b"3\r\n", b"no length\r\n", 1) + asked("never"))
        status, headers, said = await answer(reader)
        assert (status, said["code"], headers["connection"]) == (400, "malformed_request", "close")
        assert await asyncio.wait_for(reader.read(), SECONDS) == b""
    assert server.statuses == []


async def test_fields_after_the_body_are_ignored(server: FastPathServer) -> None:
    late = chunked("x", trailers=("accept: text/html", "x-request-id: late-1234", "content-type: text/xml", "host: b"))
    async with line(server) as (reader, writer):
        writer.write(late + asked("next"))
        status, headers, said = await answer(reader)
        assert (status, said["said"]) == (201, "x")
        assert headers["x-request-id"] != "late-1234"
        assert (await answer(reader))[2]["said"] == "next"


async def test_a_head_without_end_is_refused(server: FastPathServer) -> None:
    async with line(server) as (reader, writer):
        writer.write(b"GET /registry/v1/cold HTTP/1.1\r\nhost: test\r\n")
        await asyncio.sleep(0.02)
        for number in range(framing.HEAD_BYTES // 1_000 + 8):
            writer.write(b"x-%d: %b\r\n" % (number, b"x" * 990))
        await writer.drain()
        status, _, said = await answer(reader)
        assert (status, said["code"]) == (431, "headers_too_large")


async def test_an_application_that_waits_for_a_broken_body_does_not_answer_as_well(server: FastPathServer) -> None:
    async with line(server) as (reader, writer):
        writer.write(chunked("x" * 30, path="/registry/v1/cold/bodies")[:-20])
        await asyncio.sleep(0.05)  # it is being answered
        writer.write(b"no length\r\n")
        status, _, said = await answer(reader)
        assert (status, said["code"]) == (400, "malformed_request")
        assert await asyncio.wait_for(reader.read(), SECONDS) == b""


@dataclass
class Served:
    """One of the four services behind a socket, and a caller's token."""

    service: str
    port: int
    token: str

    def asked(self, said: Any, *more: str, method: str = "POST", version: str = "1.1", path: str = "") -> bytes:
        """A harmless request: what it says is refused by name, so an answer shows that the body was read."""
        path = path or f"/{self.service}/v1/retention"
        named = f"authorization: {self.token}", "idempotency-key: harmless-key"
        return asked(said, *named, *more, path=path, method=method, version=version)


@pytest.fixture(params=SERVICES)
async def service(request: pytest.FixtureRequest, district: District) -> AsyncIterator[Served]:
    async with district.caller(request.param, Role.COMMAND) as caller:
        probe = caller.build_request("GET", "/")
        for hook in caller.event_hooks["request"]:
            await hook(probe)
    async with served(district.apps[request.param]) as (_, port):
        yield Served(request.param, port, probe.headers["authorization"])


@dataclass
class Answered:
    """An answer as it came over the line."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json_body(self) -> Any:
        return json.loads(self.body)


async def answers(port: int, sent: bytes, *, bodies: bool = True) -> list[Answered]:
    """All answers to what is sent, until the server closes or has answered a last question of ours."""
    end = b"GET /livez HTTP/1.1\r\nhost: test\r\nx-request-id: the-last-one\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found: list[Answered] = []
    try:
        writer.write(sent + end)
        async with asyncio.timeout(SECONDS):
            while head := await _head(reader):
                start, *lines = head.decode().strip().split("\r\n")
                headers = dict(one.split(": ", 1) for one in lines)
                is_last = headers.get("x-request-id") == "the-last-one"
                size = int(headers.get("content-length", 0)) if bodies or is_last else 0
                found.append(Answered(int(start.split()[1]), headers, await reader.readexactly(size)))
                if is_last:
                    break
        return found
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial


def statuses(found: list[Answered]) -> list[int]:
    return [one.status for one in found]


@OFFERS
@pytest.mark.parametrize("way", ["length", "chunked"])
async def test_every_service_reads_the_body_of_a_request_that_offers_an_upgrade(
    service: Served, offer: tuple[str, ...], way: str
) -> None:
    one = service.asked({"harmless": 1}, *offer)
    if way == "chunked":
        head, _, _ = one.replace(b"content-length: 15", b"transfer-encoding: chunked").rpartition(b"{")
        one = head + _in_pieces({"harmless": 1})
    found = await answers(service.port, one + one)
    assert statuses(found) == [422, 422, 200]
    for refused in found[:2]:
        assert "#/harmless" in {fault.get("pointer") for fault in refused.json_body["errors"]}


def _in_pieces(said: Any) -> bytes:
    body = json.dumps(said).encode()
    return b"4\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (body[:4], len(body) - 4, body[4:])


GOOD, HOST = b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n", b"host: test\r\n"
REFUSED = {
    "no host": (b"GET /livez HTTP/1.1\r\n\r\n", 400, "host_invalid"),
    "two hosts": (b"GET /livez HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400, "host_invalid"),
    "two hosts in HTTP/1.0": (b"GET /livez HTTP/1.0\r\n" + HOST + HOST + b"\r\n", 400, "host_invalid"),
    "a host that is none": (b"GET /livez HTTP/1.1\r\nhost: a b\r\n\r\n", 400, "host_invalid"),
    "HTTP/2.0": (b"GET /livez HTTP/2.0\r\n" + HOST + b"\r\n", 505, "http_version_unsupported"),
    "HTTP/0.9": (b"GET /livez HTTP/0.9\r\n" + HOST + b"\r\n", 505, "http_version_unsupported"),
    "HTTP/1.2": (b"GET /livez HTTP/1.2\r\n" + HOST + b"\r\n", 400, "malformed_request"),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_request"),
    "gzip": (b"POST /livez HTTP/1.1\r\n" + HOST + b"transfer-encoding: gzip\r\n\r\n", 501, "transfer_coding_unknown"),
    "gzip, chunked": (
        b"POST /livez HTTP/1.1\r\n" + HOST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
        "transfer_coding_unknown",
    ),
    "gzip under an offer": (
        b"POST /livez HTTP/1.1\r\n"
        + HOST
        + "\r\n".join((*H2C, "transfer-encoding: gzip, chunked", "", "")).encode()
        + b"0\r\n\r\n",
        501,
        "transfer_coding_unknown",
    ),
    "chunked twice": (
        b"POST /livez HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "chunked in HTTP/1.0": (
        b"POST /livez HTTP/1.0\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "coding and length": (
        b"POST /livez HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "length and coding under an offer": (
        b"POST /livez HTTP/1.1\r\n"
        + HOST
        + "\r\n".join((*H2C, "content-length: 5", "transfer-encoding: chunked", "", "")).encode()
        + b"0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "two lengths": (
        b"POST /livez HTTP/1.1\r\n" + HOST + b"content-length: 5\r\n" * 2 + b"\r\nhello",
        400,
        "malformed_request",
    ),
    "a name that ends in a space": (b"GET /livez HTTP/1.1\r\nhost : test\r\n\r\n", 400, "malformed_request"),
    "a folded line": (b"GET /livez HTTP/1.1\r\nhost: a\r\n b\r\n\r\n", 400, "malformed_request"),
    "a method of nobody": (b"BREW /livez HTTP/1.1\r\n" + HOST + b"\r\n", 501, "method_unknown"),
    "CONNECT": (b"CONNECT test:80 HTTP/1.1\r\n" + HOST + b"\r\n", 501, "method_unknown"),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01", 400, "malformed_request"),
}


@pytest.mark.parametrize(("sent", "status", "code"), REFUSED.values(), ids=REFUSED)
async def test_every_service_refuses_what_breaks_http_with_a_problem_and_closes(
    service: Served, sent: bytes, status: int, code: str
) -> None:
    found = await answers(service.port, GOOD + sent)
    assert statuses(found) == [200, status]
    refused = found[1]
    assert (refused.json_body["code"], refused.json_body["status"]) == (code, status)
    assert (refused.headers["content-type"], refused.headers["connection"]) == (MEDIA_TYPE, "close")
    assert refused.json_body["request_id"] == refused.headers["x-request-id"]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_what_is_refused_before_the_application_is_said_in_the_callers_language(
    server: FastPathServer, language: str
) -> None:
    async with line(server) as (reader, writer):
        writer.write(f"GET / HTTP/1.1\r\naccept-language: {language}\r\n\r\n".encode())
        _, headers, said = await answer(reader)
    assert headers["content-language"] == language
    assert said["title"] == framing.HostInvalid.title.render(language)  # type: ignore[arg-type]


async def test_http_1_0_needs_no_host(service: Served) -> None:
    (only,) = await answers(service.port, b"GET /livez HTTP/1.0\r\n\r\n")
    assert (only.status, only.headers["connection"]) == (200, "close")


async def test_head_is_answered_as_get_without_the_body(service: Served) -> None:
    asks = [service.asked(None, method=method) for method in ("GET", "HEAD")]
    (shown, _), (head, last) = await answers(service.port, asks[0]), await answers(service.port, asks[1], bodies=False)
    assert (head.status, head.body, last.status) == (200, b"", 200)
    own = dict.fromkeys(("date", "x-request-id"))
    assert {**head.headers, **own} == {**shown.headers, **own}


@pytest.mark.parametrize("token", [True, False], ids=["with a token", "without"])
async def test_options_says_what_a_path_takes(service: Served, token: bool) -> None:
    path = f"/{service.service}/v1/retention"
    asks = service.asked(None, method="OPTIONS") if token else f"OPTIONS {path} HTTP/1.1\r\nhost: t\r\n\r\n".encode()
    known, _ = await answers(service.port, asks)
    assert (known.status, known.headers["allow"], known.body) == (204, "GET, POST, HEAD, OPTIONS", b"")
    unknown, _ = await answers(service.port, asks.replace(b"retention", b"nowhere", 1))
    assert (unknown.status, unknown.json_body["code"]) == (404, "no_such_path")
    all_of_it, _ = await answers(service.port, b"OPTIONS * HTTP/1.1\r\nhost: test\r\n\r\n")
    assert (all_of_it.status, all_of_it.body) == (204, b"")
    assert "PATCH" in all_of_it.headers["allow"]


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "DELETE"])
async def test_a_method_that_a_path_does_not_take_is_named_with_those_it_does(service: Served, method: str) -> None:
    refused, _ = await answers(service.port, service.asked(None, method=method))
    assert (refused.status, refused.json_body["code"]) == (405, "method_not_allowed")
    assert "GET" in refused.headers["allow"]


@pytest.mark.parametrize("more", [(), ("authorization: Bearer x",)], ids=["known", "a stranger"])
async def test_a_body_that_is_too_long_is_not_asked_for(service: Served, more: tuple[str, ...]) -> None:
    sent = service.asked({}, "expect: 100-continue", *more).replace(b"content-length: 2", b"content-length: 99999999")
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(sent[:-2])
    async with asyncio.timeout(SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "gateway"])
def test_the_edge_takes_bodies_as_long_as_the_services_behind_it(service: Service) -> None:
    behind = import_module(f"services.{service}.app").API
    assert set(behind.upload_paths) <= set(API.upload_paths)
    of_it = {path: most for path, most in API.body_bytes.items() if path.startswith(f"/{service}/")}
    assert of_it == dict(behind.body_bytes)


async def test_a_body_that_is_waited_for_is_asked_for(service: Served) -> None:
    sent = service.asked({"harmless": 1}, "expect: 100-continue")
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    async with asyncio.timeout(SECONDS):
        writer.write(sent[:-15])
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(sent[-15:])
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 422 ")
    writer.close()
