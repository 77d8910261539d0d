"""Web pages that may call us from a browser (CORS): those an operator names, with a bearer token, never a cookie."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from services.gateway.edge.gate import RECEIPT_HEADER
from shared.http.hot import App
from shared.settings import Settings

ASKED = ("Accept-Language", "Authorization", "Content-Type", "Idempotency-Key", "If-Match", RECEIPT_HEADER)
SHOWN = ("ETag", "Location", "Retry-After", "X-Request-Id")
REMEMBERED_SECONDS = 600


def let_in(app: FastAPI, settings: Settings) -> None:
    """Answer the pages that settings name. Others get no header, and so no answer that they could read."""
    if not settings.browser_origins:
        return
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.browser_origins,
        allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
        allow_headers=ASKED,
        expose_headers=SHOWN,
        allow_credentials=False,
        max_age=REMEMBERED_SECONDS,
    )
    if isinstance(app, App):
        app.for_browsers = True
