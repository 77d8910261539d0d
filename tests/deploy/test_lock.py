"""The lock holds all that the program needs, in versions that the project takes, and nothing without a hash."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
TOML = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = TOML["project"]
NEEDED = [
    Requirement(text)
    for text in (
        *TOML["build-system"]["requires"],
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["otel"],
    )
]
ENTRIES = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text(encoding="utf-8").strip())
LOCKED = [Requirement(entry.partition(" \\")[0]) for entry in ENTRIES]


def locked(name: str) -> list[Requirement]:
    return [one for one in LOCKED if canonicalize_name(one.name) == canonicalize_name(name)]


@pytest.mark.parametrize("needed", NEEDED, ids=lambda needed: str(needed.name))
def test_every_dependency_is_locked_in_a_version_the_project_takes(needed: Requirement) -> None:
    (found,) = locked(needed.name)
    (pin,) = found.specifier
    assert pin.operator == "=="
    assert needed.specifier.contains(pin.version, prereleases=True)
    assert found.marker is None  # it is needed wherever the program runs


def test_nothing_is_locked_without_a_hash() -> None:
    assert len(ENTRIES) > len(NEEDED)
    for entry in ENTRIES:
        first, *others = entry.split(" \\\n")
        assert "==" in first
        assert others
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in others), first


def test_nothing_is_locked_twice_for_one_python() -> None:
    for one in LOCKED:
        alike = locked(one.name)
        assert len(alike) == len({str(other.marker) for other in alike})


@pytest.mark.parametrize("path", ["deploy/Dockerfile", ".ci/run"])
def test_what_is_delivered_and_tested_comes_from_the_lock(path: str) -> None:
    installed = [line for line in (ROOT / path).read_text(encoding="utf-8").splitlines() if "pip install" in line]
    assert "--require-hashes" in installed[0]
    assert "requirements.lock" in installed[0]
    assert "--no-deps" in installed[1]
    assert "--no-build-isolation" in installed[1]
