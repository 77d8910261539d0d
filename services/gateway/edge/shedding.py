"""Load shedding: under overload the edge refuses requests early, the least urgent first, so that others are served.

Each class has a maximum of requests in flight. A further request waits a moment for a slot, so that a short burst is
served. Then it gets 503 with a random Retry-After, so that clients do not all return at once. The refusal is delayed a
little, so that a client that ignores Retry-After can repeat only five times a second.

A request holds its slot from the arrival of its body to the start of its answer. So slow senders and slow readers do
not block others.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping

from prometheus_client import Counter, Gauge
from starlette.types import Message, Receive, Scope, Send

from services.gateway.edge.priority_class import PriorityClass
from shared.problems import Unavailable

CARE_IN_FLIGHT = 1_000
AWAITED_BYTES = 64 << 10
"""How much of a body must arrive before a request gets a slot. The rest of a larger body arrives during processing."""
WAIT_SECONDS = 0.05
MOST_WAITING = 32
BACK_IN_SECONDS = (1, 5)
HELD_SECONDS = 0.2
MOST_HELD = 2_000
"""Maximum number of delayed refusals. More are answered at once, because each holds a connection and memory."""

SHED = Counter("fangxian_shed_total", "Requests refused because of overload, by class.", ["urgency"])
IN_FLIGHT = Gauge("fangxian_in_flight", "Requests in progress, by class.", ["urgency"])


def _refused(priority_class: PriorityClass) -> Unavailable:
    SHED.labels(priority_class.name.lower()).inc()
    return Unavailable(retry_after=random.randint(*BACK_IN_SECONDS))  # noqa: S311


def most_in_flight(ordinary: int) -> Mapping[PriorityClass, int]:
    """Return the maximum of requests in flight for each class, from that of ordinary requests."""
    return {
        PriorityClass.CARE: CARE_IN_FLIGHT,
        PriorityClass.ORDINARY: ordinary,
        PriorityClass.REPORT: max(1, ordinary // 2),
        PriorityClass.CROWD: max(1, ordinary // 4),
    }


class Shedder:
    """Counts the requests in flight in one process, and refuses those beyond the maximum."""

    def __init__(self, most: Mapping[PriorityClass, int]) -> None:
        self._most = most
        self._in_flight = dict.fromkeys(PriorityClass, 0)
        self._waiting: Mapping[PriorityClass, deque[asyncio.Future[None]]] = {
            priority_class: deque() for priority_class in PriorityClass
        }
        self._held = 0

    async def enter(self, priority_class: PriorityClass) -> Callable[[], None]:
        """Take a slot. Returns a function that releases it once. Raises `Unavailable` if all slots stay taken."""
        if self._in_flight[priority_class] < self._most[priority_class]:
            self._count(priority_class, 1)
        else:
            await self._wait_for_room(priority_class)
        is_in = True

        def leave() -> None:
            nonlocal is_in
            if is_in:
                is_in = False
                self._leave(priority_class)

        return leave

    async def _wait_for_room(self, priority_class: PriorityClass) -> None:
        """Wait for the next free slot, in the order of arrival."""
        waiting = self._waiting[priority_class]
        if len(waiting) >= MOST_WAITING:
            raise _refused(priority_class)
        slot = asyncio.get_running_loop().create_future()
        waiting.append(slot)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await slot
        except BaseException as error:
            if slot in waiting:
                waiting.remove(slot)
            elif not slot.cancelled():
                self._leave(priority_class)  # it got a slot in the moment of its timeout: pass it on
            raise (_refused(priority_class) if isinstance(error, TimeoutError) else error) from None

    def _leave(self, priority_class: PriorityClass) -> None:
        waiting = self._waiting[priority_class]
        while waiting:
            if not (following := waiting.popleft()).done():
                following.set_result(None)
                return
        self._count(priority_class, -1)

    async def hold(self) -> None:
        """Delay a refusal."""
        if self._held < MOST_HELD:
            self._held += 1
            try:
                await asyncio.sleep(HELD_SECONDS)
            finally:
                self._held -= 1

    def _count(self, priority_class: PriorityClass, by: int) -> None:
        self._in_flight[priority_class] += by
        IN_FLIGHT.labels(priority_class.name.lower()).set(self._in_flight[priority_class])


async def arrived(scope: Scope, receive: Receive) -> Receive:
    """Wait for the body of a request, or for its first 64 KiB. The returned function receives it again."""
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
    """Release the slot when the answer begins."""

    async def leaving_send(message: Message) -> None:
        leave()
        await send(message)

    return leaving_send
