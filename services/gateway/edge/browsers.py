"""Web pages that may call us from a browser (CORS): those an operator names, with a bearer token, never a cookie.

What is published to everybody anyway, where to sign in and which keys to check with, any page may read.
"""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.edge.gate import RECEIPT_HEADER
from shared.http.hot import App
from shared.settings import Settings

OPEN = frozenset(
    {
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/.well-known/jwks.json",
        "/.well-known/fangxian-code-keys.json",
        "/oauth/jwks",
    }
)
"""Discovery and public keys: a client library reads them before it knows anything of us."""

ASKED = (
    *("Accept", "Accept-Language", "Authorization", "Content-Language", "Content-Type"),
    *("Idempotency-Key", "If-Match", "If-None-Match", RECEIPT_HEADER, "X-Deadline-Ms", "X-Request-Id"),
)
SHOWN = (
    *("Content-Disposition", "Content-Language", "ETag", "Location", "Retry-After", "WWW-Authenticate"),
    *("Idempotency-Replayed", "X-Request-Id"),
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REMEMBERED_SECONDS = 600


class Browsers:
    """The middleware: one policy for what is open to all, one for everything else."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self.app = app
        self.open = CORSMiddleware(
            app,
            allow_origins=("*",),
            allow_methods=("GET",),
            allow_headers=ASKED,
            expose_headers=SHOWN,
            max_age=REMEMBERED_SECONDS,
        )
        self.named = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=ASKED,
            expose_headers=SHOWN,
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
    """Answer the pages that settings name. Others get no header, and so no answer that they could read."""
    app.add_middleware(Browsers, origins=tuple(settings.browser_origins))
    if settings.browser_origins and isinstance(app, App):
        app.for_browsers = True
