"""Protected services: applications of others behind a service point. A request needs the receipt of a verification."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated
from urllib.parse import quote

import httpx
from fastapi import Header, Path
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from services.gateway.edge.forwarding import Forwarding
from services.gateway.edge.paths import SAFE, stays_below
from services.gateway.edge.receipt_check import (
    RECEIPT_HEADER,
    RESIDENT_HEADER,
    ReceiptCheck,
    ReceiptExpired,
    ReceiptForeign,
    ReceiptMissing,
)
from services.gateway.edge.reverse_proxy import METHODS
from shared.core import clock
from shared.core.actors import Role
from shared.http.fast_path import answered
from shared.http.handlers import request_id_of
from shared.http.router import Router
from shared.problems import NoSuchPath, NotFound
from shared.runtime.context import ServiceContext

SERVICES = "/services/"
BODY_BYTES = 16 << 20
SANDBOX = b"sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads"
RETURNED = frozenset(
    {
        b"accept-ranges",
        b"age",
        b"cache-control",
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-location",
        b"content-range",
        b"content-security-policy",
        b"content-type",
        b"cross-origin-resource-policy",
        b"etag",
        b"expires",
        b"last-modified",
        b"location",
        b"permissions-policy",
        b"referrer-policy",
        b"retry-after",
        b"vary",
        b"x-frame-options",
    }
)
"""The response headers that a protected service may set. Only listed headers are returned, because browsers know
headers that affect the whole host (NEL, Alt-Svc, Clear-Site-Data, Refresh…) and add new ones."""


class Protected:
    """Forwards to protected services by slug. The upstream gets the resident's id, but no token."""

    def __init__(self, context: ServiceContext, receipt_check: ReceiptCheck) -> None:
        self._context = context
        self._receipt_check = receipt_check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        slug = request.path_params["slug"]
        path = _path_below(scope, slug)
        if path is None or "service-worker" in request.headers:
            raise NoSuchPath()
        identify = partial(request.app.state.authenticate, scope)
        point, resident_id = await self._receipt_check.check(
            identify, slug, request.headers.get(RECEIPT_HEADER), clock.now()
        )
        if point.upstream_url is None:  # only for reverse proxies
            raise NotFound()
        headers = {"x-request-id": request_id_of(scope)}
        if resident_id is not None:
            headers[RESIDENT_HEADER] = str(resident_id)
        url = httpx.URL(point.upstream_url)
        target = url.raw_path.rstrip(b"/") + b"/" + path
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        forwarding = Forwarding(self._context.service_clients.outside, url, headers, target=target, returned=RETURNED)
        await forwarding(scope, receive, apart(send))


def _path_below(scope: Scope, slug: str) -> bytes | None:
    """Return the raw path below the service, byte for byte; None if it could lead out of the service."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"], safe=SAFE).encode("ascii")
    base = f"{SERVICES}{slug}".encode("utf-8", "surrogateescape")
    if raw == base:
        return b""
    path = raw.removeprefix(base + b"/")
    is_printable = all(32 < byte < 127 for byte in path)
    return path if raw != path and is_printable and stays_below(path) else None


def apart(send: Send) -> Send:
    """Add a sandbox policy, so that browsers give pages of protected services an origin of their own on this host."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"content-security-policy", SANDBOX)]}
        await send(message)

    return sending


def routes(context: ServiceContext, receipt_check: ReceiptCheck) -> Sequence[BaseRoute]:
    """Return the routes to protected services."""
    protected = Protected(context, receipt_check)
    return [*answered(declared_services(), protected), Route("/services/{slug}", protected, methods=METHODS)]


Slug = Annotated[
    str, Path(description="The `slug` of the service point that protects the service.", examples=["service-hall"])
]
AnyPath = Annotated[
    str, Path(description="Path within the protected service; it may contain slashes.", examples=["appointments"])
]
ReceiptShown = Annotated[
    str | None,
    Header(
        alias="X-Visit-Receipt",
        description="The receipt from the verification of your code at this service point.",
        max_length=200,
    ),
]

ADMISSION = (ReceiptMissing, ReceiptForeign, ReceiptExpired)

NAMED_RESIDENT = {
    "headers": {
        "X-Fangxian-Resident": {
            "description": "Id of the resident; empty if a medical point admits an unknown person.",
            "schema": {"type": "string"},
        }
    }
}
ANY_ANSWER = {"description": "The answer of the protected service."}
ANY_BODY = {
    "required": False,
    "description": "Any body that the protected service accepts, up to 16 MiB.",
    "content": {"application/json": {"schema": {}, "example": {"day": "2021-01-20"}}},
}


def declared_services() -> Router:
    """Declare the routes to protected services for every method."""
    router = Router(prefix="/services", tags=["protected services"])
    for method in METHODS:

        async def endpoint(slug: Slug, path: AnyPath, receipt: ReceiptShown = None) -> None:
            """Call a protected service with the receipt of a verification at its service point.

            The service gets the id of the resident (X-Fangxian-Resident), but no token. Medical points require neither
            receipt nor token. After the end of the emergency no point requires them. Source: articles 2 and 4.
            """

        endpoint.__name__ = f"{method.lower()}_protected_service"
        body = {"requestBody": ANY_BODY} if method in ("POST", "PUT", "PATCH") else {}
        getattr(router, method.lower())(
            "/{slug}/{path:path}",
            role=Role.ANYONE,
            raises=[NotFound, NoSuchPath, *ADMISSION],
            response_class=Response,
            extra={"responses": {"200": ANY_ANSWER, "default": ANY_ANSWER}, **body},
        )(endpoint)
    return router
