"""Every hot path against its floor: a collapse fails, and the ratio is printed. `pytest -m bench -n0 -s`.

The limits here are far below the aims, for machines that others use as well; the page shows the aims.
"""

import sys

import pytest

from deploy.bench.page import Figure, Page, line_of
from deploy.bench.run import bench

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def page() -> Page:
    """One quick run of all paths."""
    return bench([], [], quick=True, json=None)


LEAST = {
    "verify": 0.2,
    "code": 0.2,
    "generator": 1.2,
    "audit": 0.5,
    "webhooks": 0.1,
    "import": 0.002,
    "upload": 0.01,
    "feed": 150,
}
"""Ratios, and entries a second of the feed."""
MOST = {
    "scope": 200,
    "growth": 4,
    "results": 200,
    "positive": 10_000,
    "alongside": 10_000,
    "latency": 3_000,
    "memory": 5,
}
"""Ratios, and milliseconds of what has no floor."""


def figures_of(page: Page, path: str) -> list[Figure]:
    """A path's figures, printed."""
    found = [figure for figure in page.figures if figure.path == path]
    for figure in found:
        sys.stdout.write(f"\n{line_of(figure)}\n")
    assert found, f"{path} is not on the page"
    assert not any(figure.failed for figure in found), found
    return found


@pytest.mark.parametrize("path", LEAST)
def test_it_is_not_far_below_its_floor(page: Page, path: str) -> None:
    figures = [figure for figure in figures_of(page, path) if figure.aim is None or figure.aim.better == "at least"]
    assert all(figure.value is not None and figure.value >= LEAST[path] for figure in figures), figures


@pytest.mark.parametrize("path", MOST)
def test_it_does_not_take_far_longer_than_its_floor(page: Page, path: str) -> None:
    figures = figures_of(page, path)
    assert all(figure.value is not None and figure.value <= MOST[path] for figure in figures), figures


def test_the_last_hundredth_at_the_door_does_not_wait(page: Page) -> None:
    tails = [
        figure for figure in figures_of(page, "verify") if figure.aim is not None and figure.aim.better == "at most"
    ]
    assert [tail.value is not None and tail.value < 30 for tail in tails] == [True]
