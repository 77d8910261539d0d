"""Hot routes: the few addresses asked thousands of times a second, answered with no framework in their way.

FastAPI's and Starlette's layers cost more than such a request itself. So the application looks at a request's exact
method and path first, and lets a hot route answer at once; everything else goes the ordinary way. A hot route is
declared on a Router like any other, so it is in the OpenAPI document and keeps its contract, and what is not its exact
address (HEAD, OPTIONS, a wrong method) reaches it the ordinary way. What surrounds every request holds for it too:
its id, the limits, the deadline, and that whatever goes wrong is a problem.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http import limits
from shared.http.handlers import respond
from shared.http.heads import Heads
from shared.http.route import Route, check_declared
from shared.http.router import Router
from shared.ids import new_name
from shared.problems import PayloadTooLarge, Problem, UpstreamTimeout

JSON = b"application/json"


class Answer(NamedTuple):
    """What a hot route answers."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", JSON),)
    """But for the length, the location, and for what every answer carries."""
    location: bytes = b""
    """Where what was made is found. Beside the headers, whose lines are kept: it is another each time."""


Handle = Callable[[Scope, bytes], Awaitable[Answer]]
"""Takes the scope and the whole body. What it raises is answered as a problem.

It may run without a task (protocol.py), so it waits for futures only: no tasks of its own, no `asyncio.timeout`, and no
`asyncio.sleep(0)`.
"""


@dataclass(frozen=True)
class Hot:
    """An endpoint without a framework. As an ASGI application it stands within the ordinary surroundings."""

    handle: Handle
    body_bytes: int = 0
    """The longest body; 0 where there is none to read."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if self.body_bytes:
            _check_is_json(scope)
            body = await _body(receive, self.body_bytes)
        await _send(send, await self.handle(scope, body))


def hot(declared: Router, endpoint: Hot) -> Route:
    """The one route a Router declares, answered by `endpoint`: the declaration is its contract, and is never called."""
    (route,) = declared.routes
    if not isinstance(route, Route):
        raise TypeError("a hot route is declared on a Router of ours")
    _only(route)
    route.app = route.hot = endpoint
    return route


def answered(declared: Router, endpoint: ASGIApp) -> list[Route]:
    """The routes a Router declares, answered by an ASGI application in the ordinary surroundings."""
    routes = [route for route in declared.routes if isinstance(route, Route)]
    for route in routes:
        route.app = endpoint
    return routes


def _only(route: Route) -> str:
    (method,) = sorted(route.methods or ())
    return method


Observe = Callable[[int, float], None]
"""Told of each answer: its status, and the seconds it took."""


class App(FastAPI):
    """An application that lets hot routes answer first."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.hot: dict[tuple[str, str], Surrounded] = {}
        self.heads: Heads[Head] = Heads()
        self.for_browsers = False
        """Whether what a web page asks goes the ordinary way, where it is told who may read the answer."""

    def surround(self, request_timeout_seconds: float, observe: Callable[[str, str], Observe]) -> None:
        """Take the hot routes out of the others. Call it once, when all are there."""
        for route in self.router.routes:
            if isinstance(route, Route) and route.hot is not None:
                method = _only(route)
                observed = observe(method, route.path)
                self.hot[method, route.path] = Surrounded(self, route, request_timeout_seconds, observed)

    def hot_route(self, scope: Scope) -> "Surrounded | None":
        """The hot route that answers a request, if one does."""
        found = self.hot.get((scope["method"], scope["path"]))
        if found and self.for_browsers and any(name == b"origin" for name, _ in scope["headers"]):
            return None
        return found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        surrounded = self.hot_route(scope) if scope["type"] == "http" else None
        if surrounded is None:
            await super().__call__(scope, receive, send)
        else:
            await surrounded(scope, receive, send)


class Surrounded:
    """A hot route with what surrounds it, as an ASGI application: the way of all servers but ours."""

    def __init__(self, app: FastAPI, route: Route, seconds: float, observe: Observe) -> None:
        self.app = app
        self.route = route
        self.endpoint = cast("Hot", route.hot)
        self.seconds = seconds
        self.observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(Head(self, scope), scope)
        status = 0
        try:
            try:
                async with asyncio.timeout(exchange.budget):
                    answer = await exchange.answer(receive)
            except TimeoutError:  # whatever else goes wrong is an answer
                answer = exchange.refusal(UpstreamTimeout())
            status = answer.status
            await _send(send, answer, exchange.request_id)
        finally:
            exchange.end(status)


class Head:
    """What the head of a request to a hot route says to its surroundings. The same bytes always say the same."""

    __slots__ = ("budget", "fault", "hot", "request_id", "scope")

    def __init__(self, hot: Surrounded, scope: Scope) -> None:
        self.hot = hot
        self.scope = scope
        headers, size = limits.read_headers(scope)
        self.request_id = limits.given_request_id(headers)
        self.budget = limits.budget_of(headers, hot.seconds)
        self.fault: Problem | None = None
        most = hot.endpoint.body_bytes
        try:
            limits.check(scope, headers, size, most or limits.BODY_BYTES, is_json=True)
            hot.route.check_query(scope.get("query_string", b""))
            if most:
                _check_is_json(scope)
        except Problem as fault:
            self.fault = fault


class Exchange:
    """One request to a hot route, until it is answered: limits.py's work in one place."""

    __slots__ = ("_began", "_head", "_hot", "_scope", "budget", "request_id")

    def __init__(self, head: Head, scope: Scope) -> None:
        self._began = time.monotonic()
        self._head = head
        self._hot = head.hot
        self._scope = scope
        self.request_id = head.request_id or new_name()
        self.budget = head.budget
        """Seconds it may take; whoever runs it ends it then."""
        scope["app"] = head.hot.app
        state = scope.setdefault("state", {})
        state["request_id"] = self.request_id
        state["deadline"] = self._began + head.budget

    async def answer(self, receive: Receive) -> Answer:
        """The answer, whatever it is, to a body that is still to be received."""
        most = self._hot.endpoint.body_bytes
        try:
            body = await _body(receive, most) if most and self._head.fault is None else b""
        except Exception as error:
            return self.refusal(error)
        return await self.answer_to(body)

    async def answer_to(self, body: bytes) -> Answer:
        """The answer, whatever it is, to a whole body. Waits for what it asks of others, and for nothing else."""
        endpoint = self._hot.endpoint
        try:
            try:
                if self._head.fault is not None:
                    raise self._head.fault
                if not endpoint.body_bytes:
                    body = b""
                elif len(body) > endpoint.body_bytes:
                    raise PayloadTooLarge(limit_bytes=endpoint.body_bytes)
                return await endpoint.handle(self._scope, body)
            except Problem as problem:
                check_declared(problem, self._hot.route)
                raise
        except Exception as error:
            return self.refusal(error)

    def refusal(self, error: Exception) -> Answer:
        """How an exception is answered."""
        response = respond(self._scope, error)
        kept = (header for header in response.raw_headers if header[0] != b"content-length")
        return Answer(response.status_code, bytes(response.body), tuple(kept))

    def end(self, status: int) -> None:
        """It is answered; 0 if it never was."""
        self._hot.observe(status, time.monotonic() - self._began)


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
        limits.check_content_type(Request(scope), ("application/json",))  # other ways to say the same, and refusals


async def _body(receive: Receive, most: int) -> bytes:
    """The whole body, if it is not too long."""
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
