"""The generator itself: what it counts is what was answered, and it refuses to count errors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import repeat

import pytest

from deploy.bench.generator import load, request


@asynccontextmanager
async def answering(*parts: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers every request with the same bytes, a part at a time; its port, and what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0]) if b"content-length" in head else 0
                asked.append(head + await reader.readexactly(size))
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.001)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def test_sends_each_request_once_and_counts_each_answer() -> None:
    requests = [request("POST", "/", {"number": str(number)}, b"x" * number) for number in range(20)]
    async with answering(OK) as (port, asked):
        bodies: list[bytes] = []
        done = await load(port, requests, connections=3, keep=lambda _, body: bodies.append(body))
    assert sorted(asked) == sorted(requests)
    assert bodies == [b"hello"] * 20
    assert (done.count, dict(done.statuses)) == (20, {200: 20})
    assert done.rate == pytest.approx(20 / done.seconds)


async def test_an_answer_in_pieces_is_one_answer() -> None:
    async with answering(OK[:10], OK[10:42], OK[42:]) as (port, _):
        bodies: list[bytes] = []
        done = await load(port, [request("GET", "/")] * 4, connections=2, keep=lambda _, body: bodies.append(body))
    assert bodies == [b"hello"] * 4
    assert done.percentile(0.0) > 0.002


async def test_stops_when_the_time_is_over() -> None:
    async with answering(OK) as (port, asked):
        done = await load(port, repeat(request("GET", "/")), connections=2, seconds=0.2)
    assert 0.15 < done.seconds < 60
    assert done.count == len(asked)
    assert done.latencies == sorted(done.latencies)


async def test_errors_are_no_figures() -> None:
    async with answering(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n") as (port, _):
        done = await load(port, [request("GET", "/")], connections=1)
    with pytest.raises(ValueError, match="503"):
        done.require(200)


async def test_a_broken_connection_is_no_answer() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        with pytest.raises(ConnectionError):
            await load(server.sockets[0].getsockname()[1], [request("GET", "/")], connections=1)
