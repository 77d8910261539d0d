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
from starlette.types import Receive, Scope, Send

from shared.http import limits, router
from shared.http.handlers import respond
from shared.http.router import Route, Router
from shared.problems import PayloadTooLarge, Problem, UpstreamTimeout

JSON = b"application/json"


class Answer(NamedTuple):
    """What a hot route answers."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", JSON),)


Handle = Callable[[Scope, bytes], Awaitable[Answer]]
"""Takes the scope and the whole body. What it raises is answered as a problem."""


@dataclass(frozen=True)
class Hot:
    """An endpoint without a framework. As an ASGI application it stands within the ordinary surroundings."""

    handle: Handle
    body_bytes: int = 0
    """The longest body; 0 where there is none to read."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self.answer(scope, receive)
        await _send(send, answer)

    async def answer(self, scope: Scope, receive: Receive) -> Answer:
        """The answer to a request."""
        body = await _body(scope, receive, self.body_bytes) if self.body_bytes else b""
        return await self.handle(scope, body)


def hot(declared: Router, endpoint: Hot) -> Route:
    """The one route a Router declares, answered by `endpoint`: the declaration is its contract, and is never called."""
    (route,) = declared.routes
    if not isinstance(route, Route):
        raise TypeError("a hot route is declared on a Router of ours")
    _only(route)
    route.app = route.hot = endpoint
    return route


def _only(route: Route) -> str:
    (method,) = sorted(route.methods or ())
    return method


Observe = Callable[[int, float], None]
"""Told of each answer: its status, and the seconds it took."""


class App(FastAPI):
    """An application that lets hot routes answer first."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.hot: dict[tuple[str, str], _Surrounded] = {}
        self.for_browsers = False
        """Whether what a web page asks goes the ordinary way, where it is told who may read the answer."""

    def surround(self, request_timeout_seconds: float, observe: Callable[[str, str], Observe]) -> None:
        """Take the hot routes out of the others. Call it once, when all are there."""
        for route in self.router.routes:
            if isinstance(route, Route) and route.hot is not None:
                method = _only(route)
                observed = observe(method, route.path)
                self.hot[method, route.path] = _Surrounded(self, route, request_timeout_seconds, observed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        surrounded = self.hot.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if surrounded is None or (self.for_browsers and any(name == b"origin" for name, _ in scope["headers"])):
            await super().__call__(scope, receive, send)
        else:
            await surrounded(scope, receive, send)


class _Surrounded:
    """What surrounds a hot route: limits.py's work in one function."""

    def __init__(self, app: FastAPI, route: Route, seconds: float, observe: Observe) -> None:
        self.app = app
        self.route = route
        self.endpoint = cast("Hot", route.hot)
        self.seconds = seconds
        self.observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        status = 0
        scope["app"] = self.app
        state = scope.setdefault("state", {})
        headers, size = limits.read_headers(scope)
        state["request_id"] = request_id = limits.request_id_of(headers)
        try:
            limits.check(scope, headers, size, self.endpoint.body_bytes or limits.BODY_BYTES, is_json=True)
            budget = limits.budget_of(headers, self.seconds)
            state["deadline"] = began + budget
            answer = await self._within(budget, scope, receive)
            status = answer.status
            await _send(send, answer, request_id)
        except Exception as error:
            if status:
                raise
            response = respond(scope, error)
            status = response.status_code
            complete = limits.completing(send, request_id)
            await response(scope, receive, complete)
        finally:
            self.observe(status, time.monotonic() - began)

    async def _within(self, budget: float, scope: Scope, receive: Receive) -> Answer:
        """The answer within its time. As `asyncio.timeout` does it, at a third of its cost."""
        loop = asyncio.get_running_loop()  # once: each time is a system call
        task = cast("asyncio.Task[None]", asyncio.current_task(loop))
        overdue = False

        def expire() -> None:
            nonlocal overdue
            overdue = True
            task.cancel()

        timer = loop.call_later(budget, expire)
        try:
            return await self.endpoint.answer(scope, receive)
        except Problem as problem:
            router.check_declared(problem, self.route)
            raise
        except asyncio.CancelledError:
            if overdue and task.uncancel() == 0:
                raise UpstreamTimeout() from None
            raise
        finally:
            timer.cancel()


async def _send(send: Send, answer: Answer, request_id: str | None = None) -> None:
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    if request_id is not None:
        headers += ((b"x-request-id", request_id.encode("ascii")), *limits.OF_EVERY_ANSWER)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The whole body, if it says it is JSON and is not too long."""
    if (b"content-type", JSON) not in scope["headers"]:
        limits.check_content_type(Request(scope), ("application/json",))  # other ways to say the same, and refusals
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
