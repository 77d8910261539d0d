"""Hot routes as our own server answers them: at once where a request has come whole, in a task where it has not.

A head that has come before is not read again: what holds for the first request with it holds for the second.
"""

import asyncio
import itertools
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from starlette.types import Scope

from shared.actors import Role
from shared.http import handlers, heads, limits
from shared.http.hot import Answer, App, Hot, hot
from shared.http.protocol import HotProtocol
from shared.http.router import Router
from shared.problems import Conflict

PATH = "/registry/v1/hot"
MOST = 200
SECONDS = 5.0
KEEP_ALIVE_SECONDS = 1


class Place:
    """A server with one hot route, and what happened there."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[bytes]] = []
        self.statuses: list[int] = []
        self.port = 0
        self.server: uvicorn.Server | None = None
        self.app = self._app()

    async def handle(self, scope: Scope, body: bytes) -> Answer:
        """Does what the body says; tells whether it stands in a task."""
        asked = json.loads(body)
        if asked == "conflict":
            raise Conflict()
        if asked == "break":
            raise ValueError("Chen Dawen")
        if asked == "wait":
            self.waiting.append(asyncio.get_running_loop().create_future())
            body = await self.waiting[-1]
        way = "task" if asyncio.current_task() else "at once"
        return Answer(201, json.dumps({"way": way, "said": json.loads(body)}).encode())

    @property
    def known(self) -> list[bytes]:
        """The heads that are remembered, the oldest first."""
        return list(self.app.heads)

    def _app(self) -> App:
        router = Router(prefix=PATH, tags=["test"])

        @router.post("", role=Role.DOOR, status=201, client_ids=True, raises=[Conflict])
        async def echo() -> None:
            """Say what was said."""

        app = App()
        app.router.routes.append(hot(router, Hot(self.handle, MOST)))

        @app.get("/registry/v1/cold")
        async def cold() -> str:
            return "cold"

        app.surround(SECONDS, lambda _method, _path: lambda status, _seconds: self.statuses.append(status))
        handlers.install(app)
        limits.install(app, request_timeout_seconds=SECONDS)
        return app

    async def until(self, so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(5):
            while not so():  # noqa: ASYNC110 - what is waited for is uvicorn's, which sets no event
                await asyncio.sleep(0.001)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    there = Place()
    listener = socket.create_server(("127.0.0.1", 0))
    there.port = listener.getsockname()[1]
    config = uvicorn.Config(  # proxy headers would stand between the server and the application
        there.app,
        http=HotProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    there.server = uvicorn.Server(config)
    serving = asyncio.create_task(there.server.serve(sockets=[listener]))
    await there.until(lambda: bool(there.server and there.server.started))
    yield there
    there.server.should_exit = True
    await serving


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def line(place: Place) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def asked(said: Any, *more: str, path: str = PATH, method: str = "POST", version: str = "1.1") -> bytes:
    body = json.dumps(said).encode()
    head = [f"{method} {path} HTTP/{version}", "host: test", "content-type: application/json"]
    return "\r\n".join((*head, f"content-length: {len(body)}", *more, "", "")).encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    async with asyncio.timeout(5):
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        assert len(headers) == len(lines)  # none twice
        body = await reader.readexactly(int(headers["content-length"]))
    return int(start.split()[1]), headers, json.loads(body)


async def sent(place: Place, *parts: bytes) -> tuple[int, dict[str, str], Any]:
    """The answer to what is sent in these parts."""
    async with line(place) as (reader, writer):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        return await answer(reader)


known_or_not = pytest.mark.parametrize("is_known", [False, True], ids=["a new head", "a known head"])


async def learn(place: Place, is_known: bool, *more: str) -> None:
    """Let the head of what is as long as `wait` be known, or nothing at all."""
    if is_known:
        await sent(place, asked("noon", *more))
        assert asked("wait", *more).partition(b'"wait"')[0] in place.known


async def test_what_comes_whole_is_answered_at_once(place: Place) -> None:
    status, headers, said = await sent(place, asked("hello"))
    assert (status, said) == (201, {"way": "at once", "said": "hello"})
    assert re.fullmatch("[0-9a-f-]{36}", headers["x-request-id"])
    assert place.statuses == [201]


HELLO = asked("hello")
CHUNKED = HELLO.replace(b"content-length: 7", b"transfer-encoding: chunked").replace(b'"hello"', b'7\r\n"hello"\r\n')


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([HELLO[:9], HELLO[9:40], HELLO[40:]], id="in its head"),
        pytest.param([HELLO[:-7], HELLO[-7:]], id="before its body"),
        pytest.param([HELLO[:-3], HELLO[-3:]], id="in its body"),
        pytest.param([CHUNKED, b"0\r\n\r\n"], id="chunked"),
    ],
)
async def test_what_comes_in_pieces_is_answered_the_same(place: Place, parts: list[bytes]) -> None:
    whole, pieces = await sent(place, HELLO), await sent(place, *parts)
    in_its_head = parts[0] == HELLO[:9]  # then the last piece has all of the body
    way = "at once" if in_its_head else "task"
    assert (pieces[0], pieces[2]) == (201, {"way": way, "said": "hello"})
    own = ("date", "x-request-id", "content-length")
    assert {**pieces[1], **dict.fromkeys(own)} == {**whole[1], **dict.fromkeys(own)}


async def test_a_whole_chunked_body_is_as_good(place: Place) -> None:
    assert (await sent(place, CHUNKED + b"0\r\n\r\n"))[2] == {"way": "at once", "said": "hello"}


async def test_a_connection_is_kept_and_answers_in_order(place: Place) -> None:
    async with line(place) as (reader, writer):
        for number in range(3):
            writer.write(asked(number))
            assert (await answer(reader))[2] == {"way": "at once", "said": number}
        writer.write(
            asked("wait") + asked("second") + asked(None, path="/registry/v1/cold", method="GET") + asked("last")
        )
        await place.until(lambda: bool(place.waiting))
        await asyncio.sleep(0.02)
        place.waiting[0].set_result(b'"first"')
        answers = [await answer(reader) for _ in range(4)]
        assert [said for _, _, said in answers] == [
            {"way": "at once", "said": "first"},
            {"way": "task", "said": "second"},
            "cold",
            {"way": "task", "said": "last"},
        ]


async def test_a_known_head_is_answered_as_a_new_one(place: Place) -> None:
    new, known, other = (
        await sent(place, asked("one")),
        await sent(place, asked("two")),
        await sent(place, asked("six")),
    )
    assert len(place.known) == 1
    assert [said for _, _, said in (new, known, other)] == [
        {"way": "at once", "said": x} for x in ("one", "two", "six")
    ]
    own = ("date", "x-request-id")
    assert {**new[1], **dict.fromkeys(own)} == {**known[1], **dict.fromkeys(own)}
    assert len({headers["x-request-id"] for _, headers, _ in (new, known, other)}) == 3
    assert place.statuses == [201, 201, 201]


async def test_a_request_id_of_the_caller_stays_with_a_known_head(place: Place) -> None:
    request_ = asked("x", "x-request-id: hop-1234")
    assert [(await sent(place, request_))[1]["x-request-id"] for _ in range(2)] == ["hop-1234"] * 2


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(asked("x", "connection: close"), id="the connection ends"),
        pytest.param(asked("x", version="1.0"), id="HTTP/1.0"),
        pytest.param(CHUNKED + b"0\r\n\r\n", id="chunked"),
        pytest.param(asked("x", "accept: text/html"), id="refused"),
        pytest.param(asked("x").replace(b"/json", b"/xml"), id="no JSON"),
        pytest.param(asked("x", "x-long: " + "x" * heads.LONGEST_BYTES), id="long"),
        pytest.param(b"\r\n\r\n" + asked("x"), id="after empty lines"),
        pytest.param(asked(None, path="/registry/v1/cold", method="GET"), id="not hot"),
    ],
)
async def test_a_head_is_not_remembered(place: Place, request_: bytes) -> None:
    answers = [await sent(place, request_) for _ in range(2)]
    assert place.known == []
    assert answers[0][0] == answers[1][0]


async def test_of_many_heads_the_oldest_are_forgotten(place: Place) -> None:
    async with line(place) as (reader, writer):
        for number in range(heads.MOST + 2):
            writer.write(asked("x", f"x-number: {number}"))
            assert (await answer(reader))[0] == 201
    assert len(place.known) == heads.MOST
    assert b"x-number: 2\r\n" in place.known[0]


async def test_a_connection_is_closed_when_it_is_quiet_and_not_while_it_is_used(place: Place) -> None:
    async with line(place) as (reader, writer):
        for _ in range(3):
            writer.write(asked("wait"))
            await place.until(lambda: bool(place.waiting))
            await asyncio.sleep(KEEP_ALIVE_SECONDS * 1.2)
            place.waiting.pop().set_result(b"1")
            assert (await answer(reader))[0] == 201
        began = time.monotonic()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert KEEP_ALIVE_SECONDS * 0.9 < time.monotonic() - began < KEEP_ALIVE_SECONDS * 1.5


@known_or_not
async def test_who_asks_again_before_the_answer_has_it_after(place: Place, is_known: bool) -> None:
    await learn(place, is_known)
    async with line(place) as (reader, writer):
        writer.write(asked("wait"))
        await place.until(lambda: bool(place.waiting))
        writer.write(asked("next"))
        await asyncio.sleep(0.05)
        assert len(place.statuses) == is_known  # the one it was learned from
        place.waiting[0].set_result(b'"first"')
        assert [(await answer(reader))[2]["said"] for _ in range(2)] == ["first", "next"]


async def test_what_looks_like_a_request_within_another_is_none(place: Place) -> None:
    known = asked("x")
    await sent(place, known)
    async with line(place) as (reader, writer):
        writer.write(b"POST /registry/v1/cold HTTP/1.1\r\nx-note: ")
        await asyncio.sleep(0.02)
        writer.write(known)
        assert (await answer(reader))[0] == 405  # the known one is a note and the rest of its head
        writer.write(asked("next"))
        assert (await answer(reader))[2]["said"] == "next"
    assert place.statuses == [201, 201]


SAID = some.one_of(
    some.integers(0, 9),
    some.sampled_from(["one", "two", "a\r\n\r\nb", asked("one").decode(), asked("x", "accept: a/b").decode()]),
)
"""Also what looks like the end of a head, or like a request."""
HEADS = some.sampled_from([(), ("x-a: 1",), ("x-a: 2", "accept-language: en")])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(some.lists(some.tuples(SAID, HEADS), min_size=1, max_size=12), some.lists(some.integers(0, 2_000), max_size=8))
async def test_however_it_comes_each_is_answered_in_its_turn(
    place: Place, requests: list[tuple[Any, tuple[str, ...]]], cuts: list[int]
) -> None:
    whole = b"".join(asked(said, *more) for said, more in requests)
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    async with line(place) as (reader, writer):
        for start, end in itertools.pairwise(places):
            writer.write(whole[start:end])
            await writer.drain()
            await asyncio.sleep(0)
        answers = [await answer(reader) for _ in requests]
    assert [said["said"] for _, _, said in answers] == [said for said, _ in requests]


async def test_thousands_in_one_piece_are_answered_in_order(place: Place) -> None:
    async with line(place) as (reader, writer):
        writer.write(b"".join(map(asked, range(3_000))))
        assert [(await answer(reader))[2]["said"] for _ in range(3_000)] == list(range(3_000))


@pytest.mark.parametrize(
    "request_", [asked(1, "connection: close"), asked(1, version="1.0")], ids=["close asked for", "HTTP/1.0"]
)
async def test_a_connection_ends_when_the_caller_wants_it(place: Place, request_: bytes) -> None:
    async with line(place) as (reader, writer):
        writer.write(request_)
        status, headers, _ = await answer(reader)
        assert (status, headers["connection"]) == (201, "close")
        assert await asyncio.wait_for(reader.read(), 5) == b""


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        pytest.param(asked("conflict"), 409, "conflict", id="a problem"),
        pytest.param(asked("break"), 500, "internal_error", id="a fault of ours"),
        pytest.param(asked("x" * MOST), 413, "payload_too_large", id="too long"),
        pytest.param(asked("x", "content-encoding: gzip"), 415, "unsupported_encoding", id="compressed"),
        pytest.param(asked("x").replace(b"/json", b"/xml"), 415, "unsupported_media_type", id="no JSON"),
        pytest.param(asked("x", "accept: text/html"), 406, "not_acceptable", id="another answer wanted"),
        pytest.param(asked("x", *[f"x-{n}: 1" for n in range(100)]), 431, "headers_too_large", id="many headers"),
        pytest.param(asked("x").replace(b" HTTP", b"?q=%ff HTTP"), 400, "malformed_url", id="no UTF-8 in its URL"),
    ],
)
async def test_a_problem_is_the_same_either_way(place: Place, request_: bytes, status: int, code: str) -> None:
    request_ = request_.replace(b"\r\n", b"\r\nx-request-id: hop-1234\r\n", 1)
    whole, pieces = await sent(place, request_), await sent(place, request_[:-2], request_[-2:])
    assert (whole[0], whole[2]["code"], whole[2]["request_id"]) == (status, code, "hop-1234")
    assert whole[1]["content-type"] == "application/problem+json"
    assert {**whole[1], "date": ""} == {**pieces[1], "date": ""}
    assert whole[2] == pieces[2]
    assert place.statuses == [status, status]


async def test_100_continue_is_said_before_the_body(place: Place) -> None:
    request_ = asked("hello", "expect: 100-continue")
    async with line(place) as (reader, writer):
        writer.write(request_[:-7])
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(request_[-7:])
        assert (await answer(reader))[2] == {"way": "task", "said": "hello"}


@pytest.mark.parametrize("cut", [0, 2], ids=["at once", "in a task"])
@known_or_not
async def test_its_time_ends(place: Place, cut: int, is_known: bool) -> None:
    await learn(place, is_known, "x-deadline-ms: 100")
    request_ = asked("wait", "x-deadline-ms: 100")
    parts = [request_[:-cut], request_[-cut:]] if cut else [request_]
    status, _, said = await sent(place, *parts)
    assert (status, said["code"]) == (504, "upstream_timeout")
    assert place.waiting[0].cancelled()
    assert place.statuses[-1] == 504


@known_or_not
async def test_a_later_request_has_a_time_of_its_own(place: Place, is_known: bool) -> None:
    await learn(place, is_known)
    await learn(place, is_known, "x-deadline-ms: 200")
    async with line(place) as (reader, writer):
        for _ in range(2):
            writer.write(asked("wait"))
            await place.until(lambda: bool(place.waiting))
            place.waiting.pop().set_result(b"1")
            assert (await answer(reader))[0] == 201
            writer.write(asked("wait", "x-deadline-ms: 200"))
            assert (await answer(reader))[0] == 504
            place.waiting.clear()


@known_or_not
async def test_a_caller_that_leaves_is_not_written_to(place: Place, is_known: bool) -> None:
    await learn(place, is_known)
    before = len(place.statuses)
    async with line(place) as (_, writer):
        writer.write(asked("wait"))
        await place.until(lambda: bool(place.waiting))
    await place.until(lambda: not (place.server and place.server.server_state.connections))
    place.waiting[0].set_result(b"1")
    await place.until(lambda: len(place.statuses) > before)
    assert (await sent(place, asked("next")))[2]["said"] == "next"


@known_or_not
async def test_a_server_that_stops_answers_what_it_has(place: Place, is_known: bool) -> None:
    await learn(place, is_known)
    async with line(place) as (reader, writer):
        writer.write(asked("wait"))
        await place.until(lambda: bool(place.waiting))
        assert place.server is not None
        place.server.should_exit = True
        await asyncio.sleep(0.3)
        place.waiting[0].set_result(b'"still"')
        status, headers, said = await answer(reader)
        assert (status, headers["connection"], said["said"]) == (201, "close", "still")


async def test_what_is_no_http_is_refused(place: Place) -> None:
    async with line(place) as (reader, writer):
        writer.write(asked("x")[:-3] + b"no http at all\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1")
    assert (await sent(place, asked("next")))[2]["said"] == "next"
