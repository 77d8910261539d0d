"""A uvicorn protocol that answers complete requests to hot routes without a task and without ASGI messages.

uvicorn creates a task for each request, and passes its body and its answer on as messages that it checks header by
header. For a hot route this costs as much as the answer itself. Here the handler's coroutine is resumed directly by
callbacks of the futures that it awaits, and its answer is written in one piece. uvicorn handles all other requests with
the same application: those that arrive in several reads, are pipelined, wait for `100 Continue`, or come from a client
that reads too slowly.

A device sends the same head, byte for byte, with every request. The parsed head of a complete request is therefore
cached (heads.py), and the next request with this head is not parsed again. Authentication and permissions are checked
on every request.

A client that does not finish the head of a request is disconnected, because uvicorn would wait for ever. Only a new
connection, or a head that arrives in several reads, needs a timer.

An upgrade offer is ignored, and the request is read with its body (framing.py). A violation of HTTP is answered with a
problem, after the answers to earlier requests. Then the connection closes.
"""

import asyncio
from collections import deque
from functools import lru_cache, partial
from typing import Any, cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from shared.core.ids import new_name
from shared.http import limits
from shared.http.fast_path import Answer, App, Exchange, GuardedRoute, Head
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
from shared.http.inline import DetachedCycle, InlineTask
from shared.http.postponable_timeout import PostponableTimeout
from shared.problems import HeadersTooLarge, MalformedRequest, Problem

Headers = tuple[tuple[bytes, bytes], ...]

CLOSE = (b"connection", b"close")

PARTING_SECONDS = 10.0
"""How long a client may continue to send a body that was refused before its end. The same as lingering in nginx."""

HEAD_SECONDS = 10.0
"""How long the head of a request may take, from the connection or its first byte. The same limit as in nginx."""


class FastPathProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a direct way for hot routes and a time limit for heads."""

    head_seconds = HEAD_SECONDS
    lingering_seconds = PARTING_SECONDS
    _head_timer: asyncio.TimerHandle | None = None
    _came: bytes | None = None
    """The received data that is being parsed, if it begins with a request."""
    _between = True
    """Whether all received data so far was complete requests."""
    _begun: tuple[RequestResponseCycle, GuardedRoute] | None = None
    """A request to a hot route whose body is still being parsed."""
    _inline: InlineTask | None = None
    _answered_at = 0.0
    _is_past_head = True
    """Whether the head of the current request is complete. Later header fields are trailers."""
    _is_offered_upgrade = False
    _head_bytes = 0
    _refusal: Problem | None = None
    """The problem because of which further data is not parsed."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start a connection, with a time limit for the first head."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._head_timer = self.loop.call_later(self.head_seconds, self._cut_off)
        self._deadline = PostponableTimeout(self.loop, self._expire)
        self._detached = DetachedCycle()
        self._framing = Framing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers of a closed connection."""
        self._forget_head()
        if self._inline is None:
            self._deadline.close()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Answer a complete request with a cached head directly. Parse all other data."""
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
        """Feed the parser. If it stops at an upgrade offer, a new parser continues."""
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
        """Continue with a new parser at the body of a request that offers an upgrade."""
        self._is_offered_upgrade = False
        self.parser = httptools.HttpRequestParser(AfterHead(self))
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        scope = self.cycle.scope
        self.parser.feed_data(head_with(scope["headers"], scope["http_version"], self.cycle.keep_alive))

    def _should_upgrade(self) -> bool:
        return False

    def _answers_at_once(self, data: bytes) -> bool:
        """Start the answer if the data is one complete request with a cached head. Return whether it is."""
        if not (self._between and isinstance(self.app, App) and self._is_free()):
            return False
        known = self.app.head_cache.find(data)
        if known is None:
            return False
        self._forget_head()
        self._detached.begin(self.scope)
        self.cycle = cast("RequestResponseCycle", self._detached)
        here = {"server": self.server, "client": self.client, "scheme": self.scheme}
        scope = {**known.head.scope, **here, "state": self.app_state.copy()}
        InlineTask(self, self.cycle, Exchange(known.head, scope), data[known.size :]).begin()
        return True

    def _is_free(self) -> bool:
        """Whether no request is in progress and an answer could be written."""
        return self._is_answered() and not self.flow.write_paused and not self.transport.is_closing()

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _awaits_head(self) -> bool:
        """Whether no request is in progress and no other timer runs, so that a head must arrive within the limit."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            return True
        return cycle.response_complete and self.timeout_keep_alive_task is None

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut_off(self) -> None:
        """Close the connection of a client that took too long, unless it still waits for an earlier answer."""
        if self._is_answered():
            self._head_timer = None
            self.transport.close()
        else:
            self._head_timer = self.loop.call_later(self.head_seconds, self._cut_off)

    def on_message_begin(self) -> None:
        """Reset the state for a new request."""
        self._between = self._is_past_head = False
        self._head_bytes = 0
        self._framing.begin()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header field. Trailers are ignored."""
        if self._is_past_head:
            return
        name = name.lower()
        if name in LOOKED_AT:
            self._framing.look_at(name, value)
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Check a complete head. Raises `RefusedError` to stop the parser."""
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
        """Answer a complete request. After an upgrade offer the body is still missing, so this does nothing."""
        if self._is_offered_upgrade:
            return
        super().on_message_complete()
        self._between = True
        if self._begun is not None:
            cycle, fast = self._begun
            self._begun = None
            del cycle.on_response  # nothing calls it without uvicorn's task, and it would keep the connection in memory
            scope, body = cast("Scope", cycle.scope), bytes(cycle.body)
            head = Head(fast, {**scope})
            learn = None
            if self._came and cycle.keep_alive and head.problem is None:
                learn = partial(cast("App", self.app).head_cache.keep, self._came, body, head, fast)
            self._came = None  # later requests in the same data take the ordinary way
            InlineTask(self, cycle, Exchange(head, scope), body, learn).begin()

    def _start_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Let uvicorn run the request in a task."""
        cycle.transport = cast("asyncio.Transport", _ResponseWriter(cycle, self))
        super()._start_asgi_task(cycle, app)

    def linger(self, cycle: RequestResponseCycle | None) -> None:
        """End the answer but keep reading the body. After an immediate close a sending client would lose the answer."""
        if cycle is not None:
            cycle.on_response = lambda: None  # the method of this protocol would keep the connection alive
        self.flow.resume_reading()
        self.transport.write_eof()
        self.transport.set_protocol(_LingeringClose(self))

    def _refuse(self, problem: Problem) -> None:
        """Answer data that cannot be parsed with a problem, after earlier answers, and parse no further."""
        self._refusal = problem
        self._begun = None
        self._forget_head()
        cycle, scope = self._being_read(), self._refused_scope()
        self._between = False  # also stops direct answers
        if self.transport.is_closing():
            return
        if cycle is not None and self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            self.pipeline.appendleft((cast("RequestResponseCycle", scope), cast("Any", problem)))
        elif cycle is None and (self.pipeline or not self._is_answered()):
            self.flow.pause_reading()
            self.pipeline.appendleft((cast("RequestResponseCycle", scope), cast("Any", problem)))
        elif cycle is not None and cycle.response_started:
            self.linger(cycle) if cycle.response_complete else self.transport.close()
        else:
            self._write_refusal(scope, problem)
            if cycle is not None:  # end an application that still waits for the body, as after a disconnect
                cycle.response_started = cycle.response_complete = cycle.disconnected = True
                cycle.message_event.set()

    def _being_read(self) -> RequestResponseCycle | None:
        """Return the request whose body is being read, or None."""
        is_one = self.cycle is not None and self.cycle.scope is self.scope and not self._between
        return self.cycle if is_one else None

    def _refused_scope(self) -> Scope:
        """Build a scope for the answer. An incomplete head has no method."""
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
        self.linger(None)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self.transport.is_closing():
            return  # the answer could not be sent
        if isinstance(app, Problem):  # a refusal that waited for earlier answers
            self._write_refusal(cast("Scope", cycle), app)
            return
        fast = None if self._came is None else self._fast_route(cycle, app)  # None means that the request was pipelined
        if fast is None:
            self._start_task(cycle, app)
        else:
            self._begun = cycle, fast

    def _fast_route(self, cycle: RequestResponseCycle, app: Any) -> GuardedRoute | None:
        if cycle.waiting_for_100_continue or self.flow.write_paused:
            return None
        return app.fast_route_of(cast("Scope", cycle.scope)) if isinstance(app, App) else None

    def write_answer(self, cycle: RequestResponseCycle, answer: Answer, request_id: str) -> None:
        """Write an answer in one piece and prepare for the next request."""
        self._inline = None
        self._deadline.postpone(None)
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
        """Prepare for the next request. A keep-alive timer that already runs stays, and checks the idle time itself."""
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None or self.pipeline or self.transport.is_closing():
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.flow.resume_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been idle for too long."""
        self.timeout_keep_alive_task = None
        if not self.cycle.response_complete:
            return  # the end of the answer sets a new timer
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def run(self, task: InlineTask, until: float) -> None:
        """Register a request that is in progress. It must end by `until`, in loop time."""
        self._inline = task
        self._deadline.postpone(until)

    def _expire(self) -> None:
        if self._inline is not None:
            self._inline.expire()


class _Flow(FlowControl):
    """Resumes reading only if no request is queued. Otherwise one connection could fill the memory with requests."""

    def __init__(self, transport: asyncio.Transport, queue: deque[Any]) -> None:
        super().__init__(transport)
        self._queue = queue

    def resume_reading(self) -> None:
        if not self._queue:
            super().resume_reading()


class _ResponseWriter:
    """The transport for uvicorn's answers. It closes a connection only after the rest of the body was read."""

    __slots__ = ("_cycle", "_protocol", "is_closing", "write")

    def __init__(self, cycle: RequestResponseCycle, protocol: FastPathProtocol) -> None:
        self._cycle = cycle
        self._protocol = protocol
        self.is_closing = protocol.transport.is_closing
        self.write = protocol.transport.write

    def close(self) -> None:
        """Close the connection, after the rest of an unread body if there is one."""
        cycle, transport = self._cycle, self._protocol.transport
        if cycle.response_complete and cycle.more_body and not transport.is_closing():
            self._protocol.linger(cycle)
        else:
            transport.close()


class _LingeringClose(asyncio.Protocol):
    """Replaces a protocol after its last answer and discards data until the client stops sending."""

    def __init__(self, before: FastPathProtocol) -> None:
        self._before = before
        self._end = before.loop.call_later(before.lingering_seconds, before.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer, after the client closed or the time limit passed."""
        self._end.cancel()
        self._before.connection_lost(exc)


def _problem_of(error: httptools.HttpParserError, data: bytes) -> Problem:
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return of_unknown_method(data)
    return MalformedRequest()


@lru_cache(maxsize=128)
def _lines(headers: Headers) -> bytes:
    """Render headers for the wire, together with the common headers."""
    return b"".join(b"%b: %b\r\n" % header for header in (*headers, *limits.beside(headers)))
