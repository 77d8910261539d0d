"""Hot routes as our own server answers them: at once where a request has come whole, in a task where it has not.

What holds for a request with a new head holds for one whose head is known.
"""

import asyncio
import re

import pytest

from tests.shared.fast_path_server import (
    CHUNKED,
    HELLO,
    MADE,
    MOST,
    FastPathServer,
    answer,
    asked,
    known_or_not,
    learn,
    line,
    sent,
)


async def test_what_comes_whole_is_answered_at_once(server: FastPathServer) -> None:
    status, headers, said = await sent(server, asked("hello"))
    assert (status, said) == (201, {"way": "at once", "said": "hello"})
    assert re.fullmatch("[0-9a-f-]{36}", headers["x-request-id"])
    assert headers["location"] == MADE
    assert server.statuses == [201]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([HELLO[:9], HELLO[9:40], HELLO[40:]], id="in its head"),
        pytest.param([HELLO[:-7], HELLO[-7:]], id="before its body"),
        pytest.param([HELLO[:-3], HELLO[-3:]], id="in its body"),
        pytest.param([CHUNKED, b"0\r\n\r\n"], id="chunked"),
    ],
)
async def test_what_comes_in_pieces_is_answered_the_same(server: FastPathServer, parts: list[bytes]) -> None:
    whole, pieces = await sent(server, HELLO), await sent(server, *parts)
    in_its_head = parts[0] == HELLO[:9]  # then the last piece has all of the body
    way = "at once" if in_its_head else "task"
    assert (pieces[0], pieces[2]) == (201, {"way": way, "said": "hello"})
    own = ("date", "x-request-id", "content-length")
    assert {**pieces[1], **dict.fromkeys(own)} == {**whole[1], **dict.fromkeys(own)}


async def test_a_whole_chunked_body_is_as_good(server: FastPathServer) -> None:
    assert (await sent(server, CHUNKED + b"0\r\n\r\n"))[2] == {"way": "at once", "said": "hello"}


@known_or_not
async def test_a_deadline_that_passes_between_two_waits_still_holds(server: FastPathServer, is_known: bool) -> None:
    await learn(server, is_known, "x-deadline-ms: 100")
    status, _, said = await sent(server, asked("late", "x-deadline-ms: 100"))
    assert (status, said["code"]) == (504, "upstream_timeout")


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
async def test_a_problem_is_the_same_either_way(
    server: FastPathServer, request_: bytes, status: int, code: str
) -> None:
    request_ = request_.replace(b"\r\n", b"\r\nx-request-id: hop-1234\r\n", 1)
    whole, pieces = await sent(server, request_), await sent(server, request_[:-2], request_[-2:])
    assert (whole[0], whole[2]["code"], whole[2]["request_id"]) == (status, code, "hop-1234")
    assert whole[1]["content-type"] == "application/problem+json"
    assert {**whole[1], "date": ""} == {**pieces[1], "date": ""}
    assert whole[2] == pieces[2]
    assert server.statuses == [status, status]


async def test_100_continue_is_said_before_the_body(server: FastPathServer) -> None:
    request_ = asked("hello", "expect: 100-continue")
    async with line(server) as (reader, writer):
        writer.write(request_[:-7])
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(request_[-7:])
        assert (await answer(reader))[2] == {"way": "task", "said": "hello"}


@pytest.mark.parametrize("cut", [0, 2], ids=["at once", "in a task"])
@known_or_not
async def test_its_time_ends(server: FastPathServer, cut: int, is_known: bool) -> None:
    await learn(server, is_known, "x-deadline-ms: 500")
    request_ = asked("wait", "x-deadline-ms: 500")
    parts = [request_[:-cut], request_[-cut:]] if cut else [request_]
    status, _, said = await sent(server, *parts)
    assert (status, said["code"]) == (504, "upstream_timeout")
    assert server.waiting[0].cancelled()
    assert server.statuses[-1] == 504


@known_or_not
async def test_a_later_request_has_a_time_of_its_own(server: FastPathServer, is_known: bool) -> None:
    await learn(server, is_known)
    await learn(server, is_known, "x-deadline-ms: 200")
    async with line(server) as (reader, writer):
        for _ in range(2):
            writer.write(asked("wait"))
            await server.until(lambda: bool(server.waiting))
            server.waiting.pop().set_result(b"1")
            assert (await answer(reader))[0] == 201
            writer.write(asked("wait", "x-deadline-ms: 200"))
            assert (await answer(reader))[0] == 504
            server.waiting.clear()
