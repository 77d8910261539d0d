"""What every test stands on: one real PostgreSQL and one real Valkey a run, one database a test worker.

The four services run in the test's own process, on an event loop of their own, and reach each other through ASGI; the
feed is drained when a test says so (`context.settle()`), so nothing waits on a clock.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from deploy import embedded
from shared.http import route
from tests.days import until_a_day_lasts
from tests.deploy import starting
from tests.harness import Database, District, make_template
from tests.prepared import PLACE

route.strict_problems = True

# The same examples in every run, however slow the machine: a landing is not refused for what chance draws. Look further
# with `--hypothesis-profile=default`.
hypothesis.settings.register_profile(
    "ours", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("ours")


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers once, in the process that controls the run; workers are given their addresses."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    config.stash[SERVERS] = servers = embedded.temporary()
    started = servers.__enter__()
    os.environ["FANGXIAN_TEST_OWNER_URL"] = started.owner_url
    os.environ["FANGXIAN_TEST_REDIS_URL"] = started.redis_url
    config.stash[PREPARED] = prepared = starting.a_place()
    os.environ[PLACE] = str(prepared.__enter__())
    try:
        make_template(started.owner_url)
    except BaseException:
        pytest_unconfigure(config)
        raise


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop them, and remove all they made."""
    for key in (PREPARED, SERVERS):
        made = config.stash.get(key, None)
        if made is not None:
            del config.stash[key]
            made.__exit__(None, None, None)


SERVERS = pytest.StashKey[Any]()
PREPARED = pytest.StashKey[Any]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file is one worker's: the longest go first, so that the many short ones fill the end evenly."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    name = f"{item.path.parent.name}/{item.path.stem}"
    if name in LONGEST:
        return LONGEST.index(name)
    return len(LONGEST) + (item.path.parent.name not in WITH_PROCESSES)


LONGEST = (
    "faults/test_faults",
    "keys/test_rotation",
    "keys/test_destroying",
    "deploy/test_cli",
    "deploy/test_supervisor",
    "sunset/test_sunset",
    "canary/test_canary",
    "journeys/test_demo",
    "walk/test_foreign_tokens",
    "gateway/test_lock_out",
    "journeys/test_audit",
    "docs/test_first_day",
    "docs/test_readme",
    "deploy/test_alone",
    "shared/test_tracing",
)
"""More than ten seconds each, by how long they take."""
WITH_PROCESSES = ("canary", "demo", "deploy", "docs", "faults", "journeys", "keys", "sunset", "walk")


def own_database(redis_url: str, worker_id: str) -> str:
    """Valkey's database of a test worker, so that none counts or hears what another one does."""
    number = int(worker_id.removeprefix("gw")) + 1 if worker_id.startswith("gw") else 0
    return redis_url.replace("?db=0", f"?db={number % 16}")


@pytest.fixture(scope="session")
def database(worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """This test worker's own database, with all schemas, and a directory of keys."""
    with Database.cloned(
        os.environ["FANGXIAN_TEST_OWNER_URL"],
        own_database(os.environ["FANGXIAN_TEST_REDIS_URL"], worker_id),
        f"test_{worker_id}",
        tmp_path_factory.mktemp("keys"),
    ) as made:
        yield made


@pytest.fixture(scope="session")
async def running(database: Database) -> AsyncIterator[District]:
    """The four services of this test worker, started once."""
    async with District.running(database) as district:
        yield district


@pytest.fixture
async def district(running: District) -> AsyncIterator[District]:
    """The four services over empty tables, on a day that lasts until the test is over."""
    await asyncio.to_thread(until_a_day_lasts, 30)
    await running.empty()
    yield running
    running.clock_right()


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """The name of this test worker; `main` without pytest-xdist."""
    found = getattr(request.config, "workerinput", {"workerid": "main"})["workerid"]
    return str(found)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the project."""
    return Path(__file__).parent.parent
