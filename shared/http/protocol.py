"""The server's side of hot routes: a request that has come whole is answered with no task and no ASGI messages.

uvicorn makes a task of each request, and passes its body and its answer on as messages that it checks header by header.
For a hot route that costs as much as the answer itself. So here its coroutine is moved on by the very futures it waits
for, and its answer is written in one piece. All else goes uvicorn's own way, to the same application: what comes in
pieces, stands in line behind another request, waits for `100 Continue`, or is asked by a client that reads too slowly.

A client that does not come to the end of a request's head is cut off: uvicorn would wait for ever. Only a new
connection and a head that came in pieces cost a timer.
"""

import asyncio
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, cast

from starlette.types import Message, Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from shared.http import limits
from shared.http.hot import Answer, App, Exchange, Surrounded
from shared.problems import UpstreamTimeout

Headers = tuple[tuple[bytes, bytes], ...]

HEAD_SECONDS = 10.0
"""How long the head of a request may take, from the connection or from its first byte; as nginx has it in front."""


class HotProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a shorter way for hot routes, and with less patience."""

    head_seconds = HEAD_SECONDS
    _head_timer: asyncio.TimerHandle | None = None
    _reading = False
    _begun: tuple[RequestResponseCycle, Surrounded] | None = None
    """A request to a hot route whose body is still being read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has come, and is to say what they want."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_seconds, self._cut_off)

    def connection_lost(self, exc: Exception | None) -> None:
        """They have gone."""
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something has come. What of it is not a whole request goes the ordinary way."""
        self._reading = True
        super().data_received(data)
        self._reading = False
        if self._begun is not None:
            cycle, _ = self._begun
            self._begun = None
            super()._start_asgi_task(cycle, self.app)
        if self._awaits_head():
            self._head_timer = self._head_timer or self.loop.call_later(self.head_seconds, self._cut_off)
        elif self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _awaits_head(self) -> bool:
        """Whether nothing of ours is under way or counts the time: half a head has come, or none though bytes have."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            return True
        return cycle.response_complete and self.timeout_keep_alive_task is None

    def _cut_off(self) -> None:
        """Close the connection of a client that took too long; not while it still waits for an earlier answer."""
        if self.cycle is None or self.cycle.response_complete:
            self._head_timer = None
            self.transport.close()
        else:
            self._head_timer = self.loop.call_later(self.head_seconds, self._cut_off)

    def on_message_complete(self) -> None:
        """A request is whole."""
        super().on_message_complete()
        if self._begun is not None:
            cycle, hot = self._begun
            self._begun = None
            _Running(self, cycle, hot).go_on()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        hot = self._hot(cycle, app) if self._reading else None  # else it stood in line
        if hot is None:
            super()._start_asgi_task(cycle, app)
        else:
            self._begun = cycle, hot

    def _hot(self, cycle: RequestResponseCycle, app: Any) -> Surrounded | None:
        if cycle.waiting_for_100_continue or self.flow.write_paused or self.transport.is_closing():
            return None
        return app.hot_route(cast("Scope", cycle.scope)) if isinstance(app, App) else None

    def write_answer(self, cycle: RequestResponseCycle, answer: Answer, request_id: str) -> None:
        """Write an answer in one piece, and be ready for the next request."""
        cycle.response_started = cycle.response_complete = True
        on_response, cycle.on_response = cycle.on_response, _nothing  # which would keep the connection alive
        if cycle.disconnected:
            return
        self.transport.write(
            b"%b%bx-request-id: %b\r\ncontent-length: %d\r\n%b\r\n%b"
            % (
                STATUS_LINE[answer.status],
                _lines((*self.server_state.default_headers, *answer.headers)),
                request_id.encode("ascii"),
                len(answer.body),
                b"" if cycle.keep_alive else b"connection: close\r\n",
                answer.body,
            )
        )
        if not cycle.keep_alive:
            self.transport.close()
        on_response()


class _Running:
    """A request to a hot route under way."""

    __slots__ = ("_coroutine", "_cycle", "_exchange", "_protocol", "_timer", "_waits_for")

    def __init__(self, protocol: HotProtocol, cycle: RequestResponseCycle, hot: Surrounded) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._exchange = Exchange(hot, cast("Scope", cycle.scope))
        self._coroutine: Coroutine[asyncio.Future[Any], None, Answer] = self._exchange.answer(self._receive)
        self._waits_for: asyncio.Future[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def go_on(self, _: object = None) -> None:
        """Run until it waits for something, or is answered."""
        try:
            self._wait(self._coroutine.send(None))
        except StopIteration as ended:
            self._end(ended.value)
        except asyncio.CancelledError:
            self._end(self._exchange.refusal(UpstreamTimeout()))
        except BaseException:
            self._protocol.transport.close()
            raise

    async def _receive(self) -> Message:
        return {"type": "http.request", "body": bytes(self._cycle.body)}

    def _wait(self, future: "asyncio.Future[Any]") -> None:
        future._asyncio_future_blocking = False  # as a task says that it has seen to it
        future.add_done_callback(self.go_on)
        self._waits_for = future
        if self._timer is None:
            self._timer = self._protocol.loop.call_later(self._exchange.budget, self._expire)

    def _expire(self) -> None:
        if self._waits_for is not None:
            self._waits_for.cancel()

    def _end(self, answer: Answer) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._protocol.write_answer(self._cycle, answer, self._exchange.request_id)
        self._exchange.end(answer.status)


def _nothing() -> None:
    return


@lru_cache(maxsize=128)
def _lines(headers: Headers) -> bytes:
    """Headers as they go over the line, with what every answer carries."""
    return b"".join(b"%b: %b\r\n" % header for header in (*headers, *limits.beside(headers)))
