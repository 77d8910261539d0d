"""Rate limits: requests a minute per caller.

A caller is counted in this process first. Only a caller who uses more than a fifth of the limit here is also counted in
Redis, over all processes. So an ordinary request needs no call to Redis, and a flood is limited over all replicas. If
Redis is away, each process applies the whole limit by itself: there is always a limit, and never a complete stop.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter

from services.gateway.edge.priority_class import PriorityClass
from shared.core.actors import Actor, Role
from shared.core.settings import Settings
from shared.problems import TooManyRequests

logger = structlog.get_logger()

LOCAL_PART = 5
"""A fifth of a limit is counted only locally. Up to five replicas together then stay within the limit."""
REDIS_SECONDS = 0.1
REDIS_REST_SECONDS = 5.0
"""How long Redis is not called after a failure."""

OPERATIONS: Mapping[tuple[str, str], int] = {
    ("POST", "/registry/v1/residents/search"): 60,
    ("POST", "/registry/v1/imports"): 10,
    ("POST", "/gateway/v1/policies/trials"): 20,
}
"""Operations with a lower limit, in requests a minute."""

SERVICES = "/services/"
"""Path of protected services. They have a separate limit, because one page can cause many requests."""


@dataclass
class Rates:
    """The limits of one process."""

    settings: Settings
    _local: FixedWindowRateLimiter = field(init=False)
    _shared: FixedWindowRateLimiter = field(init=False)
    _rest_until: float = 0.0

    def __post_init__(self) -> None:
        self._local = FixedWindowRateLimiter(MemoryStorage())
        self._shared = FixedWindowRateLimiter(_redis(self.settings.redis_url.get_secret_value()))

    async def admit_client(self, address: str) -> None:
        """Count an unauthenticated request by network address. Raises `TooManyRequests`."""
        await self._admit(self.settings.requests_a_minute_per_client, "client", address)

    async def has_room_for_care(self, address: str) -> bool:
        """Count an unauthenticated request for care. Returns whether the address is within its limit."""
        limit = RateLimitItemPerMinute(self.settings.requests_a_minute_per_client)
        return await self._is_within(limit, ("care of", address))

    async def admit_person(
        self, actor: Actor, method: str, path: str, priority_class: PriorityClass = PriorityClass.ORDINARY
    ) -> None:
        """Count a request of a known caller, and of the operation if it has a limit. Raises `TooManyRequests`.

        Care has its own budget. Protected services have one too, because one page can cause many requests.
        """
        if path.startswith(SERVICES):
            await self._admit(self.settings.requests_a_minute_per_client, "services", actor.subject)
        else:
            budget = "care" if priority_class is PriorityClass.CARE else "person"
            await self._admit(self._most_of(actor.role), budget, actor.subject)
        operation = (method, path.rstrip("/"))
        if (most := OPERATIONS.get(operation)) is not None:
            await self._admit(most, "operation", actor.subject, *operation)

    def _most_of(self, role: Role) -> int:
        settings = self.settings
        if role is Role.RESIDENT:
            return settings.requests_a_minute_per_resident
        return settings.requests_a_minute_per_staff if role in Role.STAFF else settings.requests_a_minute_per_machine

    async def _admit(self, most: int, *who: str) -> None:
        limit = RateLimitItemPerMinute(most)
        if await self._is_within(limit, who):
            return
        ends = (await self._local.get_window_stats(limit, *who)).reset_time
        raise TooManyRequests(retry_after=max(1, int(ends - time.time()) + 1))

    async def _is_within(self, limit: RateLimitItem, who: Sequence[str]) -> bool:
        if not await self._local.hit(limit, *who):
            return False
        left = (await self._local.get_window_stats(limit, *who)).remaining
        used = limit.amount - left
        if used * LOCAL_PART <= limit.amount or time.monotonic() < self._rest_until:
            return True
        try:
            return await self._shared.hit(limit, *who)
        except Exception as error:  # whatever is wrong with Redis, the local limit still applies
            self._rest_until = time.monotonic() + REDIS_REST_SECONDS
            logger.warning("rates.redis_away", error=type(error).__name__)
            return True


@dataclass
class LocalLimiter:
    """The limit of the fast path: per process, by fixed minutes. It costs a third of a microsecond."""

    most: int
    _minute: int = 0
    _counts: dict[str, int] = field(default_factory=dict)

    def count(self, who: str) -> None:
        """Count a request. Raises `TooManyRequests`."""
        now = time.time()
        minute = int(now) // 60
        if minute != self._minute:
            self._minute, self._counts = minute, {}
        self._counts[who] = count = self._counts.get(who, 0) + 1
        if count > self.most:
            raise TooManyRequests(retry_after=60 - int(now) % 60)


class RedisOnly(RedisStorage):
    """Counts in Redis by the client that arq uses too.

    `limits` imports every client that it could use and that is installed. The embedded Valkey brings one of its own,
    which no process needs: 5 MB and a tenth of the start.
    """

    DEPENDENCIES = {"redis": RedisStorage.DEPENDENCIES["redis"]}  # noqa: RUF012 - a dict in `limits` too


def _redis(url: str) -> RedisStorage:
    scheme = "async+redis+" if url.startswith("unix:") else "async+"
    waits: dict[str, Any] = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
    return RedisOnly(scheme + url, implementation="redispy", key_prefix="fangxian:rates", **waits)
