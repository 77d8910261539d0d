"""Forwards a request and its answer as streams, so the edge never holds a whole body.

Only listed request headers are forwarded. So the caller's token, cookies and unknown headers never reach a service.
"""

from collections.abc import Container, Iterable, Mapping
from contextlib import aclosing
from typing import Any

import httpx
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from shared.http.limits import remaining_seconds
from shared.problems import UpstreamFailed, UpstreamTimeout

PASSED_ON = frozenset(
    {
        b"accept",
        b"accept-language",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"idempotency-key",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"range",
        b"user-agent",
    }
)
KEPT_BACK = frozenset(
    {
        # hop by hop (RFC 9110, 7.6.1)
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        # would affect other pages of the edge
        b"access-control-allow-credentials",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-allow-origin",
        b"clear-site-data",
        b"service-worker-allowed",
        b"strict-transport-security",
        # set by the edge itself
        b"date",
        b"server",
        b"set-cookie",
        b"x-content-type-options",
        b"x-request-id",
    }
)
RETRIED = frozenset({"GET", "HEAD"})

BROKEN = (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""Errors when a connection cannot be opened, or a kept connection was closed by the other side."""


class Forwarding:
    """An ASGI application that forwards one request and returns the answer of the upstream."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: httpx.URL,
        headers: Mapping[str, str],
        *,
        target: bytes | None = None,
        returned: Container[bytes] | None = None,
    ) -> None:
        """`target` replaces the URL's path and query byte for byte. `returned` are the only headers to return."""
        self._client = client
        self._url = url
        self._headers = headers
        self._extensions = {} if target is None else {"target": target}
        self._returned = returned

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._ask(request)
        except httpx.TimeoutException as error:
            raise UpstreamTimeout() from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UpstreamFailed() from error
        async with aclosing(response):
            await send(_start(response, self._returned))
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _ask(self, request: Request) -> httpx.Response:
        has_body = _has_body(request)
        try:
            return await self._send(request, has_body)
        except BROKEN:
            if request.method not in RETRIED or has_body:
                raise
            return await self._send(request, has_body)

    async def _send(self, request: Request, has_body: bool) -> httpx.Response:
        remaining = max(0.001, remaining_seconds(request.scope))
        content = request.stream() if has_body else None
        outgoing = self._client.build_request(
            request.method,
            self._url,
            headers=[*_passed_on(request, has_body), *_in_bytes(self._headers)],
            content=content,
            timeout=httpx.Timeout(remaining, connect=min(1.0, remaining)),
            extensions=self._extensions,
        )
        return await self._client.send(outgoing, stream=True)


def address(base: str, path: str, query: bytes) -> httpx.URL:
    """Return the URL of an upstream from its base URL, an encoded path and the caller's unchanged query."""
    return httpx.URL(base).copy_with(raw_path=path.encode("ascii") + (b"?" + query if query else b""))


def _has_body(request: Request) -> bool:
    length = request.headers.get("content-length", "0")
    return length != "0" or "transfer-encoding" in request.headers


def _passed_on(request: Request, has_body: bool) -> Iterable[tuple[bytes, bytes]]:
    """Yield the caller's headers to forward as bytes, because a value may contain other characters than ASCII."""
    for name, value in request.scope["headers"]:
        if name in PASSED_ON and (has_body or name != b"content-length"):
            yield name, value
    # No compression: a compressed answer could not be checked, and our answers are small.
    yield b"accept-encoding", b"identity"


def _in_bytes(headers: Mapping[str, str]) -> Iterable[tuple[bytes, bytes]]:
    return ((name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items())


def _start(response: httpx.Response, returned: Container[bytes] | None) -> Message:
    named = {name.strip().lower() for name in response.headers.get("connection", "").encode("latin-1").split(b",")}
    headers: list[tuple[bytes, bytes]] = [
        (name.lower(), value)
        for name, value in response.headers.raw
        if name.lower() not in KEPT_BACK
        and name.lower() not in named
        and (returned is None or name.lower() in returned)
    ]
    message: dict[str, Any] = {"type": "http.response.start", "status": response.status_code, "headers": headers}
    return message
