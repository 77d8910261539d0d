"""An installation that was made and never started: whoever needs one and not its making takes a copy.

Its making is the same each time (`tests/deploy`, the README's tour and the first day go that way), and takes as long
as the start of all eight processes. The first who asks makes it, once a run.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.demo import installation
from tests.deploy.starting import ROOT, a_place, a_port, clean_environment

PLACE = "FANGXIAN_TEST_PREPARED"
"""The variable that names the directory it is in, for all test workers."""


def copied_to(data: Path) -> Path:
    """A data directory that is complete and migrated."""
    place = Path(os.environ[PLACE])
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "data" / "version").exists():
            command = [sys.executable, "-m", "deploy.cli", "migrate", "--data", str(place / "data")]
            subprocess.run(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["cp", "-a", str(place / "data"), str(data)], check=True)
    return data


@contextmanager
def running(settings: dict[str, str]) -> Iterator[installation.Installation]:
    """A copy of it, started with these settings; gone at the end."""
    with a_place() as place, installation.running(copied_to(place / "data"), a_port(), settings) as started:
        yield started
