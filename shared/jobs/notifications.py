"""Wake-ups: after a commit, put a small arq job into the queue of each subscriber's worker.

A wake-up only names the lanes that have new entries. It may be lost, because workers also poll every second. It is
therefore sent after the answer, at most once in 20 ms, and a failure to send it is not an error.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from arq.connections import ArqRedis, RedisSettings, create_pool

from shared.observability import tracing

log = structlog.get_logger()

GATHER_SECONDS = 0.02
LIFETIME_SECONDS = 5


def queue_of(service: str) -> str:
    """Return the name of the arq queue of a service's worker."""
    return f"fangxian:{service}"


def loop_of(owner: str, priority: str) -> str:
    """Return the name of a feed's lane in wake-ups, which is also the name of its loop in the worker."""
    return f"feed {owner} {priority}"


def redis_settings(url: str) -> RedisSettings:
    """Build the settings with which arq connects to Redis. It fails fast, because nothing depends on it."""
    settings = RedisSettings.from_dsn(url)
    settings.conn_timeout = 1
    settings.conn_retries = 0
    return settings


def serialize(job: dict[str, Any]) -> bytes:
    """Serialize an arq job as JSON instead of pickle."""
    return json.dumps(job, default=str).encode()


def deserialize(job: bytes) -> dict[str, Any]:
    """Deserialize an arq job from JSON."""
    fields: dict[str, Any] = json.loads(job)
    return fields


class WorkerNotifier:
    """Sends the wake-ups of one process."""

    def __init__(self, redis_url: str, targets: Sequence[str]) -> None:
        self._redis_url = redis_url
        self._targets = targets
        self._redis: ArqRedis | None = None
        self._task: asyncio.Task[None] | None = None
        self._pending: dict[str, set[str]] = {}
        self._causes: list[str] = []

    def wake(self, *targets: str, loop_names: Iterable[str] = ()) -> None:
        """Wake the given services, or all subscribers, soon. `loop_names` are the names of those with new entries."""
        for target in targets or self._targets:
            self._pending.setdefault(target, set()).update(loop_names)
        cause = tracing.here()
        if cause and len(self._causes) < tracing.MOST_CAUSES:
            self._causes.append(cause)
        if self._pending and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._send())

    async def ping(self) -> None:
        """Raise if Redis does not answer."""
        await (await self._connection()).ping()

    async def _connection(self) -> ArqRedis:
        if self._redis is None:
            self._redis = await create_pool(
                redis_settings(self._redis_url), job_serializer=serialize, job_deserializer=deserialize
            )
        return self._redis

    async def _send(self) -> None:
        while self._pending:
            pending, self._pending = self._pending, {}
            causes, self._causes = self._causes, []
            try:
                redis = await self._connection()
                for target, loop_names in pending.items():
                    await redis.enqueue_job(
                        "wake", sorted(loop_names), causes, _queue_name=queue_of(target), _expires=LIFETIME_SECONDS
                    )
            except Exception as error:  # nothing is lost, because the workers also poll PostgreSQL
                log.debug("wake.lost", error=type(error).__name__)
                await self._drop()
            await asyncio.sleep(GATHER_SECONDS)

    async def _drop(self) -> None:
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()

    async def close(self) -> None:
        """Stop sending and close the connection."""
        if self._task is not None:
            self._task.cancel()
        await self._drop()
