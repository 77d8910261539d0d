"""Protected services: foreign applications behind a service point, reached with the receipt of a verification."""

import re
from collections.abc import Sequence

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from services.gateway.edge.forwarding import Forwarding
from services.gateway.edge.paths import is_plain, joined
from services.gateway.edge.protection import RECEIPT_HEADER, Gate
from services.gateway.edge.proxy import METHODS
from shared import clock
from shared.actors import Actor
from shared.house import House
from shared.problems import Forbidden, NoSuchPath, NotFound

SERVICES = "/services/"
BODY_BYTES = 16 << 20
RESIDENT_HEADER = "x-fangxian-resident"

_ORIGINAL = re.compile(r"/services/(?P<slug>[^/?#]+)(?:[/?#].*)?", re.DOTALL)


class Protected:
    """The way to protected services, by slug. Upstream learns who the resident is, and gets no token of ours."""

    def __init__(self, house: House, gate: Gate) -> None:
        self._house = house
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        actor: Actor = request.app.state.authenticate(scope)
        path = request.path_params.get("path", "")
        if path and not is_plain(path):
            raise NoSuchPath()
        receipt = request.headers.get(RECEIPT_HEADER)
        point, resident_id = await self._gate.admit(actor, request.path_params["slug"], receipt, clock.now())
        headers = {"x-request-id": actor.request_id}
        if resident_id is not None:
            headers[RESIDENT_HEADER] = str(resident_id)
        query = scope["query_string"].decode("ascii", "ignore")
        url = httpx.URL(joined(point.upstream_url, path) + (f"?{query}" if query else ""))
        await Forwarding(self._house.peers.outside, url, headers)(scope, receive, send)


def routes(house: House, gate: Gate) -> Sequence[BaseRoute]:
    """Protected services, and the same decision for a reverse proxy that asks (nginx: auth_request)."""
    protected = Protected(house, gate)

    async def forward_auth(request: Request) -> Response:
        actor: Actor = request.app.state.authenticate(request)
        receipt = request.headers.get(RECEIPT_HEADER)
        try:
            _, resident_id = await gate.admit(actor, _slug_of(request), receipt, clock.now())
        except NotFound:  # who asks understands 204, 401 and 403 only
            raise Forbidden() from None
        return Response(status_code=204, headers={RESIDENT_HEADER: str(resident_id)} if resident_id else {})

    return [
        Route("/gateway/v1/forward-auth", forward_auth, methods=["GET"]),
        Route("/services/{slug}", protected, methods=METHODS),
        Route("/services/{slug}/{path:path}", protected, methods=METHODS),
    ]


def _slug_of(request: Request) -> str:
    """The slug of `X-Service-Point`, or of an `X-Original-URI` under `/services/`."""
    named = request.headers.get("x-service-point")
    if named:
        return named
    match = _ORIGINAL.fullmatch(request.headers.get("x-original-uri", ""))
    if match is None:
        raise Forbidden()
    return match["slug"]
