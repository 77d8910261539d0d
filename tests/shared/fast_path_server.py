"""A server of our own with one hot route, and how tests speak to it."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.types import Scope

from shared.core.actors import Role
from shared.http import handlers, limits
from shared.http.fast_path import Answer, App, FastEndpoint, fast_route
from shared.http.protocol import FastPathProtocol
from shared.http.router import Router
from shared.problems import Conflict

PATH = "/registry/v1/hot"
MOST = 200
SECONDS = 30.0
KEEP_ALIVE_SECONDS = 2
MARK: ContextVar[str] = ContextVar("mark")
MADE = "/registry/v1/echoes/1"


class FastPathServer:
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
        if asked == "late":
            await self._late()
        if asked == "mark":
            scope["mark"] = "left"
            MARK.set("left")
        if asked == "find":
            return Answer(201, json.dumps({"said": [scope.get("mark"), MARK.get("none")]}).encode())
        if asked == "wait":
            self.waiting.append(asyncio.get_running_loop().create_future())
            body = await self.waiting[-1]
        way = "task" if asyncio.current_task() else "at once"
        return Answer(201, json.dumps({"way": way, "said": json.loads(body)}).encode(), location=MADE.encode())

    async def _late(self) -> None:
        """Wait for what is there the moment that the time is over, and then for what never comes."""
        loop = asyncio.get_running_loop()
        first = loop.create_future()
        loop.call_later(0.1, first.set_result, None)
        loop.call_later(0.1, time.sleep, 0.01)
        await first
        self.waiting.append(loop.create_future())
        await self.waiting[-1]

    @property
    def known(self) -> list[bytes]:
        """The heads that are remembered, the oldest first."""
        return list(self.app.head_cache)

    def _app(self) -> App:
        router = Router(prefix=PATH, tags=["test"])

        @router.post("", role=Role.DOOR, status=201, client_ids=True, raises=[Conflict])
        async def echo() -> None:
            """Say what was said."""

        app = App()
        app.router.routes.append(fast_route(router, FastEndpoint(self.handle, MOST)))

        @app.get("/registry/v1/cold")
        async def cold() -> str:
            return "cold"

        @app.post("/registry/v1/cold/bodies")
        async def size(request: Request) -> int:
            return len(await request.body())

        app.take_fast_routes(SECONDS, lambda _method, _path: lambda status, _seconds: self.statuses.append(status))
        handlers.install(app)
        limits.install(app, request_timeout_seconds=SECONDS)
        return app

    async def until(self, so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(SECONDS):
            while not so():  # noqa: ASYNC110 - what is waited for is uvicorn's, which sets no event
                await asyncio.sleep(0.001)


@asynccontextmanager
async def open_server() -> AsyncIterator[FastPathServer]:
    there = FastPathServer()
    async with served(there.app) as (server, port):
        there.server, there.port = server, port
        yield there


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """Serve an application with our protocol, as services are served; gives the server and its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(  # proxy headers would stand between the server and the application
        app,
        http=FastPathProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(SECONDS):
        while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait for
            await asyncio.sleep(0.001)
    yield server, listener.getsockname()[1]
    server.should_exit = True
    await serving


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def line(server: FastPathServer) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def asked(said: Any, *more: str, path: str = PATH, method: str = "POST", version: str = "1.1") -> bytes:
    body = json.dumps(said).encode()
    head = [f"{method} {path} HTTP/{version}", "host: test", "content-type: application/json"]
    return "\r\n".join((*head, f"content-length: {len(body)}", *more, "", "")).encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    async with asyncio.timeout(SECONDS):
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        assert len(headers) == len(lines)  # none twice
        body = await reader.readexactly(int(headers["content-length"]))
    return int(start.split()[1]), headers, json.loads(body)


async def sent(server: FastPathServer, *parts: bytes) -> tuple[int, dict[str, str], Any]:
    """The answer to what is sent in these parts."""
    async with line(server) as (reader, writer):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        return await answer(reader)


known_or_not = pytest.mark.parametrize("is_known", [False, True], ids=["a new head", "a known head"])


async def twice(server: FastPathServer, request_: bytes) -> list[tuple[int, dict[str, str], Any]]:
    """The answers to a request that is sent twice: with the second its head is known, if it ever is."""
    return [await sent(server, request_) for _ in range(2)]


async def learn(server: FastPathServer, is_known: bool, *more: str) -> None:
    """Let the head of what is as long as `wait` be known, or nothing at all."""
    if is_known:
        await twice(server, asked("noon", *more))
        assert asked("wait", *more).partition(b'"wait"')[0] in server.known


HELLO = asked("hello")
CHUNKED = HELLO.replace(b"content-length: 7", b"transfer-encoding: chunked").replace(b'"hello"', b'7\r\n"hello"\r\n')
