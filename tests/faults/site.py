"""An installation to be hurt: `fangxian up` in a process of its own, whose parts a test may kill and pause."""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
import psutil
import redis.asyncio

from deploy import data as directories
from deploy import feed, status
from deploy.demo import installation
from deploy.up import options
from shared.core.settings import SERVICES
from tests import prepared
from tests.deploy.starting import a_port

T = TypeVar("T")

SETTINGS = {
    "FANGXIAN_DEMONSTRATION_IDS": "true",
    "FANGXIAN_REGION": "350582005",
    **{f"FANGXIAN_REQUESTS_A_MINUTE_PER_{who}": "100000000" for who in ("CLIENT", "RESIDENT", "STAFF", "MACHINE")},
    "FANGXIAN_WEBHOOK_NETWORKS": '["127.0.0.0/8"]',
    "DATABASE_URL": "",
    "REDIS_URL": "",
}
KEYS_ARE_SEEN_SOON = {"FANGXIAN_KEY_WAITS": "0.3"}
"""Where keys are changed often: processes look at them, and are waited for, that much sooner."""
PROCESSES = (*SERVICES, *(f"{service}-worker" for service in SERVICES))
PATIENCE_SECONDS = 240.0
"""What is waited for comes within seconds, on a machine that does nothing else."""
LOOK_SECONDS = 0.1


async def until(what: str, ask: Callable[[], Awaitable[T | None]], patience: float = PATIENCE_SECONDS) -> T:
    """Ask until the answer is something; AssertionError when patience is at an end."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while not (answer := await ask()):
        assert loop.time() < deadline, f"not within {patience:g} s: {what}"
        await asyncio.sleep(LOOK_SECONDS)
    return answer


@dataclass
class Site:
    """One installation, which can be stopped and started again on the same data with other settings."""

    data: Path
    settings: dict[str, str] = field(default_factory=dict)
    url: str = ""
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self, **settings: str) -> None:
        """Start everything, with these settings beside those of every test here."""
        self.settings = settings
        self._running = contextlib.ExitStack()
        port = int(self.url.rsplit(":", 1)[1]) if self.url else a_port()
        running = installation.running(self.data, port, SETTINGS | settings)
        self.url = self._running.enter_context(running).url

    def stop(self) -> None:
        """End everything in good order; the data stay."""
        self._running.close()

    async def restart(self, **settings: str) -> None:
        """Stop, and start on the same data with other settings; nothing if it runs with these."""
        if settings != self.settings:
            await asyncio.to_thread(self.stop)
            await asyncio.to_thread(lambda: self.start(**settings))

    # Its processes ---------------------------------------------------------------------------------------------------

    def _process(self, name: str) -> dict[str, Any]:
        state = status.read(directories.at(self.data).status)
        assert state is not None, "the supervisor has stopped"
        found: dict[str, Any] = next(one for one in state["processes"] if one["name"] == name)
        return found

    async def kill(self, name: str) -> None:
        """Kill a process, with no warning, as soon as it runs."""
        await self._send(name, signal.SIGKILL)

    @asynccontextmanager
    async def paused(self, name: str) -> AsyncIterator[None]:
        """A process that does nothing for a while, as if its machine were not there."""
        await self._send(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(name, signal.SIGCONT)

    async def _send(self, name: str, number: signal.Signals) -> None:
        async def send() -> bool:
            return self._signal(name, number)

        await until(f"{name} runs, to be sent {number.name}", send)

    def _signal(self, name: str, number: signal.Signals) -> bool:
        state = status.read(directories.at(self.data).status)
        pid = self._process(name)["pid"]
        if state is None or pid is None:
            return False
        try:
            process = psutil.Process(pid)
            if process.ppid() != state["pid"] or process.status() == psutil.STATUS_ZOMBIE:
                return False
            os.kill(pid, number)
        except (psutil.NoSuchProcess, ProcessLookupError):
            return False
        return True

    def restarts(self, *names: str) -> int:
        """How often these processes were started again since the start."""
        return sum(self._process(name)["restarts"] for name in names)

    async def is_whole(self) -> None:
        """Wait until every process runs and every API says that it is ready."""

        async def look() -> bool:
            state = status.read(directories.at(self.data).status)
            if state is None or not all(one["pid"] for one in state["processes"]):
                return False
            urls = state["urls"].values()
            return all([await asyncio.to_thread(status.is_ready, url) for url in urls])

        await until("every process runs and is ready", look)

    # Behind its face -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[asyncpg.Connection]:
        """The database as its owner, once it is there."""

        async def connect() -> asyncpg.Connection | None:
            try:
                return await asyncpg.connect(feed.installed(options(self.data, environment={})).owner_url)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return None

        connection = await until("the database takes connections", connect)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def redis(self) -> AsyncIterator["redis.asyncio.Redis"]:
        """The Redis of the wake-ups."""
        client = redis.asyncio.Redis.from_url(feed.installed(options(self.data, environment={})).redis_url)
        async with client:
            yield client

    @property
    def environment(self) -> dict[str, str]:
        """The operator's, with the settings of the processes."""
        return os.environ | SETTINGS | self.settings | {"COLUMNS": "250"}

    async def operator(self, *command: str) -> tuple[int, str]:
        """Run a command of `fangxian` as the operator does; its exit code and what it printed."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "deploy.cli", *command, "--data", str(self.data)],
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
        )
        return done.returncode, done.stdout + done.stderr

    def printed(self, name: str, what: str) -> list[str]:
        """Lines of a process's log that match."""
        log = directories.at(self.data).logs / f"{name}.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        return [line for line in lines if re.search(what, line)]

    def client(self) -> httpx.AsyncClient:
        """The way in for everybody: the gateway's address."""
        limits = httpx.Limits(max_connections=40, max_keepalive_connections=20)
        timeout = httpx.Timeout(20, connect=5)
        return httpx.AsyncClient(base_url=self.url, timeout=timeout, limits=limits, trust_env=False)


@contextmanager
def installed(**settings: str) -> Iterator[Site]:
    """A new installation, running; removed at the end."""
    site = Site(Path(tempfile.gettempdir()) / f"fangxian-faults-{secrets.token_hex(6)}")
    try:
        prepared.copied_to(site.data)
        site.start(**settings)
        yield site
    finally:
        site.stop()
        directories.remove(directories.at(site.data))
