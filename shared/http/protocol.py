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

An offer to upgrade is ignored, and the request is read with its body (framing.py). What breaks HTTP is answered with a
problem, after the answers to earlier requests; then the connection ends.
"""

import asyncio
from collections import deque
from functools import lru_cache, partial
from typing import Any, cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from shared.http import limits
from shared.http.alarm import Alarm
from shared.http.framing import (
    HEAD_BYTES,
    LOOKED_AT,
    AfterHead,
    Framing,
    MethodUnknown,
    RefusedError,
    head_with,
    of_unknown_method,
)
from shared.http.handlers import respond
from shared.http.hot import Answer, App, Exchange, Head, Surrounded
from shared.http.inline import Running, Turn
from shared.ids import new_name
from shared.problems import HeadersTooLarge, MalformedRequest, Problem

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
    _running: Running | None = None
    _answered_at = 0.0
    _is_past_head = True
    """Whether the head of the request that is being read was read: header fields that come later are trailers."""
    _is_offered_upgrade = False
    _head_bytes = 0
    _refusal: Problem | None = None
    """Why what comes is no longer read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has come, and is to say what they want."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._head_timer = self.loop.call_later(self.head_seconds, self._cut_off)
        self._deadline = Alarm(self.loop, self._expire)
        self._turn = Turn()
        self._framing = Framing()

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
        if self._refusal is not None:
            return
        self._came = data if self._between else b""
        self._unset_keepalive_if_required()
        begun = None if self._is_past_head else self.headers
        try:
            self._read(data)
        except httptools.HttpParserError as error:
            self._refuse(self._refusal or _problem_of(error, data))
        if begun is not None and begun is self.headers and not self._is_past_head and self._refusal is None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(HeadersTooLarge(limit_count=limits.HEADER_COUNT, limit_bytes=limits.HEADER_BYTES))
        self._came = None
        if self._begun is not None:
            cycle, _ = self._begun
            self._begun = None
            self._start_task(cycle, self.app)
        if self._awaits_head() and self._refusal is None:
            self._head_timer = self._head_timer or self.loop.call_later(self.head_seconds, self._cut_off)
        else:
            self._forget_head()

    def _read(self, data: bytes) -> None:
        """Let the parser read. Where it stops at an offer to upgrade, another one reads on."""
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                rest = memoryview(rest)[offer.args[0] :]
                self._read_on()
            else:
                return

    def _read_on(self) -> None:
        """Read the body of a request that offers an upgrade, and all that follows, with a new parser."""
        self._is_offered_upgrade = False
        self.parser = httptools.HttpRequestParser(AfterHead(self))
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        scope = self.cycle.scope
        self.parser.feed_data(head_with(scope["headers"], scope["http_version"], self.cycle.keep_alive))

    def _should_upgrade(self) -> bool:
        return False

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
        Running(self, self.cycle, Exchange(known.head, scope), data[known.size :]).begin()
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
        self._between = self._is_past_head = False
        self._head_bytes = 0
        self._framing.begin()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or one that came after the body, which is ignored."""
        if self._is_past_head:
            return
        name = name.lower()
        if name in LOOKED_AT:
            self._framing.look_at(name, value)
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head of a request is whole. Raises `RefusedError`, at which the parser stops."""
        self._is_past_head = True
        self._is_offered_upgrade = self.parser.should_upgrade()
        self._refusal = self._framing.fault(self.parser.get_http_version())
        if self._refusal is None and self._is_offered_upgrade and self.parser.get_method() == b"CONNECT":
            self._refusal = MethodUnknown()
        if self._refusal is not None:
            raise RefusedError
        self.expect_100_continue = self._framing.expects_continue
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is whole; not yet if the parser left out its body, because it offers an upgrade."""
        if self._is_offered_upgrade:
            return
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
            Running(self, cycle, Exchange(head, scope), body, learn).begin()

    def _start_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Let uvicorn answer."""
        cycle.transport = cast("asyncio.Transport", _WayOut(cycle, self))
        super()._start_asgi_task(cycle, app)

    def part(self, cycle: RequestResponseCycle | None) -> None:
        """Say no more, and hear the body out: closed at once, a client that still sends never reads our answer."""
        if cycle is not None:
            cycle.on_response = lambda: None  # ours would keep the connection alive
        self.flow.resume_reading()
        self.transport.write_eof()
        self.transport.set_protocol(_Parting(self))

    def _refuse(self, problem: Problem) -> None:
        """Answer what cannot be read with a problem, in its turn, and read no further."""
        self._refusal = problem
        self._begun = None
        self._forget_head()
        cycle, scope = self._being_read(), self._refused_scope()
        self._between = False  # nor is anything answered at once
        if self.transport.is_closing():
            return
        if cycle is not None and self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            self.pipeline.appendleft((cast("RequestResponseCycle", scope), cast("Any", problem)))
        elif cycle is None and (self.pipeline or not self._is_answered()):
            self.flow.pause_reading()
            self.pipeline.appendleft((cast("RequestResponseCycle", scope), cast("Any", problem)))
        elif cycle is not None and cycle.response_started:
            self.part(cycle) if cycle.response_complete else self.transport.close()
        else:
            self._write_refusal(scope, problem)
            if cycle is not None:  # whoever waits for the body learns that nobody is there
                cycle.response_started = cycle.response_complete = cycle.disconnected = True
                cycle.message_event.set()

    def _being_read(self) -> RequestResponseCycle | None:
        """The request whose body is being read."""
        is_one = self.cycle is not None and self.cycle.scope is self.scope and not self._between
        return self.cycle if is_one else None

    def _refused_scope(self) -> Scope:
        """As much of the request as an answer needs. A head that was not read whole has no method."""
        method, headers = "", []
        if not self._between:
            method, headers = self.scope.get("method", ""), self.headers
        if not method and self._is_past_head:
            method = self.parser.get_method().decode("ascii")
        return {"type": "http", "method": method, "headers": headers, "state": {"request_id": new_name()}}

    def _write_refusal(self, scope: Scope, problem: Problem) -> None:
        response = respond(scope, problem)
        headers = [header for header in response.raw_headers if header[0] not in (b"content-length", b"connection")]
        body = bytes(response.body)
        self.transport.write(
            b"%b%bx-request-id: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (
                STATUS_LINE[problem.status],
                _lines((*self.server_state.default_headers, *headers)),
                scope["state"]["request_id"].encode("ascii"),
                len(body),
                b"" if scope["method"] == "HEAD" else body,
            )
        )
        self.part(None)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self.transport.is_closing():
            return  # nobody would be answered
        if isinstance(app, Problem):  # it waited for earlier answers
            self._write_refusal(cast("Scope", cycle), app)
            return
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

    def run(self, running: Running, until: float) -> None:
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


def _problem_of(error: httptools.HttpParserError, data: bytes) -> Problem:
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return of_unknown_method(data)
    return MalformedRequest()


@lru_cache(maxsize=128)
def _lines(headers: Headers) -> bytes:
    """Headers as they go over the line, with what every answer carries."""
    return b"".join(b"%b: %b\r\n" % header for header in (*headers, *limits.beside(headers)))
