"""The worker of a service: feed readers, jobs and periodic tasks.

Each of them is a loop that polls PostgreSQL: immediately when an arq job wakes it, and otherwise after an interval. All
work is therefore done even if a wake-up is lost, repeated or late, or Redis is unavailable.
"""

import asyncio
import contextlib
import gc
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

from shared.audit import chaining
from shared.core.settings import LOCK_CONNECTIONS, Service, Settings
from shared.crypto import reencryption
from shared.feed import maintenance
from shared.feed.log import PRIORITIES
from shared.feed.reader import IDLE_MOVE_SECONDS, Reaction, Reader
from shared.governance.proposals.use_cases import expire_proposals
from shared.governance.retention.use_cases import Purge, purge_all
from shared.jobs.notifications import deserialize, loop_of, queue_of, redis_settings, serialize
from shared.jobs.queue import JOBS, JobFunction, run_open_jobs
from shared.observability import telemetry, tracing
from shared.runtime.context import ServiceContext, owners_read_by

logger = structlog.get_logger()

LOOK_SECONDS = 1.0
OBJECTS_BETWEEN_COLLECTIONS = 100_000
POLL_SECONDS = 0.05
CHAIN_SECONDS = 0.5
MOST_BACKOFF_SECONDS = 10.0
RARE_SECONDS = 600.0
"""Loops with at least this interval wait `FIRST_RARE_SECONDS` first, so that all others start before them."""
FIRST_RARE_SECONDS = 5.0, 20.0
ARQ_JOB_TIMEOUT_SECONDS = 5
HELD_UP_SECONDS = {"urgent": (0.02, 0.04, 0.08, 0.16, 0.32), "normal": (0.08, 0.16, 0.32)}
"""Waits before a lane is read again whose entries an older open transaction holds up, because their wake-up is already
used. A batch of 5,000 codes holds up a positive for 150 ms. Normal entries can wait longer, and one read costs as much
as 500 of them."""

PeriodicFunction = Callable[[ServiceContext], Awaitable[Any]]


@dataclass(frozen=True)
class PeriodicTask:
    """A task that every worker runs at an interval. A task that must not run twice at a time takes a lock itself."""

    run: PeriodicFunction
    every_seconds: float
    on_wake: bool = False


@dataclass(frozen=True)
class Monitor:
    """A task that runs as long as the process. Its event is set when there may be work."""

    run: Callable[[ServiceContext, asyncio.Event], Awaitable[None]]


@dataclass(frozen=True)
class Worker:
    """The declaration of what a service's worker does."""

    reactions: Sequence[Reaction] = ()
    jobs: Mapping[str, JobFunction] = field(default_factory=dict)
    periodic_tasks: Sequence[PeriodicTask] = ()
    monitors: Sequence[Monitor] = ()
    purges: Sequence[Purge] = ()


@dataclass
class Loop:
    """One function that is repeated as long as the process lives."""

    name: str
    run: Callable[[], Awaitable[Any]]
    every_seconds: float
    on_wake: bool = True
    """Whether every wake-up wakes it, and not only one that names it."""
    _event: asyncio.Event = field(default_factory=asyncio.Event)
    _causes: list[str] = field(default_factory=list)

    def wake(self, causes: Sequence[str] = ()) -> None:
        """Run now. `causes` are the traces of the requests that caused the work."""
        self._causes = [*self._causes, *causes][-tracing.MOST_CAUSES :]
        self._event.set()

    async def forever(self) -> None:
        """Run, wait for a wake-up or the interval, and repeat. After failures the wait grows."""
        failures = 0
        if self.every_seconds >= RARE_SECONDS:
            await asyncio.sleep(random.uniform(*FIRST_RARE_SECONDS))  # noqa: S311
        while True:
            self._event.clear()
            causes, self._causes = self._causes, []
            try:
                with tracing.caused_by(causes):
                    await self.run()
                failures = 0
            except Exception as error:  # the loop must survive any error, because nothing else would retry
                failures += 1
                logger.warning("loop.failed", loop=self.name, error=type(error).__name__, failures=failures)
            wait = min(MOST_BACKOFF_SECONDS, self.every_seconds * 2**failures) if failures else self.every_seconds
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), wait * random.uniform(0.9, 1.1))  # noqa: S311


def loops_of(context: ServiceContext, worker: Worker) -> list[Loop]:
    """Build all loops of a service's worker."""
    loops = [loop for owner in owners_read_by(context.settings.service) for loop in _reading(context, owner, worker)]
    jobs = {**worker.jobs, reencryption.KIND: reencryption.reencrypt}

    async def purge(context: ServiceContext) -> None:
        await purge_all(context, worker.purges)

    loops.append(Loop(JOBS, lambda: run_open_jobs(context, jobs), LOOK_SECONDS, on_wake=False))
    loops += [_monitoring(context, monitor) for monitor in worker.monitors]
    periodic_tasks = [
        *worker.periodic_tasks,
        PeriodicTask(chaining.chain_entries, CHAIN_SECONDS),
        PeriodicTask(maintenance.keep_partitions, 3600),
        PeriodicTask(maintenance.forget_old_keys, 3600),
        PeriodicTask(expire_proposals, 60),
        PeriodicTask(purge, 3600),
    ]
    loops += [
        Loop(task.run.__name__, partial(_once, context, task), task.every_seconds, task.on_wake)
        for task in periodic_tasks
    ]
    return loops


async def _once(context: ServiceContext, task: PeriodicTask) -> None:
    with tracing.handling(task.run.__name__):
        await task.run(context)


def _reading(context: ServiceContext, owner: Service, worker: Worker) -> list[Loop]:
    """Build a loop for each lane of an owner's feed, and one that polls all lanes and wakes those with entries."""
    reader = Reader(context, owner, worker.reactions)
    if not reader.types:
        return []

    async def drain(priority: str) -> None:
        await reader.drain([priority])
        for seconds in HELD_UP_SECONDS[priority]:
            if priority not in reader.held_up:
                return
            await asyncio.sleep(seconds)
            await reader.drain([priority])

    priorities = {
        priority: Loop(loop_of(owner, priority), partial(drain, priority), IDLE_MOVE_SECONDS, on_wake=False)
        for priority in PRIORITIES
    }

    async def look() -> None:
        for priority, seconds in (await reader.unread()).items():
            if seconds:
                priorities[priority].wake()

    return [*priorities.values(), Loop(f"look {owner}", look, LOOK_SECONDS, on_wake=False)]


def _monitoring(context: ServiceContext, monitor: Monitor) -> Loop:
    woken = asyncio.Event()
    return Loop(monitor.run.__name__, lambda: monitor.run(context, woken), LOOK_SECONDS, _event=woken)


def run(settings: Settings, worker: Worker) -> None:
    """Run a worker until SIGTERM or SIGINT. Blocks."""
    telemetry.configure_logs(settings.service, "worker")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, worker))


async def _serve(settings: Settings, worker: Worker) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    context = ServiceContext.build(
        settings.model_copy(update={"database_pool": settings.database_pool + LOCK_CONNECTIONS})
    )
    await context.start()
    # A batch creates many objects and no cycles. Searching all objects for cycles took two thirds of its time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
    loops = loops_of(context, worker)
    tasks = [asyncio.create_task(loop.forever(), name=loop.name) for loop in loops]
    tasks.append(asyncio.create_task(_listen(settings, loops), name="arq"))
    logger.info("worker.started", loops=[loop.name for loop in loops])
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await context.close()


async def _listen(settings: Settings, loops: Sequence[Loop]) -> None:
    """Turn arq jobs into wake-ups. Without Redis, retry each second; meanwhile the loops poll by themselves."""

    async def wake(ctx: dict[Any, Any], loop_names: Sequence[str] = (), causes: Sequence[str] = ()) -> None:
        for loop in loops:
            if loop.on_wake or loop.name in loop_names:
                loop.wake(causes)

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
        except Exception as error:  # Redis is unavailable, or it restarted empty
            logger.warning("notifications.away", error=type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)
