"""OpenTelemetry spans, and the attributes that they may contain. Only shared/observability/tracing.py imports this
module.

A span contains a route, a status, a statement without its values, and internal ids. Libraries record more: URLs with
queries, user agents, error texts. Therefore `bare` filters every exported span, and only the attributes in `RECORDED`
remain: no personal data, no token and no header, even if a library adds new attributes.
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.propagate import set_global_textmap
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.core.settings import SERVICES, Service

RECORDED = frozenset(
    {
        "db.operation.name",
        "db.query.text",  # with $1 in place of each value
        "db.system.name",
        "error.type",
        "fangxian.entries",
        "fangxian.process",
        "fangxian.request_id",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "server.address",
        "server.port",
    }
)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NOT_ASKED_BY_PEOPLE = ("/livez", "/readyz", "/metrics", "/internal/")
"""Paths that are traced only as part of an existing trace, because they are called each second."""
PASSED_ON = (*SERVICES, "services")
"""First parts of proxied paths. For these the span has only the first part, because the upstream names the route."""
END_SECONDS = 3.0
SPAN = "fangxian.span"

PROPAGATOR = TraceContextTextMapPropagator()

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tracing:
    """The tracing of one process."""

    provider: TracerProvider
    process: str

    @classmethod
    def begin(cls, service: Service, process: str) -> Self:
        """Set up tracing. Call it after the fork, because it starts a thread."""
        os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http,database"  # the current attribute names, as in TOLD
        set_global_textmap(PROPAGATOR)  # without baggage, because content from callers must not be forwarded
        provider = TracerProvider(
            sampler=ParentBased(Requests(TraceIdRatioBased(_ratio()))),
            resource=Resource.create({"service.name": f"fangxian-{service}"}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(BatchSpanProcessor(BareExporter()))
        return cls(provider, process)

    @property
    def tracer(self) -> trace.Tracer:
        """The factory of spans."""
        return self.provider.get_tracer("fangxian")

    def around(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application, so that each request becomes a span, as a child of the caller's span."""
        tracer = self.tracer

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            parent = PROPAGATOR.extract(_carrier(scope)) if scope["type"] == "http" else None
            if parent is None or not (trace.get_current_span(parent).get_span_context().is_valid or _is_ours(scope)):
                await app(scope, receive, send)
                return
            method = scope["method"] if scope["method"] in METHODS else "HTTP"
            with tracer.start_as_current_span(
                method, parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
            ) as span:
                if span.is_recording():
                    send = _noting(span, method, app, scope, send)
                    span.set_attribute("fangxian.process", self.process)
                await app(scope, receive, send)

        return traced

    def follow_client(self, client: httpx.AsyncClient) -> None:
        """Make each call a span, and forward the trace."""
        HTTPXClientInstrumentor.instrument_client(client, tracer_provider=self.provider)

    def statement(self, sql: str) -> AbstractContextManager[None]:
        """Make a span for a statement that goes directly to the driver."""
        return Statements(self.tracer).within(sql)

    def follow_engine(self, engine: AsyncEngine) -> None:
        """Make each statement a span."""
        statements = Statements(self.tracer)
        event.listen(engine.sync_engine, "before_cursor_execute", statements.begin)
        event.listen(engine.sync_engine, "after_cursor_execute", statements.end)
        event.listen(engine.sync_engine, "handle_error", statements.fail)

    def here(self) -> str | None:
        """Return the `traceparent` of the current span if it is recorded, or None."""
        if not trace.get_current_span().is_recording():
            return None
        carrier: dict[str, str] = {}
        PROPAGATOR.inject(carrier)
        return carrier.get("traceparent")

    def handling(self, name: str, causes: Sequence[str], attributes: Mapping[str, Any]) -> AbstractContextManager[Span]:
        """Make a worker's span: in the trace that caused it, or, for several causes, in a new trace with links."""
        parents = [PROPAGATOR.extract({"traceparent": cause}) for cause in causes]
        contexts = [trace.get_current_span(parent).get_span_context() for parent in parents]
        named = {f"fangxian.{key}": value for key, value in attributes.items()} | {"fangxian.process": self.process}
        is_one = len({context.trace_id for context in contexts}) == 1
        return self.tracer.start_as_current_span(
            name,
            parents[0] if is_one else None,
            SpanKind.CONSUMER,
            named,
            [] if is_one else [Link(context) for context in contexts if context.is_valid],
            record_exception=False,
        )

    def end(self) -> None:
        """Send the remaining spans, with a time limit for a collector that does not answer."""
        ending = threading.Thread(target=self.provider.shutdown, daemon=True)
        ending.start()
        ending.join(END_SECONDS)


def _carrier(scope: Scope) -> dict[str, str]:
    return {
        name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"
    }


def _is_ours(scope: Scope) -> bool:
    """Whether a new trace begins with this request."""
    return not scope["path"].startswith(NOT_ASKED_BY_PEOPLE)


def _noting(span: Span, method: str, app: ASGIApp, scope: Scope, send: Send) -> Send:
    async def send_noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            status, route = message["status"], _route_of(app, scope)
            span.update_name(f"{method} {route}")
            span.set_attribute("http.request.method", method)
            span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", status)
            span.set_attribute("fangxian.request_id", scope["state"].get("request_id", ""))
            if status >= 500:
                span.set_status(StatusCode.ERROR)
        await send(message)

    return send_noted


def _route_of(app: ASGIApp, scope: Scope) -> str:
    """Return the declared route, because a requested path may contain personal data."""
    if (scope["method"], scope["path"]) in getattr(app, "fast_routes", ()):
        return str(scope["path"])
    declared = getattr(scope.get("route"), "path", None)
    first = scope["path"].split("/", 2)[1]
    return str(declared or (f"/{first}/…" if first in PASSED_ON else "none"))


@dataclass(frozen=True)
class Statements:
    """Makes a span for each statement in a trace. A connection runs one statement at a time and stores its span."""

    tracer: trace.Tracer

    def begin(self, connection: Connection, _cursor: Any, statement: str, *_others: Any) -> None:
        """Start the span of a statement."""
        span = self._begun(statement)
        if span is not None:
            connection.info[SPAN] = span

    def end(self, connection: Connection, *_others: Any) -> None:
        """End the span of a statement."""
        span: Span | None = connection.info.pop(SPAN, None)
        if span is not None:
            span.end()

    def fail(self, failure: ExceptionContext) -> None:
        """End the span of a failed statement. Record only the error's type, because its text may have personal data."""
        span: Span | None = failure.connection.info.pop(SPAN, None) if failure.connection else None
        if span is not None:
            self._failed(span, failure.original_exception)
            span.end()

    @contextmanager
    def within(self, statement: str) -> Iterator[None]:
        """Make a span for a statement that goes directly to the driver."""
        span = self._begun(statement)
        try:
            yield
        except BaseException as error:
            if span is not None:
                self._failed(span, error)
            raise
        finally:
            if span is not None:
                span.end()

    def _begun(self, statement: str) -> Span | None:
        if not trace.get_current_span().is_recording():
            return None
        operation = (statement.split(None, 1) or ["?"])[0].upper()
        attributes = {"db.system.name": "postgresql", "db.operation.name": operation, "db.query.text": statement}
        return self.tracer.start_span(operation, kind=SpanKind.CLIENT, attributes=attributes)

    @staticmethod
    def _failed(span: Span, error: BaseException) -> None:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(StatusCode.ERROR)


class Requests(Sampler):
    """Starts traces only for requests and for the work they cause in workers, not for polling or periodic tasks."""

    def __init__(self, of_these: Sampler) -> None:
        self._of_these = of_these

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, kind: SpanKind | None = None, *others: Any, **more: Any
    ) -> SamplingResult:
        """Decide whether a span is sampled."""
        if kind not in (SpanKind.SERVER, SpanKind.CONSUMER):
            return SamplingResult(Decision.DROP)
        return self._of_these.should_sample(parent_context, trace_id, name, kind, *others, **more)

    def get_description(self) -> str:
        """Return the name of the sampler."""
        return f"Requests{{{self._of_these.get_description()}}}"


def _ratio() -> float:
    """Return the share of traced requests: OTEL_TRACES_SAMPLER_ARG, or all if it is not set."""
    setting = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1")
    try:
        return min(1.0, max(0.0, float(setting)))
    except ValueError:
        log.warning("OTEL_TRACES_SAMPLER_ARG should be a number from 0 to 1: every request is traced")
        return 1.0


class BareExporter(OTLPSpanExporter):
    """Sends spans to the collector of OTEL_EXPORTER_OTLP_…, only with the attributes in `RECORDED`."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        return super().export([bare(span) for span in spans])


def bare(span: ReadableSpan) -> ReadableSpan:
    """Copy a span with the allowed attributes only, without events and description, because these quote errors."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={name: value for name, value in (span.attributes or {}).items() if name in RECORDED},
        links=[Link(link.context) for link in span.links],
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
