"""The server's side of hot routes: a request that has come whole is answered with no task and no ASGI messages.

uvicorn makes a task of each request, and passes its body and its answer on as messages that it checks header by header.
For a hot route that costs as much as the answer itself. So here its coroutine is moved on by the very futures it waits
for, and its answer is written in one piece. All else goes uvicorn's own way, to the same application: what comes in
pieces, stands in line behind another request, waits for `100 Continue`, or is asked by a client that reads too slowly.

A device sends the same head with every request, byte for byte, and the same bytes always read the same. So the head of
a request that was whole and in order is remembered as it was read (heads.py): the next one is not read again. Who asks,
and whether they still may, is looked at each time.

A client that does not come to the end of a request's head is cut off: uvicorn would wait for ever. Only a new
connection and a head that came in pieces cost a timer.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import lru_cache, partial
from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from shared.http import limits
from shared.http.alarm import Alarm
from shared.http.hot import Answer, App, Exchange, Head, Surrounded
from shared.problems import UpstreamTimeout

Headers = tuple[tuple[bytes, bytes], ...]

CLOSE = (b"connection", b"close")

PARTING_SECONDS = 10.0
"""How long a client that is refused in the midst of its body may go on with it; as nginx lingers in front."""

HEAD_SECONDS = 10.0
"""How long the head of a request may take, from the connection or from its first byte; as nginx has it in front."""


class HotProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a shorter way for hot routes, and with less patience."""

    head_seconds = HEAD_SECONDS
    parting_seconds = PARTING_SECONDS
    _head_timer: asyncio.TimerHandle | None = None
    _came: bytes | None = None
    """What has come and is being read, if it begins with a request."""
    _between = True
    """Whether all that came was whole requests."""
    _begun: tuple[RequestResponseCycle, Surrounded] | None = None
    """A request to a hot route whose body is still being read."""
    _running: "_Running | None" = None
    _answered_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has come, and is to say what they want."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._head_timer = self.loop.call_later(self.head_seconds, self._cut_off)
        self._deadline = Alarm(self.loop, self._expire)
        self._turn = _Turn()

    def connection_lost(self, exc: Exception | None) -> None:
        """They have gone."""
        self._forget_head()
        if self._running is None:
            self._deadline.close()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something has come. What of it is not a whole request goes the ordinary way."""
        if self._answers_at_once(data):
            return
        self._came = data if self._between else b""
        super().data_received(data)
        self._came = None
        if self._begun is not None:
            cycle, _ = self._begun
            self._begun = None
            self._start_task(cycle, self.app)
        if self._awaits_head():
            self._head_timer = self._head_timer or self.loop.call_later(self.head_seconds, self._cut_off)
        else:
            self._forget_head()

    def _answers_at_once(self, data: bytes) -> bool:
        """Whether it is one whole request with a head that was read before: then it is being answered."""
        if not (self._between and isinstance(self.app, App) and self._is_free()):
            return False
        known = self.app.heads.find(data)
        if known is None:
            return False
        self._forget_head()
        self._turn.begin(self.scope)
        self.cycle = cast("RequestResponseCycle", self._turn)
        here = {"server": self.server, "client": self.client, "scheme": self.scheme}
        scope = {**known.head.scope, **here, "state": self.app_state.copy()}
        _Running(self, self.cycle, Exchange(known.head, scope), data[known.size :]).begin()
        return True

    def _is_free(self) -> bool:
        """Whether no answer is under way, and the next could be written."""
        return self._is_answered() and not self.flow.write_paused and not self.transport.is_closing()

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _awaits_head(self) -> bool:
        """Whether nothing of ours is under way or counts the time: half a head has come, or none though bytes have."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            return True
        return cycle.response_complete and self.timeout_keep_alive_task is None

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut_off(self) -> None:
        """Close the connection of a client that took too long; not while it still waits for an earlier answer."""
        if self._is_answered():
            self._head_timer = None
            self.transport.close()
        else:
            self._head_timer = self.loop.call_later(self.head_seconds, self._cut_off)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._between = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """A request is whole."""
        super().on_message_complete()
        self._between = True
        if self._begun is not None:
            cycle, hot = self._begun
            self._begun = None
            del cycle.on_response  # never called without its task, and it would keep the connection in memory
            scope, body = cast("Scope", cycle.scope), bytes(cycle.body)
            head = Head(hot, {**scope})
            learn = None
            if self._came and cycle.keep_alive and head.fault is None:
                learn = partial(cast("App", self.app).heads.keep, self._came, body, head, hot)
            self._came = None  # what else has come with it takes its turn in the loop
            _Running(self, cycle, Exchange(head, scope), body, learn).begin()

    def _start_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Let uvicorn answer."""
        cycle.transport = cast("asyncio.Transport", _WayOut(cycle, self))
        super()._start_asgi_task(cycle, app)

    def part(self, cycle: RequestResponseCycle) -> None:
        """Say no more, and hear the body out: closed at once, a client that still sends never reads our answer."""
        cycle.on_response = lambda: None  # ours would keep the connection alive
        self.flow.resume_reading()
        self.transport.write_eof()
        self.transport.set_protocol(_Parting(self))

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP: without a word if an earlier request waits, whose answer that would seem to be."""
        is_another = self._between or (self.cycle is not None and self.cycle.scope is not self.scope)
        if self.pipeline or (is_another and not self._is_answered()):
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self.transport.is_closing():
            return  # nobody would be answered
        hot = None if self._came is None else self._hot(cycle, app)  # else it stood in line
        if hot is None:
            self._start_task(cycle, app)
        else:
            self._begun = cycle, hot

    def _hot(self, cycle: RequestResponseCycle, app: Any) -> Surrounded | None:
        if cycle.waiting_for_100_continue or self.flow.write_paused:
            return None
        return app.hot_route(cast("Scope", cycle.scope)) if isinstance(app, App) else None

    def write_answer(self, cycle: RequestResponseCycle, answer: Answer, request_id: str) -> None:
        """Write an answer in one piece, and be ready for the next request."""
        self._running = None
        self._deadline.put_off(None)
        cycle.response_started = cycle.response_complete = True
        if cycle.disconnected or self.transport.is_closing():
            self._deadline.close()
            return
        headers = answer.headers
        if CLOSE in headers:
            cycle.keep_alive = False
            headers = tuple(header for header in headers if header != CLOSE)
        self.transport.write(
            b"%b%bx-request-id: %b\r\ncontent-length: %d\r\n%b%b\r\n%b"
            % (
                STATUS_LINE[answer.status],
                _lines((*self.server_state.default_headers, *headers)),
                request_id.encode("ascii"),
                len(answer.body),
                b"location: %b\r\n" % answer.location if answer.location else b"",
                b"" if cycle.keep_alive else b"connection: close\r\n",
                answer.body,
            )
        )
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """An answer is written. A timer of the last one is left to go off, and sees then how long it has been quiet."""
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None or self.pipeline or self.transport.is_closing():
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.flow.resume_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been quiet for too long."""
        self.timeout_keep_alive_task = None
        if not self.cycle.response_complete:
            return  # there is a new one when it is
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def run(self, running: "_Running", until: float) -> None:
        """Somebody is being answered, and has so long."""
        self._running = running
        self._deadline.put_off(until)

    def _expire(self) -> None:
        if self._running is not None:
            self._running.expire()


class _Flow(FlowControl):
    """Reads on only when nobody stands in line: else one connection could fill the memory with requests."""

    def __init__(self, transport: asyncio.Transport, line: deque[Any]) -> None:
        super().__init__(transport)
        self._line = line

    def resume_reading(self) -> None:
        if not self._line:
            super().resume_reading()


class _WayOut:
    """Where uvicorn writes an answer: what is closed in the midst of a body is heard out first."""

    __slots__ = ("_cycle", "_protocol", "is_closing", "write")

    def __init__(self, cycle: RequestResponseCycle, protocol: HotProtocol) -> None:
        self._cycle = cycle
        self._protocol = protocol
        self.is_closing = protocol.transport.is_closing
        self.write = protocol.transport.write

    def close(self) -> None:
        """No other answer will be written."""
        cycle, transport = self._cycle, self._protocol.transport
        if cycle.response_complete and cycle.more_body and not transport.is_closing():
            self._protocol.part(cycle)
        else:
            transport.close()


class _Parting(asyncio.Protocol):
    """Takes the place of a protocol that has said its last, for as long as the client still sends."""

    def __init__(self, before: HotProtocol) -> None:
        self._before = before
        self._end = before.loop.call_later(before.parting_seconds, before.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """They have gone, or their time is over."""
        self._end.cancel()
        self._before.connection_lost(exc)


class _Turn:
    """Stands where uvicorn keeps a request that is under way, for one that uvicorn has not read. One a connection."""

    __slots__ = ("disconnected", "keep_alive", "response_complete", "response_started", "scope")

    message_event = asyncio.Event()
    """Nobody waits for it."""

    def begin(self, scope: Any) -> None:
        """A request is under way. `scope` is that of the last one that was read."""
        self.scope = scope
        self.disconnected = self.response_started = self.response_complete = False
        self.keep_alive = True


class _Running:
    """A request to a hot route under way."""

    __slots__ = ("_context", "_coroutine", "_cycle", "_exchange", "_is_overdue", "_learn", "_protocol", "_waits_for")

    def __init__(
        self,
        protocol: HotProtocol,
        cycle: RequestResponseCycle,
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
        """Answer it, in a context of its own as a task has."""
        self._context.run(self._go_on)

    def _go_on(self, _: object = None) -> None:
        """Run until it waits for something, or is answered."""
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
        """Its time is over."""
        self._is_overdue = True
        if self._waits_for is not None:
            self._waits_for.cancel()

    def _wait(self, future: "asyncio.Future[Any]") -> None:
        future.add_done_callback(self._go_on, context=self._context)
        if self._waits_for is None:
            self._protocol.run(self, self._protocol.loop.time() + self._exchange.budget)
        self._waits_for = future
        if self._is_overdue:  # while what it had waited for was done already
            future.cancel()

    def _end(self, answer: Answer) -> None:
        if self._learn is not None and answer.status < 400:
            self._learn()
        self._protocol.write_answer(self._cycle, answer, self._exchange.request_id)
        self._exchange.end(answer.status)


@lru_cache(maxsize=128)
def _lines(headers: Headers) -> bytes:
    """Headers as they go over the line, with what every answer carries."""
    return b"".join(b"%b: %b\r\n" % header for header in (*headers, *limits.beside(headers)))
