"""A service's worker: readers of the feeds, jobs and ticks, woken by arq and by their own clocks.

Every piece of work is a loop that looks at PostgreSQL: at once when an arq job wakes it, and by itself after a while.
So a wake-up may be lost, doubled or late, and Redis may be away, and all work is still done.
"""

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import structlog
import uvloop
from arq.worker import Worker as ArqWorker
from arq.worker import func

from shared import resealing, telemetry
from shared.feed import maintenance
from shared.feed.log import LANES
from shared.feed.reader import Reaction, Reader
from shared.house import House, owners_read_by
from shared.jobs import JobFunction, run_open_jobs
from shared.proposals.use_cases import expire_proposals
from shared.retention.use_cases import purge
from shared.settings import Settings
from shared.wakes import deserialize, queue_of, redis_settings, serialize

logger = structlog.get_logger()

LOOK_SECONDS = 1.0
POLL_SECONDS = 0.05
MOST_BACKOFF_SECONDS = 10.0
ARQ_JOB_TIMEOUT_SECONDS = 5

TickFunction = Callable[[House], Awaitable[Any]]


@dataclass(frozen=True)
class Tick:
    """Something looked after every so many seconds, by one worker at a time if it locks."""

    run: TickFunction
    every_seconds: float
    on_wake: bool = False


@dataclass(frozen=True)
class Watch:
    """Something that runs for as long as the process lives. Its event is set whenever there may be something to do."""

    run: Callable[[House, asyncio.Event], Awaitable[None]]


@dataclass(frozen=True)
class Worker:
    """What a service's worker does: lists only, no logic."""

    reactions: Sequence[Reaction] = ()
    jobs: Mapping[str, JobFunction] = field(default_factory=dict)
    ticks: Sequence[Tick] = ()
    watches: Sequence[Watch] = ()


@dataclass
class Loop:
    """One piece of work that is repeated for as long as the process lives."""

    name: str
    run: Callable[[], Awaitable[Any]]
    every_seconds: float
    on_wake: bool = True
    _event: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Look now."""
        if self.on_wake:
            self._event.set()

    async def forever(self) -> None:
        """Look, wait for a wake-up or for the time to pass, look again. What fails is tried again, ever later."""
        failures = 0
        while True:
            self._event.clear()
            try:
                await self.run()
                failures = 0
            except Exception as error:  # whatever it is, the loop must live: nothing else would try again
                failures += 1
                logger.warning("loop.failed", loop=self.name, error=type(error).__name__, failures=failures)
            wait = min(MOST_BACKOFF_SECONDS, self.every_seconds * 2**failures) if failures else self.every_seconds
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), wait * random.uniform(0.9, 1.1))  # noqa: S311


def loops_of(house: House, worker: Worker) -> list[Loop]:
    """All loops of a service's worker."""
    loops = [
        Loop(f"feed {owner} {lane}", partial(Reader(house, owner, worker.reactions).drain, [lane]), LOOK_SECONDS)
        for owner in owners_read_by(house.settings.service)
        for lane in LANES
    ]
    jobs = {**worker.jobs, resealing.KIND: resealing.reseal}
    loops.append(Loop("jobs", lambda: run_open_jobs(house, jobs), LOOK_SECONDS))
    loops += [_watching(house, watch) for watch in worker.watches]
    ticks = [
        *worker.ticks,
        Tick(maintenance.keep_partitions, 3600),
        Tick(maintenance.forget_old_keys, 3600),
        Tick(expire_proposals, 60),
        Tick(purge, 3600),
    ]
    loops += [
        Loop(tick.run.__name__, lambda tick=tick: tick.run(house), tick.every_seconds, tick.on_wake)  # type: ignore[misc]
        for tick in ticks
    ]
    return loops


def _watching(house: House, watch: Watch) -> Loop:
    woken = asyncio.Event()
    return Loop(watch.run.__name__, lambda: watch.run(house, woken), LOOK_SECONDS, _event=woken)


def run(settings: Settings, worker: Worker) -> None:
    """Run a worker until SIGTERM or SIGINT. Blocks."""
    telemetry.configure_logs(settings.service, "worker")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, worker))


async def _serve(settings: Settings, worker: Worker) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Each reader holds a connection for its lock beside the one it works on.
    house = House.build(settings.model_copy(update={"database_pool": settings.database_pool + 8}))
    await house.start()
    loops = loops_of(house, worker)
    tasks = [asyncio.create_task(loop.forever(), name=loop.name) for loop in loops]
    tasks.append(asyncio.create_task(_listen(settings, loops), name="arq"))
    logger.info("worker.started", loops=[loop.name for loop in loops])
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await house.close()


async def _listen(settings: Settings, loops: Sequence[Loop]) -> None:
    """Turn arq jobs into wake-ups. Without Redis: try again each second; the loops look by themselves meanwhile."""

    async def wake(ctx: dict[Any, Any]) -> None:
        for loop in loops:
            loop.wake()

    while True:
        try:
            arq = ArqWorker(
                [func(cast("Any", wake), name="wake", keep_result=0, timeout=ARQ_JOB_TIMEOUT_SECONDS, max_tries=1)],
                redis_settings=redis_settings(settings.redis_url.get_secret_value()),
                queue_name=queue_of(settings.service),
                job_serializer=serialize,
                job_deserializer=deserialize,
                poll_delay=POLL_SECONDS,
                handle_signals=False,
            )
            await arq.async_run()
        except Exception as error:  # Redis is away or was restarted empty
            logger.warning("wakes.away", error=type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)
