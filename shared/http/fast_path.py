"""Hot routes: the few routes with thousands of requests a second. They bypass FastAPI.

The layers of FastAPI and Starlette cost more than such a request itself. The application therefore first looks up the
exact method and path, and a match is answered directly. All other requests take the ordinary way. A hot route is
declared on a Router like any other, so it is in the OpenAPI document and has a contract. Requests that do not match
exactly (HEAD, OPTIONS, a wrong method) reach it through the ordinary way. The request id, the limits, the deadline and
the problem answers are the same as for every other route.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.core.ids import new_name
from shared.http import limits
from shared.http.handlers import respond
from shared.http.request_heads import RequestHeadCache
from shared.http.route import Route, check_declared
from shared.http.router import Router
from shared.problems import PayloadTooLarge, Problem, UpstreamTimeout

JSON = b"application/json"


class Answer(NamedTuple):
    """The answer of a hot route."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", JSON),)
    """Without Content-Length, Location and the common headers."""
    location: bytes = b""
    """Location of the created resource. Separate from `headers`, whose rendered lines are cached, because it varies."""


Handle = Callable[[Scope, bytes], Awaitable[Answer]]
"""Takes the scope and the whole body. An exception is answered as a problem.

It may run without a task (protocol.py), so it may only await futures. It must not use `asyncio.timeout`,
`asyncio.sleep(0)` or the current task.
"""


@dataclass(frozen=True)
class FastEndpoint:
    """An endpoint that bypasses FastAPI. As an ASGI application it also runs inside the ordinary middleware."""

    handle: Handle
    body_bytes: int = 0
    """The most bytes of a body; 0 if the route reads no body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if self.body_bytes:
            _check_is_json(scope)
            body = await _body(receive, self.body_bytes)
        await _send(send, await self.handle(scope, body))


def fast_route(declared: Router, endpoint: FastEndpoint) -> Route:
    """Let `endpoint` answer the only route of a Router. The declared function is the contract and is never called."""
    (route,) = declared.routes
    if not isinstance(route, Route):
        raise TypeError("declare a hot route on a Router of shared.http.router")
    _only(route)
    route.app = route.fast_endpoint = endpoint
    return route


def answered(declared: Router, endpoint: ASGIApp) -> list[Route]:
    """Let an ASGI application answer the routes of a Router, inside the ordinary middleware."""
    routes = [route for route in declared.routes if isinstance(route, Route)]
    for route in routes:
        route.app = endpoint
    return routes


def _only(route: Route) -> str:
    (method,) = sorted(route.methods or ())
    return method


Observe = Callable[[int, float], None]
"""Receives the status and the duration in seconds of each answer."""


class App(FastAPI):
    """An application that first looks for a matching hot route."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.fast_routes: dict[tuple[str, str], GuardedRoute] = {}
        self.head_cache: RequestHeadCache[Head] = RequestHeadCache()
        self.for_browsers = False
        """Whether requests of web pages take the ordinary way, because CORS headers are added there."""

    def take_fast_routes(self, request_timeout_seconds: float, observe: Callable[[str, str], Observe]) -> None:
        """Register the hot routes for the direct way. Call it once, after all are added."""
        for route in self.router.routes:
            if isinstance(route, Route) and route.fast_endpoint is not None:
                method = _only(route)
                observed = observe(method, route.path)
                self.fast_routes[method, route.path] = GuardedRoute(self, route, request_timeout_seconds, observed)

    def fast_route_of(self, scope: Scope) -> "GuardedRoute | None":
        """Return the hot route that answers a request, or None."""
        match = self.fast_routes.get((scope["method"], scope["path"]))
        if match and self.for_browsers and any(name == b"origin" for name, _ in scope["headers"]):
            return None
        return match

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = self.fast_route_of(scope) if scope["type"] == "http" else None
        if guarded is None:
            await super().__call__(scope, receive, send)
        else:
            await guarded(scope, receive, send)


class GuardedRoute:
    """A hot route with its request guards, as an ASGI application for servers other than `FastPathProtocol`."""

    def __init__(self, app: FastAPI, route: Route, seconds: float, observe: Observe) -> None:
        self.app = app
        self.route = route
        self.endpoint = cast("FastEndpoint", route.fast_endpoint)
        self.seconds = seconds
        self.observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(Head(self, scope), scope)
        status = 0
        try:
            try:
                async with asyncio.timeout(exchange.budget):
                    answer = await exchange.answer(receive)
            except TimeoutError:  # `answer` turns every other exception into an answer
                answer = exchange.refusal(UpstreamTimeout())
            status = answer.status
            await _send(send, answer, exchange.request_id)
        finally:
            exchange.end(status)


class Head:
    """The parsed head of a request to a hot route. It depends only on the bytes of the head, so it can be cached."""

    __slots__ = ("budget", "guarded", "problem", "request_id", "scope")

    def __init__(self, guarded: GuardedRoute, scope: Scope) -> None:
        self.guarded = guarded
        self.scope = scope
        headers, size = limits.read_headers(scope)
        self.request_id = limits.given_request_id(headers)
        self.budget = limits.budget_of(headers, guarded.seconds)
        self.problem: Problem | None = None
        most = guarded.endpoint.body_bytes
        try:
            limits.check(scope, headers, size, most or limits.BODY_BYTES, is_json=True)
            guarded.route.check_query(scope.get("query_string", b""))
            if most:
                _check_is_json(scope)
        except Problem as problem:
            self.problem = problem


class Exchange:
    """One request to a hot route until its answer. It does the same as the middleware in limits.py."""

    __slots__ = ("_began", "_guarded", "_head", "_scope", "budget", "request_id")

    def __init__(self, head: Head, scope: Scope) -> None:
        self._began = time.monotonic()
        self._head = head
        self._guarded = head.guarded
        self._scope = scope
        self.request_id = head.request_id or new_name()
        self.budget = head.budget
        """Seconds the request may take. The caller enforces the limit."""
        scope["app"] = head.guarded.app
        state = scope.setdefault("state", {})
        state["request_id"] = self.request_id
        state["deadline"] = self._began + head.budget

    async def answer(self, receive: Receive) -> Answer:
        """Receive the body and return the answer. An exception becomes a problem answer."""
        most = self._guarded.endpoint.body_bytes
        try:
            body = await _body(receive, most) if most and self._head.problem is None else b""
        except Exception as error:
            return self.refusal(error)
        return await self.answer_to(body)

    async def answer_to(self, body: bytes) -> Answer:
        """Return the answer to a whole body. An exception becomes a problem answer. Awaits only the endpoint."""
        endpoint = self._guarded.endpoint
        try:
            try:
                if self._head.problem is not None:
                    raise self._head.problem
                if not endpoint.body_bytes:
                    body = b""
                elif len(body) > endpoint.body_bytes:
                    raise PayloadTooLarge(limit_bytes=endpoint.body_bytes)
                return await endpoint.handle(self._scope, body)
            except Problem as problem:
                check_declared(problem, self._guarded.route)
                raise
        except Exception as error:
            return self.refusal(error)

    def refusal(self, error: Exception) -> Answer:
        """Build the answer to an exception."""
        response = respond(self._scope, error)
        headers = (header for header in response.raw_headers if header[0] != b"content-length")
        return Answer(response.status_code, bytes(response.body), tuple(headers))

    def end(self, status: int) -> None:
        """Report the status and the duration. The status is 0 if there was no answer."""
        self._guarded.observe(status, time.monotonic() - self._began)


async def _send(send: Send, answer: Answer, request_id: str | None = None) -> None:
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    if answer.location:
        headers.append((b"location", answer.location))
    if request_id is not None:
        headers = limits.completed(headers, request_id)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _check_is_json(scope: Scope) -> None:
    if (b"content-type", JSON) not in scope["headers"]:
        limits.check_content_type(Request(scope), ("application/json",))  # accepts other spellings, or refuses


async def _body(receive: Receive, most: int) -> bytes:
    """Receive the whole body. Raises PayloadTooLarge, or ClientDisconnect."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += cast("bytes", message.get("body", b""))
        if len(body) > most:
            raise PayloadTooLarge(limit_bytes=most)
        if not message.get("more_body", False):
            return body
