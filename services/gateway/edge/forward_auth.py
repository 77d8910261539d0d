"""Decides for a reverse proxy whether a request may reach a protected service.

The proxy sends the method and headers of the caller's request, and often its path as a suffix. They are not checked
here. Only the slug in the path, the token and the receipt count.

The answer is 200, 401, 403, or 503 if no decision is possible. Proxies turn any other status into an error of their own
(nginx: 500), and Envoy accepts only 200 as a yes. Therefore this middleware runs before limits, load shedding, CORS and
the framework. A CORS preflight has no token and no receipt, so it is refused. Otherwise a proxy that keeps the method
would let every preflight through.
"""

import asyncio
import time
from dataclasses import replace
from functools import partial

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from services.gateway.edge.protected import ADMISSION, NAMED_RESIDENT
from services.gateway.edge.receipt_check import RECEIPT_HEADER, RESIDENT_HEADER, ReceiptCheck
from services.gateway.edge.reverse_proxy import METHODS
from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_name
from shared.http import limits
from shared.http.failures import account_of, problem_of
from shared.http.fast_path import answered
from shared.http.handlers import problem_response
from shared.http.route import Route
from shared.http.router import Router
from shared.observability import telemetry
from shared.problems import Forbidden, NoSuchPath, NotFound, Problem, Unavailable

PREFIX = "/gateway/v1/forward-auth"
DECIDE_SECONDS = 5.0
"""Maximum time for a decision, because the proxy's client waits for it."""

logger = structlog.get_logger()


class ForwardAuth:
    """The middleware. Add it last, so that it runs before all others."""

    def __init__(self, app: ASGIApp, receipt_check: ReceiptCheck) -> None:
        self.app = app
        self._receipt_check = receipt_check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_forward_auth(scope["path"]):
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
        # Always set, empty for nobody. So a proxy that copies it replaces a value that the caller sent.
        return Response(status_code=200, headers={RESIDENT_HEADER: str(resident_id or "")})

    async def _decide(self, scope: Scope) -> object:
        identify = partial(scope["app"].state.authenticate, scope)
        receipts = [value for name, value in scope["headers"] if name == RECEIPT_HEADER.encode("ascii")]
        receipt = receipts[0].decode("latin-1") if len(receipts) == 1 else None
        return (await self._receipt_check.check(identify, slug_of(scope), receipt, clock.now())).resident_id


def slug_of(scope: Scope) -> str:
    """Return the slug from the raw path. Empty (no point has an empty slug) if the path has it only after decoding.

    The path is not normalised, so a suffix with dot segments cannot lead from one slug to another.
    """
    raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    prefix = PREFIX.encode("ascii") + b"/"
    return raw[len(prefix) :].partition(b"/")[0].decode("latin-1") if raw.startswith(prefix) else ""


def _is_forward_auth(path: str) -> bool:
    return path == PREFIX or path.startswith(PREFIX + "/")


def _refusal(scope: Scope, error: Exception) -> Response:
    """Return a 401, 403 or 503, which every proxy understands."""
    problem: Problem = error if isinstance(error, Problem) else problem_of(error)
    if isinstance(problem, NotFound):
        problem = Forbidden()
    if problem.status not in ANSWERED:
        logger.error("forward_auth.failed", **account_of(error))
        problem = Unavailable()
    try:
        return problem_response(scope, problem)
    except Exception as failure:  # a proxy must only get one of these three
        logger.error("forward_auth.failed", **account_of(failure))
        return Response(status_code=problem.status)


def routes(receipt_check: ReceiptCheck) -> list[Route]:
    """Return the routes of the decision. They exist for OpenAPI, because the middleware answers first."""
    return answered(declared(), ForwardAuth(_nothing, receipt_check))


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
    "description": "Ignored. Some proxies append the path of the request.",
    "schema": {"type": "string"},
    "example": "a/b",
}
RECEIPT = {
    "name": "X-Visit-Receipt",
    "in": "header",
    "required": False,
    "description": "The receipt from the verification of your code at this service point.",
    "schema": {"type": "string"},
}
"""Declared by hand, because parameters are not validated: a request is never refused as invalid input."""


def declared() -> Router:
    """Declare the routes of the decision."""
    router = Router(prefix=PREFIX, tags=["protected services"])
    for method in METHODS:

        async def endpoint() -> None:
            """Decide for a reverse proxy whether a request may reach a protected service.

            The proxy forwards the caller's Authorization and X-Visit-Receipt. On 200 it lets the request through, and
            replaces the caller's X-Fangxian-Resident by the one of this answer. Any method is accepted. Other headers
            and a path after the slug are ignored. The answer is always 200, 401, 403, or 503 if no decision is
            possible. The decision is the same as under `/services/{slug}/`.
            """

        async def endpoint_with_path() -> None:
            """Decide the same for a proxy that appends the path of the request, such as Envoy's `path_prefix`."""

        for path, one, name, parameters in (
            ("/{slug}", endpoint, "", [SLUG, RECEIPT]),
            ("/{slug}/{path:path}", endpoint_with_path, "_with_path", [SLUG, SUFFIX, RECEIPT]),
        ):
            one.__name__ = f"{method.lower()}_forward_auth{name}"
            getattr(router, method.lower())(
                path,
                role=Role.ANYONE,
                raises=ADMISSION,
                store_response=False,
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
    route.responses = {status: answer for status, answer in route.responses.items() if status in ANSWERED}
