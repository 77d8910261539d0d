"""Starts Fangxian as a process of its own, on directories and ports that nobody else uses."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.starting import PATIENCE, ROOT, Started, a_place, a_port, clean_environment, start_up


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that another user may pass but not read, as a data directory's parent usually is."""
    with a_place() as path:
        yield path


@pytest.fixture
def port() -> int:
    """The first of four free ports."""
    return a_port()


@pytest.fixture(scope="session")
def installation() -> Iterator[Path]:
    """A data directory that was started once and stopped, to be copied: making one takes longer."""
    with a_place() as path:
        one = start_up(path / "data", a_port())
        one.wait_until_running()
        one.process.terminate()
        assert one.ended()[0] == 0
        yield one.data


@pytest.fixture
def start(place: Path, port: int, request: pytest.FixtureRequest) -> Iterator[Callable[..., Started]]:
    """Start `up` with small children: `start("worker", "failing", fresh=True, at=port, DATABASE_URL=…)`.

    It works on a copy of an installation, unless it should be `fresh`, or work `on` another directory.
    """
    started: list[Started] = []

    def _start(
        *children: str, on: Path | None = None, fresh: bool = False, at: int = port, **environment: str
    ) -> Started:
        directory = on or place / "data"
        if not (on or fresh or directory.exists()):
            subprocess.run(["cp", "-a", str(request.getfixturevalue("installation")), str(directory)], check=True)
        started.append(start_up(directory, at, *children, **environment))
        return started[-1]

    yield _start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
        one.process.communicate(timeout=PATIENCE)


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
