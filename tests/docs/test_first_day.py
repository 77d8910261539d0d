"""The page of the first day is what an operator types: these very lines are run, with a person at the browser.

The installation gives nobody a token for the asking: all come by sign-in and by machines' secrets.
"""

import asyncio
import base64
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
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
from tests import prepared
from tests.deploy.starting import PATIENCE, ROOT, a_place, a_port, clean_environment
from tests.deploy.test_production import verdicts
from tests.docs.browser import set_password
from tests.gateway.signing_in import PASSWORD

BLOCK = re.compile(r"^```bash first-day\n(.*?)^```", re.MULTILINE | re.DOTALL)
PRODUCTION = re.compile(r"^```ini fangxian\.env\n(.*?)^```", re.MULTILINE | re.DOTALL)
SETTINGS = {"FANGXIAN_DEVELOPMENT_ISSUER": "false", "FANGXIAN_DEMONSTRATION_IDS": "true"}


@dataclass
class Shell:
    """An operator's shell on the machine."""

    url: str
    data: Path
    place: Path
    repository: Path

    def run(self, script: str, login: str, program: Sequence[str] = ("bash", "-euo", "pipefail")) -> str:
        """Type these lines; what the shell prints. The person of that name is at the browser, and keeps a session."""
        venv = Path(sys.executable).parent
        environment = {
            "PATH": f"{venv}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.place),
            "XDG_STATE_HOME": str(self.place / login),
            "XDG_DATA_HOME": str(self.data),
            "FANGXIAN": self.url,
            "PYTHONPATH": str(self.repository),
            "BROWSER": f"{sys.executable} -m tests.docs.browser %s &",
            "LOGIN": login,
            "PASSWORD": PASSWORD,
        }
        done = subprocess.run(
            [*program, "-c", script],
            cwd=self.place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
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


@pytest.mark.long
@pytest.mark.timeout(900)  # some thirty commands, one after the other
def test_the_first_day(shell: Shell, page: str) -> None:
    assert httpx.post(f"{shell.url}/gateway/v1/development/tokens", json={"role": "command"}).status_code == 404
    link = first_link(installed(shell.data / "fangxian").owner_url, shell.url)
    assert link is not None
    told = asyncio.run(set_password(link, PASSWORD, login="chen.admin", name="陈", party="新塘街道指挥部"))
    assert "fangxian clients add" in told
    blocks = BLOCK.findall(page)
    said = shell.run("\n".join(blocks), "chen.admin")

    assert '"role":"command"' in said.splitlines()[0]
    states = re.findall(r'"role":"(\w+)".*?"state":"(\w+)"', said)
    assert states == [("command", "active"), ("community_officer", "active"), ("doorkeeper", "active")]
    regions = re.findall(r'"region":"(\d+)","name":"第一', said)
    assert regions == ["35058200500101", "3505820050010101"]
    counts = re.findall(r'"result":\{[^}]*"created":(\d+)', said)
    assert counts == ["1", "1"]
    assert (shell.place / "errors.csv").read_text(encoding="utf-8-sig").startswith("姓名,")
    assert said.count('{"items":[],"next_cursor":null}') == 2
    assert "/problems/" not in said
    links = dict(re.findall(rf"^(\S+): ({shell.url}/sign-in/link/\S+)$", said, re.MULTILINE))
    assert sorted(links) == ["chen.second", "lin.officer", "wang.door"]
    assert '"challenge_id"' in said
    doctor = said.partition(" what ")[2]
    assert "runs as process" in doctor
    assert "WRONG" not in doctor
    assert not list(shell.place.glob("chen.admin/fangxian/session-*.json"))  # signed out

    secrets = dict(re.findall(r"^(lab-1|desk-120|reader-1): (\S+)$", said, re.MULTILINE))
    for machine in ("lab-1", "desk-120", "reader-1"):
        answer = httpx.post(
            f"{shell.url}/oauth/token", auth=(machine, secrets[machine]), data={"grant_type": "client_credentials"}
        )
        assert answer.status_code == 200, (machine, answer.text)
    assert re.search(r"^desk-120 signs with: whsec_\S{40,}$", said, re.MULTILINE)

    for login in ("chen.second", "wang.door"):
        assert login in asyncio.run(set_password(links[login], PASSWORD))
    officer = asyncio.run(set_password(links["lin.officer"], PASSWORD))
    assert "fangxian sign-in" in officer
    listed = [*blocks[:2], 'call "$FANGXIAN/registry/v1/residents"']
    zsh = ("zsh", "-fe") if shutil.which("zsh") else ("bash", "-e")
    assert "003582********0019" in shell.run("\n".join(listed), "lin.officer", zsh)


def test_the_settings_of_production_on_the_page_satisfy_the_doctor(page: str) -> None:
    (written,) = PRODUCTION.findall(page)
    pairs = [line.split("=", 1) for line in written.splitlines()]
    settings = {name: shlex.split(value)[0] for name, value in pairs}  # as systemd reads them, and a shell
    assert settings["FANGXIAN_PHONE_GATEWAY_SECRET"] == "whsec_…"
    settings["FANGXIAN_PHONE_GATEWAY_SECRET"] = "whsec_" + base64.b64encode(bytes(32)).decode()
    through_nginx = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    with prepared.running(settings) as running:
        assert httpx.get(f"{running.url}/status", headers=through_nginx, trust_env=False).status_code == 200
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli", "doctor", "--data", str(running.data)],
            env=clean_environment() | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert done.returncode == 0, done.stdout
    assert set(verdicts(done).values()) == {"ok"}, done.stdout


def test_no_block_has_what_an_interactive_zsh_reads_otherwise(page: str) -> None:
    for block in BLOCK.findall(page):
        assert not re.search(r"(^|\s)#", block, re.MULTILINE), "zsh takes no comments where one types"
        assert 'echo "$ACCOUNT"' not in block, "zsh's echo replaces the \\n of JSON"


def test_every_role_and_every_column_is_told(page: str) -> None:
    people, machines = re.findall(r"^\| role \|.*?\n\n", page, re.MULTILINE | re.DOTALL)
    for table, roles in ((people, GIVEN), (machines, MACHINES)):
        told = [name for row in table.strip().splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
        assert sorted(told) == sorted(role.label for role in roles)
    (headings,) = re.findall(r"^\| heading \|.*?\n\n", page, re.MULTILINE | re.DOTALL)
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in headings.strip().splitlines()[2:]]
    assert {name.strip("`"): tuple(others.split(", ")) for name, others, _ in rows} == COLUMNS
    assert tuple(name.strip("`") for name, _, what in rows if what.startswith("required")) == REQUIRED
