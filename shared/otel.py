"""OpenTelemetry as we use it: which spans there are, and the little they may say. Imported by shared/tracing.py alone.

A span names a route, a status, a statement without its values, and ids of ours. Libraries record more: addresses with
their queries, user agents, texts of errors. So every span passes `bare` on its way out, and only what is listed in
`TOLD` goes on: nothing personal, no token, no header, whatever a library thinks of next.
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

from shared.settings import SERVICES, Service

TOLD = frozenset(
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
"""Not traced unless they are part of a trace already: they come each second."""
PASSED_ON = (*SERVICES, "services")
"""Where what a path begins with says enough: the edge passes these on, and who answers tells the route."""
END_SECONDS = 3.0
SPAN = "fangxian.span"

PROPAGATOR = TraceContextTextMapPropagator()

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tracing:
    """What one process traces with."""

    provider: TracerProvider
    process: str

    @classmethod
    def begin(cls, service: Service, process: str) -> Self:
        """Set everything up. It begins a thread, so it comes after the fork."""
        os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http,database"  # the names of today, which TOLD knows
        set_global_textmap(PROPAGATOR)  # no baggage: what a caller puts there is nobody's to pass on
        provider = TracerProvider(
            sampler=ParentBased(Requests(TraceIdRatioBased(_ratio()))),
            resource=Resource.create({"service.name": f"fangxian-{service}"}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(BatchSpanProcessor(BareExporter()))
        return cls(provider, process)

    @property
    def tracer(self) -> trace.Tracer:
        """Makes spans."""
        return self.provider.get_tracer("fangxian")

    def around(self, app: ASGIApp) -> ASGIApp:
        """An application each of whose requests is a span, child of its caller's."""
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
                    send = _telling(span, method, app, scope, send)
                    span.set_attribute("fangxian.process", self.process)
                await app(scope, receive, send)

        return traced

    def follow_client(self, client: httpx.AsyncClient) -> None:
        """Make each call a span, and hand its trace on."""
        HTTPXClientInstrumentor.instrument_client(client, tracer_provider=self.provider)

    def statement(self, sql: str) -> AbstractContextManager[None]:
        """A span of a statement that goes straight to the driver."""
        return Statements(self.tracer).within(sql)

    def follow_engine(self, engine: AsyncEngine) -> None:
        """Make each statement a span."""
        statements = Statements(self.tracer)
        event.listen(engine.sync_engine, "before_cursor_execute", statements.begin)
        event.listen(engine.sync_engine, "after_cursor_execute", statements.end)
        event.listen(engine.sync_engine, "handle_error", statements.fail)

    def here(self) -> str | None:
        """The `traceparent` of the present span, if it is kept."""
        if not trace.get_current_span().is_recording():
            return None
        carrier: dict[str, str] = {}
        PROPAGATOR.inject(carrier)
        return carrier.get("traceparent")

    def handling(self, name: str, causes: Sequence[str], attributes: Mapping[str, Any]) -> AbstractContextManager[Span]:
        """A worker's span: in the one trace that caused it, or, where more did, in its own and linked to theirs."""
        parents = [PROPAGATOR.extract({"traceparent": cause}) for cause in causes]
        contexts = [trace.get_current_span(parent).get_span_context() for parent in parents]
        told = {f"fangxian.{key}": value for key, value in attributes.items()} | {"fangxian.process": self.process}
        is_one = len({context.trace_id for context in contexts}) == 1
        return self.tracer.start_as_current_span(
            name,
            parents[0] if is_one else None,
            SpanKind.CONSUMER,
            told,
            [] if is_one else [Link(context) for context in contexts if context.is_valid],
            record_exception=False,
        )

    def end(self) -> None:
        """Send what is left. A collector that does not answer holds nobody up for long."""
        ending = threading.Thread(target=self.provider.shutdown, daemon=True)
        ending.start()
        ending.join(END_SECONDS)


def _carrier(scope: Scope) -> dict[str, str]:
    return {
        name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"
    }


def _is_ours(scope: Scope) -> bool:
    """Whether a trace begins here."""
    return not scope["path"].startswith(NOT_ASKED_BY_PEOPLE)


def _telling(span: Span, method: str, app: ASGIApp, scope: Scope, send: Send) -> Send:
    async def tell(message: Message) -> None:
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

    return tell


def _route_of(app: ASGIApp, scope: Scope) -> str:
    """The route as declared: a path as asked may hold anything, and a route holds nothing of the caller's."""
    if (scope["method"], scope["path"]) in getattr(app, "hot", ()):
        return str(scope["path"])
    declared = getattr(scope.get("route"), "path", None)
    first = scope["path"].split("/", 2)[1]
    return str(declared or (f"/{first}/…" if first in PASSED_ON else "none"))


@dataclass(frozen=True)
class Statements:
    """Makes a span of each statement that is part of a trace. A connection runs one at a time, and carries its span."""

    tracer: trace.Tracer

    def begin(self, connection: Connection, _cursor: Any, statement: str, *_others: Any) -> None:
        """A statement begins."""
        span = self._begun(statement)
        if span is not None:
            connection.info[SPAN] = span

    def end(self, connection: Connection, *_others: Any) -> None:
        """It has ended."""
        span: Span | None = connection.info.pop(SPAN, None)
        if span is not None:
            span.end()

    def fail(self, failure: ExceptionContext) -> None:
        """It has failed: of the error its kind is told, for its text may quote a person's data."""
        span: Span | None = failure.connection.info.pop(SPAN, None) if failure.connection else None
        if span is not None:
            self._failed(span, failure.original_exception)
            span.end()

    @contextmanager
    def within(self, statement: str) -> Iterator[None]:
        """A statement that goes straight to the driver."""
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
        told = {"db.system.name": "postgresql", "db.operation.name": operation, "db.query.text": statement}
        return self.tracer.start_span(operation, kind=SpanKind.CLIENT, attributes=told)

    @staticmethod
    def _failed(span: Span, error: BaseException) -> None:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(StatusCode.ERROR)


class Requests(Sampler):
    """Traces begin with a request, or with what a worker does because of one; a poll or a tick begins none."""

    def __init__(self, of_these: Sampler) -> None:
        self._of_these = of_these

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, kind: SpanKind | None = None, *others: Any, **more: Any
    ) -> SamplingResult:
        """Whether a trace begins."""
        if kind not in (SpanKind.SERVER, SpanKind.CONSUMER):
            return SamplingResult(Decision.DROP)
        return self._of_these.should_sample(parent_context, trace_id, name, kind, *others, **more)

    def get_description(self) -> str:
        """What it is called."""
        return f"Requests{{{self._of_these.get_description()}}}"


def _ratio() -> float:
    """Of how many requests a trace is kept: OTEL_TRACES_SAMPLER_ARG, all if it is not set."""
    said = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1")
    try:
        return min(1.0, max(0.0, float(said)))
    except ValueError:
        log.warning("OTEL_TRACES_SAMPLER_ARG should be a number from 0 to 1: every request is traced")
        return 1.0


class BareExporter(OTLPSpanExporter):
    """Sends spans to a collector, as OTEL_EXPORTER_OTLP_… say, without anything that is not in `TOLD`."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        return super().export([bare(span) for span in spans])


def bare(span: ReadableSpan) -> ReadableSpan:
    """A span with what may be told: no events and no description, which quote errors, and errors quote people."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={name: value for name, value in (span.attributes or {}).items() if name in TOLD},
        links=[Link(link.context) for link in span.links],
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
