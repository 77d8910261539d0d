"""The README's tour is what a newcomer types: these very lines are run, on a real installation."""

import fcntl
import os
import pty
import re
import select
import shutil
import subprocess
import termios
import time
from pathlib import Path

import pytest

from deploy.demo import installation
from tests import prepared
from tests.deploy.starting import PATIENCE, a_port

TOUR = re.compile(r"^```bash tour\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def tour(repository: Path) -> str:
    found = TOUR.findall((repository / "README.md").read_text(encoding="utf-8"))
    assert len(found) == 6
    return "\n".join(found)


def test_the_tour_of_the_readme(tour: str) -> None:
    with installation.running(None, a_port(), {"FANGXIAN_DEMONSTRATION_IDS": "true"}) as running:
        for _ in ("the first time", "again"):
            done = typed(tour, running.url)
            assert done.returncode == 0, done.stdout + done.stderr
            check(done.stdout)


def test_the_tour_says_what_it_misses(tour: str) -> None:
    with prepared.running({"FANGXIAN_DEMONSTRATION_IDS": "false"}) as running:
        done = typed(tour, running.url)
    assert done.returncode != 0
    assert "#/document_number" in done.stderr
    assert "id_demonstration" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_tour_pasted_into_a_terminal(tour: str, shell: str) -> None:
    """An interactive zsh takes no comments, and both shells take apostrophes, globs and exclamation marks their way."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} on this machine")
    with prepared.running({"FANGXIAN_DEMONSTRATION_IDS": "true"}) as running:
        check(pasted(tour, [program, *BARE[shell], "-i"], running.url))


BARE = {"bash": ["--norc", "--noprofile", "--noediting"], "zsh": ["-f", "-o", "no_zle", "-o", "no_prompt_cr"]}
"""Without anybody's own configuration, and without the editor, which draws each line again."""


def pasted(lines: str, command: list[str], url: str) -> str:
    """What an interactive shell says when these lines are pasted into its terminal."""
    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "FANGXIAN": url, "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment | {"PS1": "", "PS2": "", "HISTFILE": ""},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as shell:
        os.close(theirs)
        said = b""
        try:
            for line in [*lines.splitlines(), "exit"]:
                os.write(ours, line.encode() + b"\n")
                said += read_while_there(ours)
            until_over = time.monotonic() + PATIENCE
            while time.monotonic() < until_over and shell.poll() is None:
                said += read_while_there(ours)
            said += read_while_there(ours)
        finally:
            shell.kill()
            os.close(ours)
    return said.decode(errors="replace").replace("\r\n", "\n")


def read_while_there(terminal: int) -> bytes:
    """What a terminal has shown by now."""
    said = b""
    while select.select([terminal], [], [], 0.05)[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the shell has ended
            return said
        if not part:
            return said
        said += part
    return said


def typed(tour: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", tour],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "FANGXIAN": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def check(said: str) -> None:
    assert '"region":"350582005001"' in said
    assert '"name":"张**"' in said
    assert re.search(r"003582\*{8}[0-9]{3}[0-9X]", said)
    assert "张三丰" not in said
    assert '"colour":"green"' in said
    assert '"verdict":"pass"' in said
    assert '"receipt":"FXR.' in said
    assert "#/document_number" in said
    assert [line[:1] for line in said.splitlines() if line and not line.startswith("exit")] == ["{"] * 5, said
