"""Heads that have come before: they are not read again, and nobody can tell."""

import asyncio
import gc
import itertools
import weakref
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from shared.http import request_heads
from tests.shared.fast_path_server import (
    CHUNKED,
    FastPathServer,
    answer,
    asked,
    known_or_not,
    learn,
    line,
    sent,
    twice,
)


async def test_a_known_head_is_answered_as_a_new_one(server: FastPathServer) -> None:
    words = ("one", "two", "six", "ten")
    answers = [await sent(server, asked(word)) for word in words]
    assert len(server.known) == 1
    assert [said for _, _, said in answers] == [{"way": "at once", "said": word} for word in words]
    own = ("date", "x-request-id")
    assert {**answers[0][1], **dict.fromkeys(own)} == {**answers[-1][1], **dict.fromkeys(own)}
    assert len({headers["x-request-id"] for _, headers, _ in answers}) == 4
    assert server.statuses == [201] * 4


async def test_a_head_is_known_from_its_second_request_on(server: FastPathServer) -> None:
    await sent(server, asked("one"))
    assert server.known == []
    await sent(server, asked("two"))
    assert len(server.known) == 1


async def test_a_request_id_of_the_caller_stays_with_a_known_head(server: FastPathServer) -> None:
    request_ = asked("x", "x-request-id: hop-1234")
    answers = [*await twice(server, request_), *await twice(server, request_)]
    assert [headers["x-request-id"] for _, headers, _ in answers] == ["hop-1234"] * 4


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(asked("x", "connection: close"), id="the connection ends"),
        pytest.param(asked("x", version="1.0"), id="HTTP/1.0"),
        pytest.param(CHUNKED + b"0\r\n\r\n", id="chunked"),
        pytest.param(asked("x", "accept: text/html"), id="refused"),
        pytest.param(asked("conflict"), id="a problem"),
        pytest.param(asked("x", *[f"x-{n}: 1" for n in range(request_heads.MOST_LINES)]), id="many lines"),
        pytest.param(asked("x").replace(b"/json", b"/xml"), id="no JSON"),
        pytest.param(asked("x", "x-long: " + "x" * request_heads.LONGEST_BYTES), id="long"),
        pytest.param(b"\r\n\r\n" + asked("x"), id="after empty lines"),
        pytest.param(asked(None, path="/registry/v1/cold", method="GET"), id="not hot"),
    ],
)
async def test_a_head_is_not_remembered(server: FastPathServer, request_: bytes) -> None:
    answers = [*await twice(server, request_), *await twice(server, request_)]
    assert server.known == []
    assert len({status for status, _, _ in answers}) == 1


async def test_of_many_heads_the_oldest_are_forgotten(server: FastPathServer) -> None:
    async with line(server) as (reader, writer):
        for number in range(request_heads.MOST + 2):
            for _ in range(2):
                writer.write(asked("x", f"x-number: {number}"))
                assert (await answer(reader))[0] == 201
    assert len(server.known) == request_heads.MOST
    assert b"x-number: 2\r\n" in server.known[0]


async def test_what_looks_like_a_request_within_another_is_none(server: FastPathServer) -> None:
    known = asked("x")
    await twice(server, known)
    async with line(server) as (reader, writer):
        writer.write(b"POST /registry/v1/cold HTTP/1.1\r\nx-note: ")
        await asyncio.sleep(0.02)
        writer.write(known)
        assert (await answer(reader))[0] == 405  # the known one is a note and the rest of its head
        writer.write(asked("next"))
        assert (await answer(reader))[2]["said"] == "next"
    assert server.statuses == [201, 201, 201]


@known_or_not
async def test_each_has_a_context_and_a_scope_of_its_own(server: FastPathServer, is_known: bool) -> None:
    await learn(server, is_known)
    async with line(server) as (reader, writer):
        for said in ("find", "mark", "find", "mark", "find"):
            writer.write(asked(said))
            found = (await answer(reader))[2]["said"]
            assert found == ([None, "none"] if said == "find" else "mark")


async def test_a_connection_that_ended_is_gone(server: FastPathServer) -> None:
    """At once, and not when the collector comes by."""
    gone: list[weakref.ref[Any]] = []
    for is_known in (False, False, True):
        gc.collect()
        gc.disable()
        try:
            async with line(server) as (reader, writer):
                writer.write(asked("x"))
                assert (await answer(reader))[0] == 201
                assert server.server is not None
                gone.extend(map(weakref.ref, server.server.server_state.connections))
            assert bool(server.known) or not is_known
            await server.until(lambda: all(one() is None for one in gone))
        finally:
            gc.enable()


BODIES = some.one_of(
    some.integers(0, 9),
    some.sampled_from(["one", "two", "a\r\n\r\nb", asked("one").decode(), asked("x", "accept: a/b").decode()]),
)
"""Also what looks like the end of a head, or like a request."""
HEADS = some.sampled_from([(), ("x-a: 1",), ("x-a: 2", "accept-language: en")])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(some.lists(some.tuples(BODIES, HEADS), min_size=1, max_size=12), some.lists(some.integers(0, 2_000), max_size=8))
async def test_however_it_comes_each_is_answered_in_its_turn(
    server: FastPathServer, requests: list[tuple[Any, tuple[str, ...]]], cuts: list[int]
) -> None:
    whole = b"".join(asked(said, *more) for said, more in requests)
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    async with line(server) as (reader, writer):
        for start, end in itertools.pairwise(places):
            writer.write(whole[start:end])
            await writer.drain()
            await asyncio.sleep(0)
        answers = [await answer(reader) for _ in requests]
    assert [said["said"] for _, _, said in answers] == [said for said, _ in requests]
