"""The page for operators names what there is: every setting, every metric, every command, and every page by a link."""

import importlib
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from typer.main import get_command

from deploy.cli import app
from services.gateway.edge.rates import OPERATIONS
from shared.core.settings import SERVICES, Settings

FOR_TESTS_ONLY = {"publish", "wake_subscribers", "key_waits"}
GIVEN_BY_THE_COMMAND = {"service"}
ROOT = Path(__file__).parents[2]
PAGES = sorted(str(page.relative_to(ROOT)) for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
FILE = re.compile(r"`((?:services|shared|migrations|deploy|tests|docs|\.ci)/[\w./-]+)`")
LINK = re.compile(r"\]\(([^)#:]*)(#[^)]*)?\)")


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "running.md").read_text(encoding="utf-8")


def test_every_setting_is_told_and_no_other(page: str) -> None:
    (table,) = re.findall(r"^\| variable \|.*?\n\n", page, re.MULTILINE | re.DOTALL)
    told = {
        name.lower()
        for row in table.strip().splitlines()
        for name in re.findall(r"`FANGXIAN_(\w+)`", row.split("|")[1])
    }
    assert told == set(Settings.model_fields) - FOR_TESTS_ONLY - GIVEN_BY_THE_COMMAND


def test_every_limit_of_an_operation_is_told(page: str) -> None:
    for (method, path), most in OPERATIONS.items():
        assert f"{most} `{method} {path}`" in page


def test_every_metric_is_told_and_no_other(page: str) -> None:
    (table,) = re.findall(r"^\| metric \|.*?\n\n", page, re.MULTILINE | re.DOTALL)
    for service in SERVICES:
        importlib.import_module(f"services.{service}.app")
    there = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in REGISTRY.collect()
        if metric.name.startswith("fangxian_")
    }
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == there


def test_every_command_is_told(page: str) -> None:
    there = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert set(re.findall(r"`fangxian (\w[\w-]*)", page)) >= there
    assert set(re.findall(r"`fangxian (\w[\w-]*)", page)) <= there


def test_the_reaction_that_is_shown_is_one_of_ours(repository: Path) -> None:
    (shown,) = re.findall(
        r"```python\n(.*?)```", (repository / "docs" / "feed.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert shown in (repository / "services/gateway/guardianships/reactions.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_is_named_is_there(repository: Path, name: str) -> None:
    for path in FILE.findall((repository / name).read_text(encoding="utf-8")):
        assert (repository / path).exists(), path


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(repository: Path, name: str) -> None:
    document = repository / name
    for path, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        target = document.parent / path if path else document
        assert target.exists(), path
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor[1:] in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
