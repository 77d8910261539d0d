"""Starts Fangxian as a process of its own, on directories and ports that nobody else uses."""

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
import pytest
from deploy import data, status

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


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


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that another user may pass but not read, as a data directory's parent usually is."""
    path = Path(tempfile.mkdtemp(prefix="fangxian-test-"))
    path.chmod(0o711)
    yield path
    for directory in path.iterdir():
        data.remove(data.at(directory)) if directory.is_dir() else None
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def port() -> int:
    """The first of four free ports."""
    for candidate in range(20_000 + os.getpid() % 500 * 20, 32_000, 4):
        try:
            for offset in range(4):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", candidate + offset))
        except OSError:
            continue
        return candidate
    raise AssertionError("no free ports")


@pytest.fixture
def start(place: Path, port: int) -> Iterator[Callable[..., Started]]:
    """Start `up` with small children: `start("worker", "failing", on=directory, port=…, DATABASE_URL=…)`."""
    started: list[Started] = []

    def _start(*children: str, on: Path | None = None, at: int = port, **environment: str) -> Started:
        directory = on or place / "data"
        script = Path(__file__).with_name("standin.py")
        process = subprocess.Popen(
            [sys.executable, str(script), str(directory), str(at), *children],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment() | {"PYTHONPATH": str(ROOT)} | environment,
        )
        started.append(Started(process, directory, at))
        return started[-1]

    yield _start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
        one.process.communicate(timeout=PATIENCE)


def clean_environment() -> dict[str, str]:
    """The environment without settings of ours."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "REDIS_URL"} and not name.startswith("FANGXIAN_")
    }


@pytest.fixture
def run(place: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the console script to its end."""

    def _run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            env=clean_environment() | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | environment,
        )

    return _run
