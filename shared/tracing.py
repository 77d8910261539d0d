"""Traces, where an operator asks for them: OpenTelemetry, by the environment variables that are its own.

Without OTEL_EXPORTER_OTLP_ENDPOINT nothing of OpenTelemetry is imported, no application is wrapped, and what is left
here costs one look at a name. What spans may say is decided in one place, shared/otel.py.
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

    from shared.otel import Tracing
    from shared.settings import Service

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
MOST_CAUSES = 8
"""Of how many requests a wake-up tells; more would only lengthen it."""

log = logging.getLogger(__name__)

_tracing: "Tracing | None" = None
_untraced = contextlib.nullcontext()
_causes: ContextVar[Sequence[str]] = ContextVar("causes", default=())


def is_wanted() -> bool:
    """Whether the environment says where traces go."""
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not disabled and any(os.environ.get(name) for name in ENDPOINTS)


@contextlib.contextmanager
def on(service: "Service", process: str) -> Iterator[None]:
    """Trace what this process does, if that is wanted; what is not sent yet is sent at the end."""
    global _tracing
    if not is_wanted():
        yield
        return
    try:
        from shared.otel import Tracing
    except ImportError:
        log.warning("traces are wanted, and fangxian[otel] is not installed: there are none")
        yield
        return
    _tracing = Tracing.begin(service, process)
    try:
        yield
    finally:
        _tracing.end()
        _tracing = None


def around(app: "ASGIApp") -> "ASGIApp":
    """The application, each of whose requests is a span."""
    return _tracing.around(app) if _tracing else app


def follow_client(client: "httpx.AsyncClient") -> None:
    """Make each call a span, and hand its trace on as `traceparent` (W3C)."""
    if _tracing:
        _tracing.follow_client(client)


def follow_engine(engine: "AsyncEngine") -> None:
    """Make each statement a span."""
    if _tracing:
        _tracing.follow_engine(engine)


def statement(sql: str) -> AbstractContextManager[None]:
    """Around a statement that goes straight to the driver, past the engine: a span, if that is wanted."""
    return _tracing.statement(sql) if _tracing else _untraced


def here() -> str | None:
    """The `traceparent` of what is being done, if it is traced."""
    return _tracing.here() if _tracing else None


@contextlib.contextmanager
def caused_by(causes: Sequence[str]) -> Iterator[None]:
    """Remember, for what is handled meanwhile, which requests have caused it."""
    if not causes:
        yield
        return
    token = _causes.set(causes)
    try:
        yield
    finally:
        _causes.reset(token)


def handling(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """A worker's span, of the trace that caused it, or linked to all that did. None if nothing traced has."""
    causes = _causes.get()
    return _tracing.handling(name, causes, attributes) if _tracing and causes else contextlib.nullcontext()
