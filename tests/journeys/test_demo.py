"""The demo, small, as its user runs it: real processes, real servers, real HTTP, from nothing to nothing."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tests.deploy.starting import ROOT, a_port, clean_environment, is_alive

PEOPLE, SEED = 600, 7
WITHIN_SECONDS = 240


def demo(temporary: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "deploy.cli", "demo", "--people", str(PEOPLE), "--seed", str(SEED), *options]
    command += ["--port", str(a_port())]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=clean_environment() | {"TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests themselves run in the background of a shell, Ctrl-C is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.fixture
def temporary() -> "Path":
    """A directory whose path is short, as sockets need it, and that other users may pass."""
    path = Path(tempfile.mkdtemp(prefix="fd"))
    path.chmod(0o711)
    return path


def test_the_main_job_from_a_register_to_a_patient_in_hospital(temporary: Path) -> None:
    process = demo(temporary)
    said, complaints = process.communicate(timeout=WITHIN_SECONDS)
    assert [line for line in said.splitlines() if line.rstrip().endswith("FAILED")] == [], said + complaints
    # Only a quiet machine can show how fast the demo is: tests that run at the same time may slow it.
    slow = [line for line in said.splitlines() if line.rstrip().endswith("SLOW")]
    assert process.returncode == bool(slow), said + complaints
    assert (f"checks, {len(slow)} slow" if slow else "checks, all well.") in said, said
    assert "Memory: " in said
    for step in range(1, 6):
        assert f"\n{step}. " in said
    assert list(temporary.iterdir()) == [], "the demo leaves nothing behind"


def test_an_interrupted_demo_leaves_nothing_behind(temporary: Path) -> None:
    process = demo(temporary)
    assert process.stdout is not None
    seen: list[psutil.Process] = []
    for line in process.stdout:
        if line.startswith("1. "):
            seen = psutil.Process(process.pid).children(recursive=True)
            os.kill(process.pid, signal.SIGINT)
            break
    assert len(seen) > 8
    process.communicate(timeout=60)
    assert process.returncode != 0
    deadline = time.monotonic() + 10
    while any(map(is_alive, seen)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [one for one in seen if is_alive(one)]
    assert list(temporary.iterdir()) == []
