"""Runs `up` with small children in place of the eight: `python standin.py <data> <port> [child …]`."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from deploy import children, status
from deploy.cli import main_of
from deploy.processes import Process
from deploy.up import Installation, Listeners, options, up
from shared.core.settings import Settings


def announce(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def application(scope, receive, send) -> None:
    """Answers 200 with its process id, slowly where the path is `/slow`."""
    import anyio

    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"].removeprefix("lifespan.")
            await send({"type": f"lifespan.{kind}.complete"})
            if kind == "shutdown":
                return
    if scope["path"] == "/slow":
        announce("begun")
        await anyio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


def api(listener, settings: Settings) -> None:
    children.libraries_log_in_json(settings, "api")
    children.serve(application, listener)


def worker(settings: Settings) -> None:
    """Counts its ends in good order, and starts a process of its own as a careless library might."""
    done = False

    def stop(*_: object) -> None:
        nonlocal done
        done = True

    signal.signal(signal.SIGTERM, stop)
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.execvp("sleep", ["sleep", "600"])
    announce("working")
    while not done:
        time.sleep(0.05)
    announce("ended in good order")


def failing(settings: Settings) -> None:
    raise RuntimeError("the worker does not like it here")


def deaf(settings: Settings) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    announce("deaf")
    while True:
        time.sleep(1)


TARGETS = {"worker": worker, "failing": failing, "deaf": deaf}


def processes(names: Sequence[str], installation: Installation, listeners: Listeners) -> list[Process]:
    settings = installation.settings("gateway")
    url = installation.options.urls["gateway"]
    found = [Process("gateway", partial(api, listeners["gateway"]), settings, partial(status.is_ready, url))]
    return found + [Process(name, TARGETS[name], settings) for name in names]


def migrate(owner_url: str, passwords: dict[str, str]) -> None:
    """Keeps a row that the tests look for, once nothing holds it up; or refuses."""
    import asyncio

    import asyncpg

    async def remember() -> None:
        connection = await asyncpg.connect(owner_url)
        await connection.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())")
        await connection.execute("INSERT INTO starts DEFAULT VALUES")
        await connection.close()

    if refusal := os.environ.get("REFUSED"):
        raise RuntimeError(refusal)
    while os.path.exists(os.environ.get("HELD_UP_BY", "")):
        time.sleep(0.05)
    asyncio.run(remember())


if __name__ == "__main__":
    path, port, *names = sys.argv[1:]
    main_of(
        lambda: up(
            options(Path(path), int(port)),
            processes=partial(processes, names or ["worker"]),
            load=lambda: iter(()),
            migrate=migrate,
            announce=lambda _: announce("running"),
        )
    )
