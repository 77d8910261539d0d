"""The unit for systemd: systemd accepts it, and it starts what there is with variables that are settings."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import data, supervisor, variables
from tests.deploy.starting import ROOT

UNIT = ROOT / "deploy" / "systemd" / "fangxian.service"


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters=("=",), comment_prefixes=("#",), interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return parser


def test_it_starts_up_and_leaves_the_order_of_the_end_to_the_supervisor(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    program, *words = service["ExecStart"].split()
    assert (Path(program).name, words) == ("fangxian", ["up"])
    assert service["KillMode"] == "mixed"
    # Processes, then servers: each is asked, asked again, and killed.
    assert float(service["TimeoutStopSec"]) >= 2 * 3 * supervisor.DRAIN_SECONDS
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_its_data_lies_in_its_own_state_directory(unit: configparser.ConfigParser) -> None:
    name, _, path = unit["Service"]["Environment"].partition("=")
    assert name == data.VARIABLE
    assert variables.unknown({name: path}) == []
    assert Path(path).parent == Path("/var/lib") / unit["Service"]["StateDirectory"]
    assert path.isascii()  # else the sockets would lie in /tmp, which is the unit's own


def test_the_page_says_how_it_is_installed(unit: configparser.ConfigParser, repository: Path) -> None:
    page = (repository / "docs" / "running.md").read_text(encoding="utf-8")
    service = unit["Service"]
    for words in (service["EnvironmentFile"], str(Path(service["ExecStart"].split()[0]).parents[1]), service["User"]):
        assert words in page


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
def test_systemd_accepts_it(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8").replace("/opt/fangxian/.venv/bin/fangxian", sys.executable)
    text = text.replace("User=fangxian", "User=root").replace("Group=fangxian", "Group=root")
    (tmp_path / UNIT.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / UNIT.name)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert UNIT.name not in done.stdout + done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
