"""The guards of every request: its id, its limits, its deadline, and the final exception handler.

All of them are one plain ASGI middleware, because each further layer would cost time on every request.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import structlog
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from shared.core.ids import new_name
from shared.core.settings import SERVICES
from shared.http.failures import account_of
from shared.http.handlers import BrokenOff, has_left, respond
from shared.http.preconditions import is_known
from shared.problems import (
    MEDIA_TYPE,
    HeadersTooLarge,
    MalformedUrl,
    NotAcceptable,
    PayloadTooLarge,
    UnsupportedEncoding,
    UnsupportedMediaType,
    UpstreamTimeout,
    UrlTooLong,
)

BODY_BYTES = 1 << 20
UPLOAD_BYTES = 256 << 20
URL_BYTES = 8 << 10
HEADER_COUNT = 100
HEADER_BYTES = 16 << 10

JSON_PATHS = (*(f"/{service}/v1/" for service in SERVICES), "/internal/")
"""Path prefixes with JSON answers. An Accept header that excludes JSON is refused there."""

OFFERED = ("application/json", MEDIA_TYPE)
ALSO_OFFERED = (
    "text/csv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "image/svg+xml",
    "image/png",
)
"""Other formats that some routes offer. Each route checks its own formats with `check_accept`."""

_ALL_OFFERED = (*OFFERED, *ALSO_OFFERED)

_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_NO_PAGE = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
"""Headers that stop a browser from showing an answer as a page. Hot routes omit them, because no browser shows them."""

_OF_THE_BODY = (b"content-length", b"content-type", b"content-encoding", b"content-disposition")

Observe = Callable[[Scope, int, float], None]
"""Receives the scope, the status and the duration in seconds of each answered request."""

logger = structlog.get_logger()

# An id is logged and audited, so an id that contains a telephone number or an ID number is not accepted.
_REQUEST_ID = re.compile(rb"(?!.*(?<![0-9])(?:1[3-9][0-9]{9}|[0-9]{17}[0-9Xx])(?![0-9]))[A-Za-z0-9._-]{8,64}")
_READ = frozenset(
    {b"x-request-id", b"x-deadline-ms", b"content-length", b"content-encoding", b"accept", b"if-none-match"}
)


def install(
    app: FastAPI,
    *,
    request_timeout_seconds: float,
    upload_paths: Sequence[str] = (),
    body_bytes: Mapping[str, int] | None = None,
    timeouts: Mapping[str, float] | None = None,
    foreign_paths: Sequence[str] = (),
    observe: Observe | None = None,
) -> None:
    """Add the middleware to an application. Add it last, because middleware that is added later runs before it.

    `upload_paths` are prefixes whose bodies may have 256 MiB. `body_bytes` and `timeouts` set other limits for
    prefixes; the longest prefix wins. `foreign_paths` are prefixes with proxied answers, whose security headers the
    upstream sets. `observe` receives each request, so that no second middleware is needed for metrics.
    """
    app.add_middleware(
        RequestGuard,
        request_timeout_seconds=request_timeout_seconds,
        body_bytes=dict.fromkeys(upload_paths, UPLOAD_BYTES) | dict(body_bytes or {}),
        timeouts=timeouts or {},
        foreign_paths=tuple(foreign_paths),
        observe=observe,
    )


def remaining_seconds(scope: Scope) -> float:
    """Return the seconds that remain until the deadline of this request."""
    return max(0.0, float(scope["state"]["deadline"]) - time.monotonic())


def check_content_type(request: Request, allowed: Sequence[str]) -> None:
    """Refuse a body in a format that is not allowed, or JSON with a declared charset other than UTF-8."""
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = re.search(r'charset\s*=\s*"?([^\s";]+)', parameters)
    foreign = charset is not None and charset[1] not in ("utf-8", "utf8")
    if media_type.strip() not in allowed or (foreign and "json" in media_type):
        raise UnsupportedMediaType(allowed=", ".join(allowed))


def check_accept(request: Request, offered: Sequence[str]) -> None:
    """Refuse a request whose Accept header excludes the offered formats. For routes with CSV, SVG or text answers."""
    accept = ",".join(request.headers.getlist("accept"))
    if accept and not accepts(accept.encode("latin-1"), (*offered, MEDIA_TYPE)):
        raise NotAcceptable(offered=", ".join(offered))


@lru_cache(maxsize=512)
def accepts(accept: bytes, offered: tuple[str, ...]) -> bool:
    """Whether an Accept header (RFC 9110, 12.5.1) allows one of the formats."""
    wishes: dict[str, float] = {}
    for element in accept.decode("latin-1").lower().split(","):
        media_range, *parameters = (part.strip() for part in element.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        wishes[media_range] = float(quality) if re.fullmatch(r"[01]?\.?\d{0,3}", quality) and quality != "." else 1.0
    ranges = ((kind, kind.partition("/")[0] + "/*", "*/*") for kind in offered)
    return any(next((wishes[one] for one in names if one in wishes), 0) > 0 for names in ranges)


class RequestGuard:
    """The middleware."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        request_timeout_seconds: float,
        body_bytes: Mapping[str, int],
        timeouts: Mapping[str, float],
        foreign_paths: tuple[str, ...],
        observe: Observe | None,
    ) -> None:
        self.app = app
        self.seconds = request_timeout_seconds
        self.body_bytes = _longest_first(body_bytes)
        self.timeouts = _longest_first(timeouts)
        self.foreign_paths = foreign_paths
        self.observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.monotonic()
        headers, size = read_headers(scope)
        request_id = given_request_id(headers) or new_name()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        exchange = _Exchange(receive, send, request_id, scope["method"] == "HEAD")
        exchange.foreign = scope["path"].startswith(self.foreign_paths)
        if scope["method"] in ("GET", "HEAD") and not exchange.foreign:
            exchange.if_none_match = headers.get(b"if-none-match")
        if exchange.head:  # answer like GET, without the body
            scope = {**scope, "method": "GET"}
        bound = bind_contextvars(request_id=request_id)
        try:
            exchange.limit = _limit_for(scope["path"], self.body_bytes, BODY_BYTES)
            is_json = scope["path"].startswith(JSON_PATHS)
            check(scope, headers, size, exchange.limit, is_json=is_json, is_foreign=exchange.foreign)
            budget = budget_of(headers, _limit_for(scope["path"], self.timeouts, self.seconds))
            state["deadline"] = began + budget
            await self._run(scope, exchange, budget)
        except Exception as error:
            await _fail(scope, exchange, error)
        finally:
            reset_contextvars(**bound)
            if self.observe is not None:
                self.observe(scope, exchange.status, time.monotonic() - began)

    async def _run(self, scope: Scope, exchange: "_Exchange", budget: float) -> None:
        """Run the application with a time limit, as `asyncio.timeout` does, at a third of its cost."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        others = task.cancelling()
        overdue = False

        def expire() -> None:
            nonlocal overdue
            overdue = True
            task.cancel()

        timer = asyncio.get_running_loop().call_later(budget, expire)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if overdue and task.cancelling() == others + 1:
                raise UpstreamTimeout() from None
            raise
        finally:
            timer.cancel()
            if overdue:
                task.uncancel()


class _Exchange:
    """One request and its answer: limits the received bytes and completes the headers of the answer."""

    __slots__ = (
        "_receive",
        "_send",
        "foreign",
        "head",
        "if_none_match",
        "limit",
        "received",
        "request_id",
        "started",
        "status",
    )

    def __init__(self, receive: Receive, send: Send, request_id: str, head: bool) -> None:
        self._receive = receive
        self._send = send
        self.request_id = request_id
        self.head = head
        self.foreign = False
        self.if_none_match: bytes | None = None
        self.limit = 0
        self.received = 0
        self.started = False
        self.status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            if self.received > self.limit:
                raise PayloadTooLarge(limit_bytes=self.limit)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            if self.if_none_match is not None and message["status"] == 200:
                message = self._unless_known(message, self.if_none_match)
            self.status = message["status"]
            headers = completed(message.get("headers", ()), self.request_id)
            message = {**message, "headers": headers if self.foreign else [*headers, *_closed(headers)]}
        elif self.head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)

    def _unless_known(self, start: Message, if_none_match: bytes) -> Message:
        """Return the start of an answer, or of a 304 if the caller already has this version (RFC 9110, 15.4.5)."""
        etag = next((value for name, value in start["headers"] if name == b"etag"), None)
        if etag is None or not is_known(if_none_match, etag):
            return start
        self.head = True  # omit the body
        kept = [header for header in start["headers"] if header[0] not in _OF_THE_BODY]
        return {**start, "status": 304, "headers": kept}


def check(
    scope: Scope,
    headers: Mapping[bytes, bytes],
    size: int,
    limit: int,
    *,
    is_json: bool,
    is_foreign: bool = False,
) -> None:
    """Refuse a request that is too large, compressed or not answerable in JSON. Proxied bodies may be compressed."""
    if size > HEADER_BYTES or len(scope["headers"]) > HEADER_COUNT:
        raise HeadersTooLarge(limit_count=HEADER_COUNT, limit_bytes=HEADER_BYTES)
    _check_url(scope)
    length = headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length[:20]) > limit:
        raise PayloadTooLarge(limit_bytes=limit)
    if not is_foreign and headers.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
        raise UnsupportedEncoding()
    accept = headers.get(b"accept")
    if accept and accept != b"*/*" and is_json and not accepts(accept, _ALL_OFFERED):
        raise NotAcceptable(offered=", ".join(OFFERED))


def completed(given: Any, request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer, completed by the common headers."""
    return [*given, (b"x-request-id", request_id.encode("ascii")), *beside(given)]


def _closed(given: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    """Return the headers that stop a browser from showing an answer as a page, except those that the route set."""
    names = {name for name, _ in given}
    return (header for header in _NO_PAGE if header[0] not in names)


def beside(given: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the common headers of an answer with these headers, without the request id."""
    return (_NO_SNIFFING,) if any(name == b"cache-control" for name, _ in given) else (_NO_SNIFFING, _NO_STORE)


async def _fail(scope: Scope, exchange: _Exchange, error: Exception) -> None:
    if not exchange.started:
        response: Response = respond(scope, error)
        await response(scope, exchange.receive, exchange.send)
        return
    if has_left(error):
        return
    logger.error("answer_broken_off", request_id=exchange.request_id, **account_of(error))
    # The server closes the connection only on an exception. Otherwise a client would take a partial answer as complete.
    raise BrokenOff("the answer failed after it had started") from None


def read_headers(scope: Scope) -> tuple[dict[bytes, bytes], int]:
    """Return the headers that this module checks, and the size of all headers in bytes."""
    headers: dict[bytes, bytes] = {}
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value) + 4
        if name in _READ:
            headers[name] = headers[name] + b"," + value if name in headers else value
    return headers, size


def given_request_id(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the caller's request id if it is acceptable, or None."""
    value = headers.get(b"x-request-id")
    return value.decode("ascii") if value is not None and _REQUEST_ID.fullmatch(value) else None


def budget_of(headers: Mapping[bytes, bytes], most: float) -> float:
    """Return the seconds for this request: the caller's remaining time (`X-Deadline-Ms`), but at most `most`."""
    value = headers.get(b"x-deadline-ms", b"")
    return min(most, int(value) / 1000) if value.isdigit() and len(value) <= 10 else most


def _check_url(scope: Scope) -> None:
    raw = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    query = scope.get("query_string", b"")
    if len(raw) + len(query) > URL_BYTES:
        raise UrlTooLong(limit_bytes=URL_BYTES)
    if b"%" in raw or b"%" in query or not (raw.isascii() and query.isascii()) or b"\0" in raw or b"\0" in query:
        _check_bytes(unquote_to_bytes(raw))
        _check_bytes(unquote_to_bytes(query))


def _check_bytes(text: bytes) -> None:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedUrl() from None
    if b"\0" in text:
        raise MalformedUrl()


Limit = tuple[tuple[str, Any], ...]


def _longest_first(limits: Mapping[str, Any]) -> Limit:
    return tuple(sorted(limits.items(), key=lambda item: -len(item[0])))


def _limit_for(path: str, limits: Limit, otherwise: Any) -> Any:
    for prefix, limit in limits:
        if path.startswith(prefix):
            return limit
    return otherwise
