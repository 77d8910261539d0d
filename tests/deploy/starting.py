"""One `up` in a process of its own, as its operator sees it."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy import data, status

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0


def until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@dataclass
class Started:
    """One `up`, as its operator sees it."""

    process: subprocess.Popen[str]
    data: Path
    port: int
    seen: list[psutil.Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_running(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "running\n", self.process.communicate()
        self.seen = psutil.Process(self.process.pid).children(recursive=True)

    def state_of(self, name: str) -> dict[str, object]:
        state = status.read(self.data / "status.json")
        assert state is not None
        return next(process for process in state["processes"] if process["name"] == name)

    def pid_of(self, name: str) -> int:
        pid = self.state_of(name)["pid"]
        return pid if isinstance(pid, int) else 0

    def log_of(self, name: str) -> str:
        return (self.data / "logs" / f"{name}.log").read_text()

    def until_printed(self, name: str, line: str) -> None:
        """Wait until a process has said something: that it is started says not that it has come so far."""
        until(lambda: (self.data / "logs" / f"{name}.log").exists() and line in self.log_of(name))

    def ended(self) -> tuple[int, str]:
        """Exit code and stderr."""
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said

    def survivors(self) -> list[psutil.Process]:
        """What it had started and what is still there; a zombie is not, whoever fails to reap it."""
        return [process for process in self.seen if is_alive(process)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def clean_environment() -> dict[str, str]:
    """The environment without settings of ours."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "REDIS_URL"} and not name.startswith("FANGXIAN_")
    }


def start_up(directory: Path, port: int, *children: str, **environment: str) -> Started:
    """Start `up` with small children."""
    script = Path(__file__).with_name("standin.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(directory), str(port), *children],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment() | {"PYTHONPATH": str(ROOT)} | environment,
    )
    return Started(process, directory, port)


@contextlib.contextmanager
def a_place() -> Iterator[Path]:
    """A directory that another user may pass but not read, gone afterwards with what was installed in it."""
    path = Path(tempfile.mkdtemp(prefix="fangxian-test-"))
    path.chmod(0o711)
    try:
        yield path
        for directory in path.iterdir():
            if directory.is_dir():
                data.remove(data.at(directory))
    finally:
        shutil.rmtree(path, ignore_errors=True)


CLAIMS: list[socket.socket] = []
"""What keeps other tests of this machine away from the ports of these, as long as this process lives."""


def a_port() -> int:
    """The first of four free ports, which no other test is given."""
    for candidate in range(20_000 + os.getpid() % 500 * 20, 32_000, 4):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0fangxian-test-port-{candidate}")
            CLAIMS.append(claim)
            for offset in range(4):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", candidate + offset))
        except OSError:
            continue
        return candidate
    raise AssertionError("no free ports")
