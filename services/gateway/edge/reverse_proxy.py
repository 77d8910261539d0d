"""Forwards requests to the other services. Only the caller's token is replaced, by an internal one."""

from collections.abc import Sequence

import httpx
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from services.gateway.edge.forwarding import Forwarding, address
from services.gateway.edge.paths import upstream_path
from shared.core.actors import Actor
from shared.core.settings import Service
from shared.governance.sunset.rules import stays_open
from shared.http.route import NOBODY
from shared.problems import NoSuchPath, Sunset
from shared.runtime.context import ServiceContext

BEHIND: tuple[Service, ...] = ("registry", "testing", "observation")
UPLOADS = ("/registry/v1/imports",)
"""Paths of file uploads, which may take long."""
BODY_BYTES = {"/testing/v1/seals": 4 << 20}
"""Larger body limits, equal to those of the services, so that the edge does not read a body that they refuse."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class ReverseProxy:
    """Forwards requests to one service."""

    def __init__(self, context: ServiceContext, service: Service) -> None:
        self._context = context
        self._service: Service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # OPTIONS needs no authentication, because the methods of a path are not secret. The service answers it.
        actor: Actor = NOBODY if scope["method"] == "OPTIONS" else scope["app"].state.authenticate(scope)
        path = upstream_path(scope["path"], self._service)
        if path is None:
            raise NoSuchPath()
        if self._context.is_over and not stays_open(scope["method"], path):
            raise Sunset()
        service_clients = self._context.service_clients
        client: httpx.AsyncClient = service_clients.client(self._service)
        url = address(str(client.base_url), path, scope["query_string"])
        headers = service_clients.headers(self._service, actor, scope["state"]["deadline"])
        await Forwarding(client, url, headers)(scope, receive, send)


def routes(context: ServiceContext) -> Sequence[BaseRoute]:
    """Return the routes to the other services."""
    return [
        Route(f"/{service}/{{path:path}}", ReverseProxy(context, service), methods=[*METHODS, "OPTIONS"])
        for service in BEHIND
    ]
