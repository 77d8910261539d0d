"""Clients that never come to the end of a request's head are cut off, and nobody else is."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from shared.http.protocol import FastPathProtocol

PATIENCE = 0.4
HEAD = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n"
WHOLE = HEAD + b"{}"


class Impatient(FastPathProtocol):
    """Our protocol, in a hurry."""

    head_seconds = PATIENCE


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer when the body is whole, and a while later if asked at `/later`."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(PATIENCE * 6 if scope["path"] == "/later" else 0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(echo, http=Impatient, ws="none", lifespan="off", log_config=None, access_log=False)
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    await serving


async def sent(port: int, before: bytes, drips: bytes, seconds: float) -> tuple[bytes, bool]:
    """What comes back, and whether the connection was cut, after these bytes, and then one of the drips at a time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    back = b""
    try:
        writer.write(before)
        for drip in drips:
            await asyncio.sleep(seconds / len(drips))
            writer.write(bytes([drip]))
        if not drips:
            await asyncio.sleep(seconds)
        await asyncio.sleep(PATIENCE / 4)
        while chunk := await asyncio.wait_for(reader.read(1 << 16), PATIENCE / 4):
            back += chunk
        return back, True
    except TimeoutError:
        return back, False
    except ConnectionError:  # written to after the cut
        return back, True
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("before", "drips"),
    [
        pytest.param(b"", b"", id="nothing said"),
        pytest.param(b"", HEAD[:20], id="a head, byte by byte"),
        pytest.param(HEAD[:-2], b"x-more: " + b"a" * 12, id="headers without end"),
        pytest.param(b"", b"\r\n" * 10, id="empty lines before a head"),
        pytest.param(WHOLE, HEAD[:20], id="the second head"),
        pytest.param(WHOLE, b"\r\n" * 10, id="empty lines after an answer"),
    ],
)
async def test_who_does_not_end_a_head_is_cut_off(port: int, before: bytes, drips: bytes) -> None:
    _, cut = await sent(port, before, drips, PATIENCE * 1.5)
    assert cut


@pytest.mark.parametrize(
    ("before", "drips", "seconds", "answers"),
    [
        pytest.param(b"", WHOLE, 0, 1, id="a head in pieces, in time"),
        pytest.param(HEAD, b"{}", PATIENCE * 2, 1, id="a body that takes longer"),
        pytest.param(WHOLE, b"", PATIENCE * 1.5, 1, id="kept alive and silent"),
        pytest.param(WHOLE.replace(b" / ", b" /later "), b"", PATIENCE * 2, 0, id="an answer that takes longer"),
    ],
)
async def test_nobody_else_is(port: int, before: bytes, drips: bytes, seconds: float, answers: int) -> None:
    back, cut = await sent(port, before, drips, seconds)
    assert (back.count(b"200 OK"), cut) == (answers, False)


async def test_half_a_head_behind_a_request_does_not_cost_its_answer(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(WHOLE.replace(b" / ", b" /later ") + HEAD[:20])
    back = await asyncio.wait_for(reader.read(), 30)  # until it is cut off for the rest
    writer.close()
    assert back.count(b"200 OK") == 1


async def test_a_silent_kept_connection_is_served_again(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(WHOLE)
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\nok"), 5)).startswith(b"HTTP/1.1 200 OK")
        await asyncio.sleep(PATIENCE * 2)
    writer.close()
