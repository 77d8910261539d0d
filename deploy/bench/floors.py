"""The floors that are servers: `python -m deploy.bench.floors hello|empty`.

`hello` is FastAPI's first example. `empty` is an ASGI application that does nothing; it shows the limit of the
generator.

Like our services each is one process on the same core, served by uvicorn with uvloop, httptools and the same options.
It logs no requests, and the garbage collector ignores the objects from the start. Unlike our services it has uvicorn's
own protocol without the fast path, no middleware, no database, no keys, only uvicorn's warnings as log, and it is
started, not forked.
"""

import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from deploy.bench.cores import Cores
from deploy.bench.generator import request
from deploy.children import listen, serve
from deploy.embedded.server import die_with_parent
from shared.runtime.app import collect_rarely

REQUEST = request("GET", "/")
EMPTY: list[Message] = [
    {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]},
    {"type": "http.response.body", "body": b""},
]


def hello() -> FastAPI:
    """FastAPI's hello world."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        collect_rarely()
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def say_hello() -> dict[str, str]:
        """Say hello."""
        return {"hello": "world"}

    return app


async def empty(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every request with nothing."""
    if scope["type"] == "lifespan":
        collect_rarely()
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})
        return
    for message in EMPTY:
        await send(message)


APPS: dict[str, Any] = {"hello": hello, "empty": lambda: empty}


@dataclass(frozen=True)
class Floor:
    """A floor that runs on the server's core."""

    name: str
    port: int
    pid: int


@contextlib.contextmanager
def serving(name: str, cores: Cores) -> Iterator[Floor]:
    """Run the server of a floor in a separate process."""
    command = [sys.executable, "-m", "deploy.bench.floors", name]
    process = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: die_with_parent(signal.SIGKILL)
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        cores.pin(process.pid, server=True)
        yield Floor(name, port, process.pid)
    finally:
        process.terminate()
        process.wait()
        if process.stdout:
            process.stdout.close()


def main() -> None:
    """Serve one floor until SIGTERM; its port is the one line on stdout."""
    (listener,) = listen([0]).values()
    print(listener.getsockname()[1], flush=True)
    serve(APPS[sys.argv[1]](), listener)


if __name__ == "__main__":
    main()
