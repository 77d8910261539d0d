"""The page of the first day is what an operator types: these very lines are run, with a person at the browser.

The installation gives nobody a token for the asking: all come by sign-in and by machines' secrets.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deploy.administration import first_link
from deploy.commands import installed
from deploy.demo import installation
from services.gateway.clients.rules import MACHINES
from services.gateway.grants.rules import GIVEN
from services.registry.imports.columns import COLUMNS, REQUIRED
from tests.deploy.starting import a_place, a_port
from tests.docs.browser import set_password
from tests.gateway.signing_in import PASSWORD

BLOCK = re.compile(r"^```bash first-day\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"^```python (sign_in\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SETTINGS = {"FANGXIAN_DEVELOPMENT_ISSUER": "false", "FANGXIAN_DEMONSTRATION_IDS": "true"}


@dataclass
class Shell:
    """An operator's shell on the machine."""

    url: str
    data: Path
    place: Path
    repository: Path

    def run(self, script: str, login: str) -> str:
        """Type these lines; what is said. Whoever is sent to sign in is the person of that name."""
        venv = Path(sys.executable).parent
        environment = {
            "PATH": f"{venv}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.place),
            "XDG_DATA_HOME": str(self.data),
            "FANGXIAN": self.url,
            "PYTHONPATH": str(self.repository),
            "BROWSER": f"{sys.executable} -m tests.docs.browser %s &",
            "LOGIN": login,
            "PASSWORD": PASSWORD,
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "first-day.md").read_text(encoding="utf-8")


@pytest.fixture
def shell(tmp_path: Path, repository: Path) -> Iterator[Shell]:
    with a_place() as data, installation.running(data / "fangxian", a_port(), SETTINGS) as running:
        yield Shell(running.url, data, tmp_path, repository)


def test_the_first_day(shell: Shell, page: str) -> None:
    assert httpx.post(f"{shell.url}/gateway/v1/development/tokens", json={"role": "command"}).status_code == 404
    link = first_link(installed(shell.data / "fangxian").owner_url, shell.url)
    assert link is not None
    told = asyncio.run(set_password(link, PASSWORD, login="chen.admin", name="陈"))
    assert "fangxian clients add" in told
    ((name, program),) = PROGRAM.findall(page)
    (shell.place / name).write_text(program, encoding="utf-8")
    day = [*BLOCK.findall(page), 'echo "officer: $OFFICER_LINK"']
    said = shell.run("\n".join(day), "chen.admin")

    assert '"role":"command"' in said.splitlines()[1]
    states = re.findall(r'"role":"(\w+)".*?"state":"(\w+)"', said)
    assert states == [("command", "active"), ("community_officer", "active"), ("doorkeeper", "active")]
    counts = re.findall(r'"result":\{[^}]*"created":(\d+)', said)
    assert counts == ["1", "1"]
    assert (shell.place / "errors.csv").read_text(encoding="utf-8-sig").startswith("姓名,")
    assert said.count('{"items":[],"next_cursor":null}') == 2
    assert '"source":"desk_120"' in said
    assert "/problems/" not in said
    for who in ("chen.second", "lin.officer", "wang.door"):
        assert re.search(rf"^{re.escape(who)}: http://\S+/sign-in/link/\S+$", said, re.MULTILINE), who
    for machine in ("lab-1", "desk-120", "reader-1"):
        assert re.search(rf"^{machine}: \S{{20,}}$", said, re.MULTILINE), machine
    assert '"region":"3505820050010101"' in said

    officer = said.split("officer: ")[1].strip()
    assert "Open your application:" in asyncio.run(set_password(officer, PASSWORD))
    signed_in = 'curl -sS -H "Authorization: Bearer $(python3 sign_in.py)" "$FANGXIAN/registry/v1/residents"'
    assert "003582********0019" in shell.run(signed_in, "lin.officer")


def test_every_role_and_every_column_is_told(page: str) -> None:
    people, machines = re.findall(r"^\| role \|.*?\n\n", page, re.MULTILINE | re.DOTALL)
    for table, roles in ((people, GIVEN), (machines, MACHINES)):
        told = [name for row in table.strip().splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
        assert sorted(told) == sorted(role.label for role in roles)
    (headings,) = re.findall(r"^\| heading \|.*?\n\n", page, re.MULTILINE | re.DOTALL)
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in headings.strip().splitlines()[2:]]
    assert {name.strip("`"): tuple(others.split(", ")) for name, others, _ in rows} == COLUMNS
    assert tuple(name.strip("`") for name, _, what in rows if what.startswith("required")) == REQUIRED
