"""One installation for all faults. After a test that failed in it, the next test gets a new one."""

from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack

import pytest

from tests.faults.site import installed
from tests.faults.world import World

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test failed, for the fixtures that end after it."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


class Worlds:
    """The installation that the tests of a module share, for as long as none of them fails."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._opened = AsyncExitStack()

    async def current(self) -> World:
        """The shared one, with its usual settings; a new one if there is none."""
        if self._world is None:
            site = self._opened.enter_context(installed())
            self._world = await self._opened.enter_async_context(World.open(site))
        await self._world.site.restart()
        return self._world

    async def discard(self) -> None:
        """End it: whatever a failed test left behind is no later test's business."""
        self._world = None
        await self._opened.aclose()


@pytest.fixture(scope="module")
async def worlds() -> AsyncIterator[Worlds]:
    """The installations of this module, one at a time."""
    worlds = Worlds()
    yield worlds
    await worlds.discard()


@pytest.fixture
async def world(worlds: Worlds, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """An installation in which nothing has gone wrong yet."""
    yield await worlds.current()
    if request.node.stash.get(FAILED, False):
        await worlds.discard()
