"""The README's tour is what a newcomer types: these very lines are run, on a real installation."""

import re
import subprocess
from pathlib import Path

import pytest

from deploy.demo import installation
from tests import prepared
from tests.deploy.starting import a_port

TOUR = re.compile(r"^```bash tour\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def tour(repository: Path) -> str:
    (found,) = TOUR.findall((repository / "README.md").read_text(encoding="utf-8"))
    return str(found)


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
    assert '"verdict":"pass"' in said
    assert '"receipt":"FXR.' in said
    assert "#/document_number" in said
    assert [line[:1] for line in said.splitlines()] == ["{"] * 4
