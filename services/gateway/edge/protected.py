"""Protected services: foreign applications behind a service point, reached with the receipt of a verification."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import httpx
from fastapi import Header, Path
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from services.gateway.edge.forwarding import Forwarding
from services.gateway.edge.gate import (
    RECEIPT_HEADER,
    Admitted,
    Gate,
    ReceiptExpired,
    ReceiptForeign,
    ReceiptMissing,
)
from services.gateway.edge.paths import is_plain, joined
from services.gateway.edge.proxy import METHODS
from shared import clock
from shared.actors import Role
from shared.house import House
from shared.http.handlers import request_id_of
from shared.http.hot import answered
from shared.http.router import Router
from shared.problems import Forbidden, NoSuchPath, NotFound

SERVICES = "/services/"
BODY_BYTES = 16 << 20
SANDBOX = b"sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads"
RESIDENT_HEADER = "x-fangxian-resident"


class Protected:
    """The way to protected services, by slug. Upstream learns who the resident is, and gets no token of ours."""

    def __init__(self, house: House, gate: Gate) -> None:
        self._house = house
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = request.path_params.get("path", "")
        if (path and not is_plain(path)) or "service-worker" in request.headers:
            raise NoSuchPath()
        point, resident_id = await admit(self._gate, request)
        headers = {"x-request-id": request_id_of(scope)}
        if resident_id is not None:
            headers[RESIDENT_HEADER] = str(resident_id)
        query = scope["query_string"].decode("ascii", "ignore")
        url = httpx.URL(joined(point.upstream_url, path) + (f"?{query}" if query else ""))
        await Forwarding(self._house.peers.outside, url, headers)(scope, receive, apart(send))


def apart(send: Send) -> Send:
    """Keep a foreign page apart from ours, though both come from this host: a browser gives it an origin of its own."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"content-security-policy", SANDBOX)]}
        await send(message)

    return sending


async def admit(gate: Gate, request: Request) -> Admitted:
    """Who goes through, by what the request says."""
    identify = partial(request.app.state.authenticate, request.scope)
    return await gate.admit(identify, request.path_params["slug"], request.headers.get(RECEIPT_HEADER), clock.now())


def routes(house: House, gate: Gate) -> Sequence[BaseRoute]:
    """Protected services, and the same decision for a reverse proxy that asks (nginx, Traefik, Caddy)."""
    protected = Protected(house, gate)

    async def forward_auth(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            _, resident_id = await admit(gate, request)
        except NotFound:  # who asks understands 204, 401 and 403 only
            raise Forbidden() from None
        headers = {RESIDENT_HEADER: str(resident_id)} if resident_id else {}
        await Response(status_code=204, headers=headers)(scope, receive, send)

    return [
        *answered(declared_forward_auth(), forward_auth),
        *answered(declared_services(), protected),
        Route("/services/{slug}", protected, methods=METHODS),
    ]


Slug = Annotated[
    str, Path(description="The `slug` of the service point that protects the service.", examples=["service-hall"])
]
AnyPath = Annotated[
    str, Path(description="What is asked of the service; it may have slashes.", examples=["appointments"])
]
ReceiptShown = Annotated[
    str | None,
    Header(
        alias="X-Visit-Receipt",
        description="The receipt that the verification of one's code at this very point gave.",
        max_length=200,
    ),
]

ADMISSION = (ReceiptMissing, ReceiptForeign, ReceiptExpired)

RESIDENT_SAID = {
    "headers": {
        "X-Fangxian-Resident": {
            "description": "Who goes through; missing where a point of care lets somebody in who is unknown.",
            "schema": {"type": "string", "format": "uuid"},
        }
    }
}
ANY_ANSWER = {"description": "Whatever the protected service answers."}
ANY_BODY = {
    "required": False,
    "description": "Whatever the protected service takes; up to 16 MiB.",
    "content": {"application/json": {"schema": {}, "example": {"day": "2021-01-20"}}},
}


def declared_forward_auth() -> Router:
    """What the decision for a reverse proxy promises."""
    router = Router(prefix="/gateway/v1/forward-auth", tags=["protected services"])
    for method in ("get", "post"):

        async def endpoint(slug: Slug, receipt: ReceiptShown = None) -> None:
            """Say whether a request may go through to a protected service, for the reverse proxy before it.

            The proxy passes the caller's Authorization and X-Visit-Receipt on and lets the request through on 204, with
            X-Fangxian-Resident in place of whatever the caller said so. The same decision as under `/services/{slug}/`.
            """

        endpoint.__name__ = f"{method}_forward_auth"
        declare = getattr(router, method)
        extra = {"responses": {"204": RESIDENT_SAID}}
        declare("/{slug}", role=Role.ANYONE, raises=ADMISSION, status=204, extra=extra)(endpoint)
    return router


def declared_services() -> Router:
    """What the way to protected services promises, whatever the method."""
    router = Router(prefix="/services", tags=["protected services"])
    for method in METHODS:

        async def endpoint(slug: Slug, path: AnyPath, receipt: ReceiptShown = None) -> None:
            """Ask a protected service, with the receipt of a verification at its service point.

            The service learns who the resident is (X-Fangxian-Resident) and gets no token of ours. Points of care ask
            for neither receipt nor token; nor does any when the emergency is over. Source: articles 2 and 4.
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
