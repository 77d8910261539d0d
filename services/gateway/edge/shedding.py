"""Load shedding: an edge that takes on more than it can do serves nobody. It says so at once, the least urgent first.

Each class may have so many requests in flight, beside those of more urgent classes. A request that would be one too
many is answered 503 with a time to come back at, spread so that all do not come back at once. The refusal is held
back a little: who asks again at once, whatever the answer says, can then only do so five times a second.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import Counter, Gauge

from services.gateway.edge.urgency import Urgency
from shared.problems import Unavailable

MOST_IN_FLIGHT: Mapping[Urgency, int] = {Urgency.CARE: 1_000, Urgency.ORDINARY: 12, Urgency.REPORT: 4}
BACK_IN_SECONDS = (1, 5)
HELD_SECONDS = 0.2
MOST_HELD = 2_000
"""Refusals held back at once; more than these are answered at once, for each holds a connection and some memory."""

SHED = Counter("fangxian_shed_total", "Requests refused because there was too much to do, by class.", ["urgency"])
IN_FLIGHT = Gauge("fangxian_in_flight", "Requests being answered, by class.", ["urgency"])


class Shedder:
    """Counts what is in flight in one process, and refuses what is too much."""

    def __init__(self, most: Mapping[Urgency, int] = MOST_IN_FLIGHT) -> None:
        self._most = most
        self._in_flight = dict.fromkeys(Urgency, 0)
        self._held = 0

    def enter(self, urgency: Urgency) -> Callable[[], None]:
        """Let one request in; what is returned lets it out. Raises `Unavailable` if there are too many of its class."""
        if self._in_flight[urgency] >= self._most[urgency]:
            SHED.labels(urgency.name.lower()).inc()
            raise Unavailable(retry_after=random.randint(*BACK_IN_SECONDS))  # noqa: S311
        self._count(urgency, 1)
        return partial(self._count, urgency, -1)

    async def hold(self) -> None:
        """Hold a refusal back."""
        if self._held < MOST_HELD:
            self._held += 1
            try:
                await asyncio.sleep(HELD_SECONDS)
            finally:
                self._held -= 1

    def _count(self, urgency: Urgency, by: int) -> None:
        self._in_flight[urgency] += by
        IN_FLIGHT.labels(urgency.name.lower()).set(self._in_flight[urgency])
