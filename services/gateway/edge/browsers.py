"""CORS: which web pages may call the gateway from a browser. Only origins in the settings, and without cookies.

Every page may read the public documents for sign-in and the public keys.
"""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.edge.receipt_check import RECEIPT_HEADER
from shared.core.settings import Settings
from shared.http.fast_path import App

OPEN = frozenset(
    {
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/.well-known/jwks.json",
        "/.well-known/fangxian-code-keys.json",
        "/oauth/jwks",
    }
)
"""Discovery documents and public keys: client libraries read them first."""

REQUEST_HEADERS = (
    *("Accept", "Accept-Language", "Authorization", "Content-Language", "Content-Type"),
    *("Idempotency-Key", "If-Match", "If-None-Match", RECEIPT_HEADER, "X-Deadline-Ms", "X-Request-Id"),
)
RESPONSE_HEADERS = (
    *("Content-Disposition", "Content-Language", "ETag", "Location", "Retry-After", "WWW-Authenticate"),
    *("Idempotency-Replayed", "X-Request-Id"),
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REMEMBERED_SECONDS = 600


class Browsers:
    """The middleware: one CORS policy for public documents, one for everything else."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self.app = app
        self.open = CORSMiddleware(
            app,
            allow_origins=("*",),
            allow_methods=("GET",),
            allow_headers=REQUEST_HEADERS,
            expose_headers=RESPONSE_HEADERS,
            max_age=REMEMBERED_SECONDS,
        )
        self.named = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=RESPONSE_HEADERS,
            allow_credentials=False,
            max_age=REMEMBERED_SECONDS,
        )
        self.has_named = bool(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in OPEN:
            await self.open(scope, receive, send)
        elif self.has_named:
            await self.named(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def let_in(app: FastAPI, settings: Settings) -> None:
    """Add CORS for the origins in the settings. Other origins get no CORS header, so browsers hide the answer."""
    app.add_middleware(Browsers, origins=tuple(settings.browser_origins))
    if settings.browser_origins and isinstance(app, App):
        app.for_browsers = True
