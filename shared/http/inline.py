"""Run a request to a hot route without a task: callbacks of the awaited futures resume its coroutine directly."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Protocol

from shared.http.fast_path import Answer, Exchange
from shared.problems import UpstreamTimeout


class Server(Protocol):
    """The server's side of the connection, which writes the answer."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    def run(self, task: "InlineTask", until: float) -> None:
        """Register a request that is in progress. It must end by `until`, in loop time."""

    def write_answer(self, cycle: Any, answer: Answer, request_id: str) -> None:
        """Write an answer in one piece and prepare for the next request."""


class DetachedCycle:
    """Replaces uvicorn's request cycle for a request that uvicorn has not parsed. One per connection."""

    __slots__ = ("disconnected", "keep_alive", "response_complete", "response_started", "scope")

    message_event = asyncio.Event()
    """Required by uvicorn's interface. Nothing awaits it."""

    def begin(self, scope: Any) -> None:
        """Start a request. `scope` is the scope of the last request that uvicorn parsed."""
        self.scope = scope
        self.disconnected = self.response_started = self.response_complete = False
        self.keep_alive = True


class InlineTask:
    """A request to a hot route that is in progress."""

    __slots__ = ("_context", "_coroutine", "_cycle", "_exchange", "_is_overdue", "_learn", "_protocol", "_waits_for")

    def __init__(
        self,
        protocol: Server,
        cycle: Any,
        exchange: Exchange,
        body: bytes,
        learn: Callable[[], None] | None = None,
    ) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._exchange = exchange
        self._coroutine: Coroutine[asyncio.Future[Any], None, Answer] = exchange.answer_to(body)
        self._context = copy_context()
        self._learn = learn
        self._waits_for: asyncio.Future[Any] | None = None
        self._is_overdue = False

    def begin(self) -> None:
        """Start it, in its own context as a task would have."""
        self._context.run(self._go_on)

    def _go_on(self, _: object = None) -> None:
        """Resume the coroutine until it awaits a future or returns the answer."""
        try:
            future = self._coroutine.send(None)
        except StopIteration as ended:
            self._end(ended.value)
        except asyncio.CancelledError:
            self._end(self._exchange.refusal(UpstreamTimeout()))
        except BaseException:
            self._protocol.transport.close()
            raise
        else:
            self._wait(future)

    def expire(self) -> None:
        """Cancel the request, because its time is over."""
        self._is_overdue = True
        if self._waits_for is not None:
            self._waits_for.cancel()

    def _wait(self, future: "asyncio.Future[Any]") -> None:
        future.add_done_callback(self._go_on, context=self._context)
        if self._waits_for is None:
            self._protocol.run(self, self._protocol.loop.time() + self._exchange.budget)
        self._waits_for = future
        if self._is_overdue:  # the time ended after the previous future was done and before this await
            future.cancel()

    def _end(self, answer: Answer) -> None:
        if self._learn is not None and answer.status < 400:
            self._learn()
        self._protocol.write_answer(self._cycle, answer, self._exchange.request_id)
        self._exchange.end(answer.status)
