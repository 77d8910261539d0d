"""Calls to the other services, with an internal token, a request id, a trace and the remaining time of the caller."""

import ssl
import time
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from shared.core.actors import Actor
from shared.core.settings import SERVICES, Service, Settings
from shared.crypto.tokens import Signer
from shared.observability import tracing
from shared.problems import UpstreamFailed, UpstreamTimeout

CONNECT_SECONDS = 1.0


def _certificates_for(url: str) -> ssl.SSLContext | bool:
    """Return a client's TLS trust. Loading all authorities takes 30 ms and 1 MB a client, so plain HTTP loads none."""
    return url.startswith("https:") or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class ServiceClients:
    """HTTP clients of the other services."""

    def __init__(self, settings: Settings, signer: Signer, transports: Mapping[str, httpx.AsyncBaseTransport]) -> None:
        self._settings = settings
        self._signer = signer
        self._transports = transports
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._outside: httpx.AsyncClient | None = None

    @property
    def outside(self) -> httpx.AsyncClient:
        """The client for external services. It sends no token and stores no cookies."""
        if self._outside is None:
            self._outside = httpx.AsyncClient(
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                follow_redirects=False,
                trust_env=False,
                limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
                timeout=httpx.Timeout(self._settings.request_timeout_seconds, connect=CONNECT_SECONDS),
            )
        return self._outside

    def client(self, service: Service) -> httpx.AsyncClient:
        """Return the client of one service. Its connections stay open."""
        if service not in self._clients:
            self._clients[service] = httpx.AsyncClient(
                base_url=self._settings.url_of(service),
                verify=_certificates_for(self._settings.url_of(service)),
                transport=self._transports.get(service),
                limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
                timeout=httpx.Timeout(self._settings.request_timeout_seconds, connect=CONNECT_SECONDS),
            )
            tracing.follow_client(self._clients[service])
        return self._clients[service]

    def headers(self, service: Service, actor: Actor, deadline: float | None = None) -> dict[str, str]:
        """Build the headers of a call on behalf of an actor. `deadline` is a time of `time.monotonic()`."""
        headers = {"authorization": f"Bearer {self._signer.token_for(service, actor)}"}
        if actor.request_id:
            headers["x-request-id"] = actor.request_id
        if deadline is not None:
            headers["x-deadline-ms"] = str(max(1, int((deadline - time.monotonic()) * 1000)))
        return headers

    async def call(
        self, service: Service, method: str, path: str, actor: Actor, *, deadline: float | None = None, **options: Any
    ) -> httpx.Response:
        """Send one request. Raises `UpstreamTimeout` or `UpstreamFailed` if the service does not answer."""
        headers = self.headers(service, actor, deadline) | dict(options.pop("headers", {}))
        if deadline is not None:
            options["timeout"] = max(0.001, deadline - time.monotonic())
        try:
            return await self.client(service).request(method, path, headers=headers, **options)
        except httpx.TimeoutException as error:
            raise UpstreamTimeout() from error
        except httpx.TransportError as error:
            raise UpstreamFailed() from error

    async def close(self) -> None:
        """Close all connections."""
        for service in SERVICES:
            client = self._clients.pop(service, None)
            if client is not None:
                await client.aclose()
        if self._outside is not None:
            await self._outside.aclose()
            self._outside = None
