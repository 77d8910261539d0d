"""Optional traces with OpenTelemetry, configured by its own environment variables.

Without OTEL_EXPORTER_OTLP_ENDPOINT OpenTelemetry is not imported, no application is wrapped, and each function here
costs one lookup of a name. shared/observability/otel.py decides which attributes spans may contain.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx
    from sqlalchemy.ext.asyncio import AsyncEngine
    from starlette.types import ASGIApp

    from shared.core.settings import Service
    from shared.observability.otel import Tracing

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
MOST_CAUSES = 8
"""The most traces that a wake-up lists, to keep it short."""

log = logging.getLogger(__name__)

_tracing: "Tracing | None" = None
_untraced = contextlib.nullcontext()
_causes: ContextVar[Sequence[str]] = ContextVar("causes", default=())


def is_wanted() -> bool:
    """Whether the environment configures an endpoint for traces."""
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not disabled and any(os.environ.get(name) for name in ENDPOINTS)


@contextlib.contextmanager
def on(service: "Service", process: str) -> Iterator[None]:
    """Trace this process if the environment asks for it. Send the remaining spans at the end."""
    global _tracing
    if not is_wanted():
        yield
        return
    try:
        from shared.observability.otel import Tracing
    except ImportError:
        log.warning("traces are configured, but fangxian[otel] is not installed: no traces are sent")
        yield
        return
    _tracing = Tracing.begin(service, process)
    try:
        yield
    finally:
        _tracing.end()
        _tracing = None


def around(app: "ASGIApp") -> "ASGIApp":
    """Wrap an application, so that each request becomes a span."""
    return _tracing.around(app) if _tracing else app


def follow_client(client: "httpx.AsyncClient") -> None:
    """Make each call a span, and forward the trace as `traceparent` (W3C)."""
    if _tracing:
        _tracing.follow_client(client)


def follow_engine(engine: "AsyncEngine") -> None:
    """Make each statement a span."""
    if _tracing:
        _tracing.follow_engine(engine)


def statement(sql: str) -> AbstractContextManager[None]:
    """Make a span for a statement that bypasses the engine, if traces are on."""
    return _tracing.statement(sql) if _tracing else _untraced


def here() -> str | None:
    """Return the current `traceparent`, or None without a trace."""
    return _tracing.here() if _tracing else None


@contextlib.contextmanager
def caused_by(causes: Sequence[str]) -> Iterator[None]:
    """Record which requests caused the work inside the context."""
    if not causes:
        yield
        return
    token = _causes.set(causes)
    try:
        yield
    finally:
        _causes.reset(token)


def handling(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """Make a worker's span in the trace that caused it, or with links to several. Without a cause, make none."""
    causes = _causes.get()
    return _tracing.handling(name, causes, attributes) if _tracing and causes else contextlib.nullcontext()
