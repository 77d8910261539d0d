"""Load shedding: an edge that takes on more than it can do serves nobody. It says so at once, the least urgent first.

Each class may have so many requests in flight. One that would be too many waits a moment for room, so that a burst is
served; then it is answered 503 with a time to come back at, spread so that all do not come back at once. The refusal is
held back a little: who asks again at once, whatever the answer says, can then only do so five times a second.

A request takes room from when its body is here until its answer begins: who sends or reads slowly keeps nobody out.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping

from prometheus_client import Counter, Gauge
from starlette.types import Message, Receive, Scope, Send

from services.gateway.edge.urgency import Urgency
from shared.problems import Unavailable

CARE_IN_FLIGHT = 1_000
AWAITED_BYTES = 64 << 10
"""How much of a body is awaited before it takes room; of a larger one, the rest comes while it is worked on."""
WAIT_SECONDS = 0.05
MOST_WAITING = 32
BACK_IN_SECONDS = (1, 5)
HELD_SECONDS = 0.2
MOST_HELD = 2_000
"""Refusals held back at once; more than these are answered at once, for each holds a connection and some memory."""

SHED = Counter("fangxian_shed_total", "Requests refused because there was too much to do, by class.", ["urgency"])
IN_FLIGHT = Gauge("fangxian_in_flight", "Requests being answered, by class.", ["urgency"])


def _refused(urgency: Urgency) -> Unavailable:
    SHED.labels(urgency.name.lower()).inc()
    return Unavailable(retry_after=random.randint(*BACK_IN_SECONDS))  # noqa: S311


def most_in_flight(ordinary: int) -> Mapping[Urgency, int]:
    """How many requests of each class are worked on at once, where so many ordinary ones are."""
    return {
        Urgency.CARE: CARE_IN_FLIGHT,
        Urgency.ORDINARY: ordinary,
        Urgency.REPORT: max(1, ordinary // 2),
        Urgency.CROWD: max(1, ordinary // 4),
    }


class Shedder:
    """Counts what is in flight in one process, and refuses what is too much."""

    def __init__(self, most: Mapping[Urgency, int]) -> None:
        self._most = most
        self._in_flight = dict.fromkeys(Urgency, 0)
        self._waiting: Mapping[Urgency, deque[asyncio.Future[None]]] = {urgency: deque() for urgency in Urgency}
        self._held = 0

    async def enter(self, urgency: Urgency) -> Callable[[], None]:
        """Let one request in; what is returned lets it out, once. Raises `Unavailable` if there are too many."""
        if self._in_flight[urgency] < self._most[urgency]:
            self._count(urgency, 1)
        else:
            await self._wait_for_room(urgency)
        is_in = True

        def leave() -> None:
            nonlocal is_in
            if is_in:
                is_in = False
                self._leave(urgency)

        return leave

    async def _wait_for_room(self, urgency: Urgency) -> None:
        """Take over the room of the next that leaves, first come, first served."""
        waiting = self._waiting[urgency]
        if len(waiting) >= MOST_WAITING:
            raise _refused(urgency)
        given = asyncio.get_running_loop().create_future()
        waiting.append(given)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await given
        except BaseException as error:
            if given in waiting:
                waiting.remove(given)
            elif not given.cancelled():
                self._leave(urgency)  # it was given room in the moment in which it gave up
            raise (_refused(urgency) if isinstance(error, TimeoutError) else error) from None

    def _leave(self, urgency: Urgency) -> None:
        waiting = self._waiting[urgency]
        while waiting:
            if not (following := waiting.popleft()).done():
                following.set_result(None)
                return
        self._count(urgency, -1)

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


async def arrived(scope: Scope, receive: Receive) -> Receive:
    """Wait for the body of a request, or for the first 64 KiB of it; what is returned receives it again."""
    if not any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"]):
        return receive
    came: deque[Message] = deque()
    size, more = 0, True
    while more and size < AWAITED_BYTES:
        came.append(message := await receive())
        size += len(message.get("body", b""))
        more = message.get("more_body", False)

    async def again() -> Message:
        return came.popleft() if came else await receive()

    return again


def leaving(send: Send, leave: Callable[[], None]) -> Send:
    """Leave as soon as the answer begins."""

    async def leaving_send(message: Message) -> None:
        leave()
        await send(message)

    return leaving_send
