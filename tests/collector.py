"""A collector of traces, to see what leaves an installation by them."""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """One span, as the collector was told of it."""

    service: str
    trace: str
    id: str
    parent: str
    name: str
    kind: int
    attributes: dict[str, Any]


@dataclass
class Collector:
    """A small OTLP/HTTP receiver: what OpenTelemetry's own collector would be sent."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)

    @property
    def spans(self) -> list[Seen]:
        return [
            Seen(
                next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name"),
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.name,
                span.kind,
                {a.key: a.value.string_value or a.value.int_value for a in span.attributes},
            )
            for body in list(self.bodies)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def of(self, trace: str) -> list[Seen]:
        return [span for span in self.spans if span.trace == trace]

    def until(self, *names: str, seconds: int = 30) -> list[Seen]:
        """All spans, once each of these has come: as `trace service name`."""
        for _ in range(seconds * 10):
            if set(names) <= {f"{span.trace} {span.service} {span.name}" for span in self.spans}:
                return self.spans
            time.sleep(0.1)
        raise AssertionError(sorted({f"{span.trace} {span.service} {span.name}" for span in self.spans}))


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens."""
    made = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            made.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the test looks at what came."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()
