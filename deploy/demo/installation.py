"""An installation for the demo: `fangxian up` in a separate process, as an operator starts it."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy import data as directories
from deploy.embedded.server import die_with_parent
from deploy.trouble import Trouble

STOP_WITHIN_SECONDS = 60
PORTS = 4
FIRST_PORT, LAST_PORT = 18_000, 28_000
RUNNING = "Running"


@dataclass(frozen=True)
class Installation:
    """A running installation and its address."""

    url: str
    pid: int
    data: Path


@contextlib.contextmanager
def running(data: Path | None, port: int | None, settings: dict[str, str]) -> Iterator[Installation]:
    """Start an installation, with `settings` in addition to the environment, and stop it at the end.

    Without a data directory it uses a temporary one, which is removed at the end.
    """
    path = data or Path(tempfile.gettempdir()) / f"fangxian-demo-{secrets.token_hex(6)}"
    chosen = port or _free_ports()
    with tempfile.TemporaryFile("w+") as complaints:
        process = _start(path, chosen, settings, complaints)
        try:
            if not _is_running(process):
                raise Trouble(f"The installation did not start: {_last_line(complaints) or 'it gives no reason.'}")
            yield Installation(f"http://127.0.0.1:{chosen}", process.pid, path)
        finally:
            _stop(process)
            if data is None and path.exists():
                directories.remove(directories.at(path))


def _start(path: Path, port: int, settings: dict[str, str], complaints: IO[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deploy.cli", "up", "--data", str(path), "--port", str(port)]
    return subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,  # a file, because a pipe that nobody reads would block the supervisor at some point
        text=True,
        env=os.environ | settings,
        # Ctrl-C is for the demo, which then ends this in good order.
        process_group=0,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM),
    )


def _is_running(process: subprocess.Popen[str]) -> bool:
    """Wait until it prints Running. Returns False if it ends before."""
    assert process.stdout is not None
    return any(line.startswith(RUNNING) for line in process.stdout)


def _last_line(complaints: IO[str]) -> str:
    complaints.seek(0)
    return (complaints.read().strip().splitlines() or [""])[-1]


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def _free_ports() -> int:
    """Return the first of four free ports in a row. Each process starts elsewhere, so that two demos do not race."""
    rows = list(range(FIRST_PORT, LAST_PORT, PORTS))
    start = os.getpid() % len(rows)
    for first in (*rows[start:], *rows[:start]):
        if all(_is_free(first + offset) for offset in range(PORTS)):
            return first
    raise Trouble("There are no four free ports in a row. Choose a --port.")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
