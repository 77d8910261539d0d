"""A connection to a hot route: in order, in turn, no longer than needed, and gone at its end."""

import asyncio
import time
from typing import Any

import pytest
import uvloop

from shared.http.protocol import FastPathProtocol
from shared.problems import MEDIA_TYPE
from tests.shared.fast_path_server import (
    CHUNKED,
    KEEP_ALIVE_SECONDS,
    MOST,
    PATH,
    FastPathServer,
    answer,
    asked,
    known_or_not,
    learn,
    line,
    open_server,
    sent,
)


async def test_a_connection_is_kept_and_answers_in_order(server: FastPathServer) -> None:
    async with line(server) as (reader, writer):
        for number in range(3):
            writer.write(asked(number))
            assert (await answer(reader))[2] == {"way": "at once", "said": number}
        writer.write(
            asked("wait") + asked("second") + asked(None, path="/registry/v1/cold", method="GET") + asked("last")
        )
        await server.until(lambda: bool(server.waiting))
        await asyncio.sleep(0.02)
        server.waiting[0].set_result(b'"first"')
        answers = [await answer(reader) for _ in range(4)]
        assert [said for _, _, said in answers] == [
            {"way": "at once", "said": "first"},
            {"way": "task", "said": "second"},
            "cold",
            {"way": "task", "said": "last"},
        ]


@known_or_not
async def test_one_of_a_piece_is_answered_at_once_and_the_others_take_turns(
    server: FastPathServer, is_known: bool
) -> None:
    """Or one connection would keep the loop from all others for as long as its piece is."""
    await learn(server, is_known)
    async with line(server) as (reader, writer):
        writer.write(asked("noon") + asked("dusk") + asked("dawn"))
        ways = [(await answer(reader))[2]["way"] for _ in range(3)]
    assert ways == ["at once", "task", "task"]


async def test_a_connection_is_closed_when_it_is_quiet_and_not_while_it_is_used(server: FastPathServer) -> None:
    async with line(server) as (reader, writer):
        for _ in range(2):
            writer.write(asked("wait"))
            await server.until(lambda: bool(server.waiting))
            await asyncio.sleep(KEEP_ALIVE_SECONDS * 1.2)
            began = time.monotonic()  # before the answer, from which on it is quiet
            server.waiting.pop().set_result(b"1")
            assert (await answer(reader))[0] == 201
        assert await asyncio.wait_for(reader.read(), 30) == b""
        assert time.monotonic() - began > KEEP_ALIVE_SECONDS * 0.9


@known_or_not
async def test_who_asks_again_before_the_answer_has_it_after(server: FastPathServer, is_known: bool) -> None:
    await learn(server, is_known)
    async with line(server) as (reader, writer):
        writer.write(asked("wait"))
        await server.until(lambda: bool(server.waiting))
        writer.write(asked("next"))
        await asyncio.sleep(0.05)
        assert len(server.statuses) == 2 * is_known  # those it was learned from
        server.waiting[0].set_result(b'"first"')
        assert [(await answer(reader))[2]["said"] for _ in range(2)] == ["first", "next"]


@known_or_not
@pytest.mark.parametrize(
    ("behind", "status"),
    [
        (asked("x").replace(b"content-length: 3", b"transfer-encoding: gzip"), 501),
        (CHUNKED.replace(b"7\r\n", b"no length\r\n"), 400),
        (b"no http at all\r\n\r\n", 400),
    ],
    ids=["an unknown coding", "a broken body", "no HTTP"],
)
async def test_what_is_refused_behind_one_that_waits_is_answered_after_it(
    server: FastPathServer, is_known: bool, behind: bytes, status: int
) -> None:
    await learn(server, is_known)
    async with line(server) as (reader, writer):
        writer.write(asked("wait"))
        await server.until(lambda: bool(server.waiting))
        writer.write(behind)
        await asyncio.sleep(0.05)
        writer.write(asked("never read"))
        server.waiting[0].set_result(b'"first"')
        assert (await answer(reader))[2]["said"] == "first"
        refused, headers, _ = await answer(reader)
        assert (refused, headers["content-type"], headers["connection"]) == (status, MEDIA_TYPE, "close")
        assert await asyncio.wait_for(reader.read(), 5) == b""


@pytest.mark.parametrize("more", [(), ("connection: close",)], ids=["to be kept", "asked to close"])
async def test_what_says_that_it_closes_does(server: FastPathServer, more: tuple[str, ...]) -> None:
    async with line(server) as (reader, writer):
        writer.write(asked("x" * MOST, *more) + asked("next"))
        status, headers, _ = await answer(reader)
        assert (status, headers["connection"]) == (413, "close")
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert server.statuses == [413]


LONG = 3 << 20
"""Bytes; more than the buffers of both sides hold."""


@pytest.mark.parametrize("path", [PATH, "/registry/v1/cold/bodies"], ids=["hot", "cold"])
@pytest.mark.parametrize("way", [f"content-length: {LONG}", "transfer-encoding: chunked"], ids=["long", "in pieces"])
async def test_who_sends_all_before_reading_reads_why_it_was_too_much(
    server: FastPathServer, path: str, way: str
) -> None:
    head = f"POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n{way}\r\n\r\n".encode()
    piece = b"x" * (1 << 16)
    framed = piece if way.startswith("content") else b"%x\r\n%b\r\n" % (len(piece), piece)
    async with line(server) as (reader, writer):
        writer.write(head)
        for _ in range(LONG // len(piece)):
            writer.write(framed)
            await writer.drain()
            await asyncio.sleep(0)
        status, headers, said = await answer(reader)
        assert (status, headers["connection"], said["code"]) == (413, "close", "payload_too_large")
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def go_on(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(5):
        while True:
            writer.write(b"x" * 1024)
            await writer.drain()
            await asyncio.sleep(0.01)


async def test_who_never_comes_to_an_end_is_cut_off(server: FastPathServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FastPathProtocol, "lingering_seconds", 0.2)
    began = time.monotonic()
    async with line(server) as (_, writer):
        writer.write(asked("x").replace(b"content-length: 3", b"content-length: 99999999"))
        with pytest.raises(ConnectionError):
            await go_on(writer)
    assert time.monotonic() - began >= 0.2
    assert server.statuses == [413]


async def test_what_stands_behind_an_end_is_not_begun(server: FastPathServer) -> None:
    async with line(server) as (reader, writer):
        writer.write(asked(1, "connection: keep-alive", version="1.0") + asked("next"))
        assert (await answer(reader))[0] == 201
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert server.statuses == [201]


async def test_a_line_that_grows_is_not_read_on(server: FastPathServer) -> None:
    """Or one connection would fill the memory with requests that wait."""
    count, longest = 20_000, 0
    async with line(server) as (reader, writer):
        writing = asyncio.create_task(writer_of(writer, asked("x") * count))
        for _ in range(count):
            assert (await answer(reader))[0] == 201
            assert server.server is not None
            longest = max(longest, *(len(one.pipeline) for one in server.server.server_state.connections))
        await writing
    assert 0 < longest < 6_000  # one piece of 256 KiB, and one that was read already


async def writer_of(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_thousands_in_one_piece_are_answered_in_order(server: FastPathServer) -> None:
    async with line(server) as (reader, writer):
        writer.write(b"".join(map(asked, range(3_000))))
        assert [(await answer(reader))[2]["said"] for _ in range(3_000)] == list(range(3_000))


@pytest.mark.parametrize(
    "request_", [asked(1, "connection: close"), asked(1, version="1.0")], ids=["close asked for", "HTTP/1.0"]
)
async def test_a_connection_ends_when_the_caller_wants_it(server: FastPathServer, request_: bytes) -> None:
    async with line(server) as (reader, writer):
        writer.write(request_)
        status, headers, _ = await answer(reader)
        assert (status, headers["connection"]) == (201, "close")
        assert await asyncio.wait_for(reader.read(), 5) == b""


@known_or_not
async def test_a_caller_that_leaves_is_not_written_to(server: FastPathServer, is_known: bool) -> None:
    await learn(server, is_known)
    before = len(server.statuses)
    async with line(server) as (_, writer):
        writer.write(asked("wait"))
        await server.until(lambda: bool(server.waiting))
    await server.until(lambda: not (server.server and server.server.server_state.connections))
    server.waiting[0].set_result(b"1")
    await server.until(lambda: len(server.statuses) > before)
    assert (await sent(server, asked("next")))[2]["said"] == "next"


def test_a_connection_that_was_closed_is_not_written_to_by_the_loop_we_serve_with() -> None:
    """uvloop raises where asyncio says nothing; and only the request that broke off was told that nobody is there."""
    wrong: list[dict[str, Any]] = []

    async def break_off() -> list[int]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
        async with open_server() as server, line(server) as (_, writer):
            writer.write(asked("wait"))
            await server.until(lambda: bool(server.waiting))
            assert server.server is not None
            for one in server.server.server_state.connections:
                one.transport.close()
            server.waiting[0].set_result(b"1")
            await server.until(lambda: bool(server.statuses or wrong))
            return server.statuses

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert (runner.run(break_off()), wrong) == ([201], [])


@known_or_not
async def test_a_server_that_stops_answers_what_it_has(server: FastPathServer, is_known: bool) -> None:
    await learn(server, is_known)
    async with line(server) as (reader, writer):
        writer.write(asked("wait"))
        await server.until(lambda: bool(server.waiting))
        assert server.server is not None
        server.server.should_exit = True
        await server.until(lambda: not server.server or not server.server.servers[0].is_serving())
        server.waiting[0].set_result(b'"still"')
        status, headers, said = await answer(reader)
        assert (status, headers["connection"], said["said"]) == (201, "close", "still")


async def test_what_is_no_http_is_refused(server: FastPathServer) -> None:
    async with line(server) as (reader, writer):
        writer.write(asked("x")[:-3] + b"no http at all\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1")
    assert (await sent(server, asked("next")))[2]["said"] == "next"
