"""The page on security names tests that there are, and a test for every threat."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
POINTS = [f"API{number}" for number in range(1, 11)]
CHAPTERS = [f"V{number}" for number in range(1, 17)]
ARTICLES = ["6", "9", "19", "24", *map(str, range(28, 32)), *map(str, range(44, 51)), "55"]


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


def rows_of(title: str) -> Iterator[list[str]]:
    """The rows of the tables below a title, each as its cells."""
    (section,) = re.findall(rf"^## {title}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    for row in re.findall(r"^\| (.*) \|$", section, re.MULTILINE):
        yield [cell.strip() for cell in row.split("|")]


@pytest.mark.parametrize("named", sorted(set(NAMED.findall(PAGE))), ids="::".join)
def test_every_test_that_is_named_exists(named: tuple[str, str]) -> None:
    path, name = named
    assert name in names_in(path)


def test_whatever_looks_like_a_test_is_read_as_one() -> None:
    assert len(re.findall(r"\btest_\w+\b(?!\.py)", PAGE)) == len(NAMED.findall(PAGE))


def test_every_threat_has_a_test_that_shows_it() -> None:
    rows = [row for row in rows_of("STRIDE") if row[0] in "STRIDE" and row[0]]
    assert {row[0] for row in rows} == set("STRIDE")
    for _, threat, _, shown in rows:
        assert NAMED.search(shown), threat


@pytest.mark.parametrize(
    ("title", "points"),
    [
        ("OWASP API Security Top 10, 2023", POINTS),
        ("ASVS 5.0, the chapters that apply", CHAPTERS),
        ("Personal Information Protection Law", ARTICLES),
    ],
)
def test_every_point_is_answered(title: str, points: list[str]) -> None:
    answered = [row[0].split(" ")[0] for row in rows_of(title)]
    assert [one for one in answered if one in points] == points
