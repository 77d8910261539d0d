"""The decision about a request to a protected service, for the reverse proxy in front of that service.

The proxy asks with the caller's own request: its method, its headers, often a suffix of its path. None of that is
about this answer, so none of it is judged here. What counts is the slug in the path, the token and the receipt.

The answer is 200, 401, 403, or 503 when the decision cannot be made; proxies turn any other status into an error of
their own (nginx answers 500), and Envoy takes nothing but 200 for a yes. For that reason this stands in front of
everything else: limits, load shedding, CORS and the framework. A CORS preflight has neither token nor receipt, and is
refused like any other request without them: a proxy that keeps the method would otherwise let it through unasked.
"""

import asyncio
import time
from dataclasses import replace
from functools import partial

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from services.gateway.edge.gate import RECEIPT_HEADER, RESIDENT_HEADER, Gate
from services.gateway.edge.protected import ADMISSION, NAMED_RESIDENT
from services.gateway.edge.proxy import METHODS
from shared import clock, telemetry
from shared.actors import Role
from shared.http import limits
from shared.http.failures import account_of, problem_of
from shared.http.handlers import problem_response
from shared.http.hot import answered
from shared.http.route import Route
from shared.http.router import Router
from shared.ids import new_name
from shared.problems import Forbidden, NoSuchPath, NotFound, Problem, Unavailable

PREFIX = "/gateway/v1/forward-auth"
DECIDE_SECONDS = 5.0
"""Proxies wait for every request of theirs, so nobody waits longer than this."""

logger = structlog.get_logger()


class ForwardAuth:
    """The middleware itself. Add it last, so that it stands in front of everything else."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_asked(scope["path"]):
            await self.app(scope, receive, send)
            return
        began = time.monotonic()
        request_id = limits.given_request_id(limits.read_headers(scope)[0]) or new_name()
        scope.setdefault("state", {})["request_id"] = request_id
        bound = bind_contextvars(request_id=request_id)
        try:
            response = await self._response(scope)
            headers = limits.completed(response.raw_headers, request_id)
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})
            figure = telemetry.REQUESTS.labels(
                "gateway", scope["method"], f"{PREFIX}/{{slug}}", str(response.status_code)
            )
            figure.observe(time.monotonic() - began)
        finally:
            reset_contextvars(**bound)

    async def _response(self, scope: Scope) -> Response:
        try:
            async with asyncio.timeout(DECIDE_SECONDS):
                resident_id = await self._decide(scope)
        except Exception as error:
            return _refusal(scope, error)
        # Always there, empty for nobody: so a proxy that copies it replaces what the caller wrote there.
        return Response(status_code=200, headers={RESIDENT_HEADER: str(resident_id or "")})

    async def _decide(self, scope: Scope) -> object:
        identify = partial(scope["app"].state.authenticate, scope)
        receipts = [value for name, value in scope["headers"] if name == RECEIPT_HEADER.encode("ascii")]
        receipt = receipts[0].decode("latin-1") if len(receipts) == 1 else None
        return (await self._gate.admit(identify, slug_of(scope), receipt, clock.now())).resident_id


def slug_of(scope: Scope) -> str:
    """Return the slug in the path as it was sent; empty, which no point has, if the path only decodes to one.

    The path is not normalised: a suffix with dot segments must not lead from one slug to another.
    """
    raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    prefix = PREFIX.encode("ascii") + b"/"
    return raw[len(prefix) :].partition(b"/")[0].decode("latin-1") if raw.startswith(prefix) else ""


def _is_asked(path: str) -> bool:
    return path == PREFIX or path.startswith(PREFIX + "/")


def _refusal(scope: Scope, error: Exception) -> Response:
    """An answer that every proxy understands: 401, 403 or 503."""
    problem: Problem = error if isinstance(error, Problem) else problem_of(error)
    if isinstance(problem, NotFound):
        problem = Forbidden()
    if problem.status not in ANSWERED:
        logger.error("forward_auth.failed", **account_of(error))
        problem = Unavailable()
    try:
        return problem_response(scope, problem)
    except Exception as failure:  # a proxy must not read anything but these three
        logger.error("forward_auth.failed", **account_of(failure))
        return Response(status_code=problem.status)


def routes(gate: Gate) -> list[Route]:
    """Where the decision is asked for. The middleware answers first; the routes are there for the documents."""
    return answered(declared(), ForwardAuth(_nothing, gate))


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise NoSuchPath()


ANSWERED = (401, 403, 503)

SLUG = {
    "name": "slug",
    "in": "path",
    "required": True,
    "description": "The `slug` of the service point that protects the service.",
    "schema": {"type": "string"},
    "example": "service-hall",
}
SUFFIX = {
    "name": "path",
    "in": "path",
    "required": True,
    "description": "Ignored: some proxies append the path of the request.",
    "schema": {"type": "string"},
    "example": "a/b",
}
RECEIPT = {
    "name": "X-Visit-Receipt",
    "in": "header",
    "required": False,
    "description": "The receipt that the verification of one's code at this very point gave.",
    "schema": {"type": "string"},
}
"""Written by hand: nothing of a request is judged here, so no parameter of these is ever refused as input."""


def declared() -> Router:
    """What the decision for a reverse proxy promises."""
    router = Router(prefix=PREFIX, tags=["protected services"])
    for method in METHODS:

        async def endpoint() -> None:
            """Decide for a reverse proxy whether a request may reach a protected service.

            The proxy passes the caller's Authorization and X-Visit-Receipt on and lets the request through on 200, with
            X-Fangxian-Resident in place of whatever the caller wrote there. Any method and any other header are
            accepted and ignored, and so is a path after the slug. The answer is 200, 401, 403, or 503 if it cannot be
            decided, and no other. The same decision as under `/services/{slug}/`.
            """

        async def endpoint_with_path() -> None:
            """Decide the same for a proxy that appends the path of the request (Envoy's `path_prefix`)."""

        for path, one, name, parameters in (
            ("/{slug}", endpoint, "", [SLUG, RECEIPT]),
            ("/{slug}/{path:path}", endpoint_with_path, "_with_path", [SLUG, SUFFIX, RECEIPT]),
        ):
            one.__name__ = f"{method.lower()}_forward_auth{name}"
            getattr(router, method.lower())(
                path,
                role=Role.ANYONE,
                raises=ADMISSION,
                unkept=True,
                response_class=Response,
                extra={"responses": {"200": NAMED_RESIDENT}, "parameters": parameters},
            )(one)
    for route in router.routes:
        if isinstance(route, Route):
            _answers_only_these(route)
    return router


def _answers_only_these(route: Route) -> None:
    contract = route.endpoint.__contract__  # type: ignore[attr-defined]
    problems = tuple(problem for problem in contract.problems if problem.status in ANSWERED)
    route.endpoint.__contract__ = replace(contract, problems=problems)  # type: ignore[attr-defined]
    route.responses = {status: said for status, said in route.responses.items() if status in ANSWERED}
