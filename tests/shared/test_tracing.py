"""Traces: one a request through all services and into the workers, nothing personal in them, nothing at all unasked."""

import json
import logging
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

from shared.observability import tracing
from shared.observability.otel import bare
from tests import prepared
from tests.collector import Collector, Seen, collecting

NAME, NUMBER, PHONE, HOUSEHOLD = "张三丰", "003582199003070019", "15412345678", "H-7-301"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MOVE = "5bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@dataclass
class Caller:
    """Somebody outside, who says more than would be wise."""

    url: str
    token: str = ""
    said: list[str] = field(default_factory=list)

    def ask(self, path: str, trace: str = "", **body: object) -> tuple[int, dict[str, Any]]:
        headers = {
            "content-type": "application/json",
            "idempotency-key": os.urandom(8).hex(),
            "user-agent": f"Phone of {PHONE}",
            "baggage": f"phone={PHONE}",
            "cookie": "session=cookie-secret",
        }
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        if trace:
            headers["traceparent"] = f"00-{trace}-{SPAN}-01"
        self.said.append(headers["idempotency-key"])
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def register(self) -> str:
        person = {"name": NAME, "document_number": NUMBER, "phone": PHONE, "household": HOUSEHOLD}
        _, asked = self.ask("/registry/v1/residents", TRACE, region="350582005001", **person)
        search = {"document_number": NUMBER}
        for _ in range(300):
            _, found = self.ask("/registry/v1/residents/search", **search)
            if found.get("items"):
                return str(found["items"][0]["id"])
            time.sleep(0.1)
        raise AssertionError(asked)

    def move_until_traced(self, resident: str, collector: Collector) -> None:
        """Move somebody, again if the gateway saw it by itself before it was woken: then it knows of no trace."""
        path = f"/registry/v1/residents/{resident}/move"
        for _ in range(5):
            for region in ("350582005002", "350582005003"):
                status, answer = self.ask(path, MOVE, region=region, household="H2")
                assert status == 200, answer
                with suppress(AssertionError):
                    collector.until(f"{MOVE} fangxian-gateway feed registry normal", seconds=3)
                    return
        raise AssertionError("no move was told in its trace")


@pytest.fixture(scope="module")
def caller(collector: Collector) -> Iterator[Caller]:
    """An installation that traces, after somebody has registered, moved, been looked for and not been found."""
    settings = {
        "FANGXIAN_DEMONSTRATION_IDS": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    with prepared.running(settings) as running:
        one = Caller(running.url)
        officer = {"role": "community_officer", "region": "350582005"}
        one.token = one.ask("/gateway/v1/development/tokens", **officer)[1]["access_token"]
        one.move_until_traced(one.register(), collector)
        one.ask(f"/registry/v1/residents/{NUMBER}?phone={PHONE}")
        one.ask(f"/registry/v1/{NUMBER}?q=%ff{PHONE}")
        collector.until(
            f"{TRACE} fangxian-registry POST /registry/v1/residents", f"{TRACE} fangxian-gateway POST /registry/…"
        )
        yield one


@pytest.fixture
def seen(collector: Collector, caller: Caller) -> list[Seen]:
    return collector.spans


def test_a_request_is_one_trace_from_the_edge_through_the_services(collector: Collector, seen: list[Seen]) -> None:
    spans = {span.id: span for span in collector.of(TRACE)}
    (edge,) = [span for span in spans.values() if span.parent == SPAN]
    assert (edge.service, edge.name, edge.kind) == ("fangxian-gateway", "POST /registry/…", 2)
    (inner,) = [span for span in spans.values() if span.name == "POST /registry/v1/residents"]
    assert inner.service == "fangxian-registry"
    call = spans[inner.parent]
    assert (call.service, call.parent, call.kind) == ("fangxian-gateway", edge.id, 3)
    assert inner.attributes["fangxian.request_id"] == edge.attributes["fangxian.request_id"] != ""
    assert inner.attributes["http.response.status_code"] == 202
    statements = [span for span in spans.values() if span.parent == inner.id]
    assert any("idempotency" in str(span.attributes.get("db.query.text")) for span in statements)


def test_what_a_request_causes_in_other_services_belongs_to_its_trace(collector: Collector, seen: list[Seen]) -> None:
    handled = {span.service for span in collector.of(MOVE) if span.name == "feed registry normal" and span.kind == 5}
    assert "fangxian-gateway" in handled
    (gateway, *_) = [span for span in collector.of(MOVE) if span.service == "fangxian-gateway" and span.kind == 5]
    assert gateway.attributes["fangxian.entries"] >= 1
    assert gateway.attributes["fangxian.process"] == "worker"


def test_polls_and_health_checks_begin_no_trace(seen: list[Seen]) -> None:
    routes = {str(span.attributes.get("http.route")) for span in seen}
    assert not any(route.startswith(("/internal", "/livez", "/readyz", "/metrics")) for route in routes)
    begun = {span.kind for span in seen if not span.parent}
    assert begun <= {2, 5}


def test_nothing_personal_is_in_a_trace(collector: Collector, caller: Caller, seen: list[Seen]) -> None:
    everything = b"".join(collector.bodies)
    personal = [NAME, NUMBER, PHONE, HOUSEHOLD, "H2", NAME[0], "cookie-secret", caller.token, "Bearer", *caller.said]
    assert [text for text in personal if text.encode() in everything] == []
    assert b"residents" in everything


def test_a_malformed_address_is_answered_as_ever(caller: Caller) -> None:
    status, problem = caller.ask("/registry/v1/residents?region=%ff")
    assert (status, problem["type"].rpartition("/")[2]) == (400, "malformed_url")


def test_what_libraries_add_is_left_behind() -> None:
    tracer = TracerProvider().get_tracer("test")
    span = tracer.start_span("POST", kind=SpanKind.SERVER)
    assert isinstance(span, ReadableSpan)
    span.set_attribute("url.full", f"http://gateway/?phone={PHONE}")
    span.set_attribute("http.route", "/registry/v1/residents")
    span.record_exception(ValueError(f"Key (document)=({NUMBER}) already exists."))
    span.set_status(StatusCode.ERROR, f"Key (document)=({NUMBER}) already exists.")
    told = bare(span)
    assert len(span.events) == 1
    assert dict(told.attributes or {}) == {"http.route": "/registry/v1/residents"}
    assert (told.events, told.status.description, told.status.is_ok) == ((), None, False)


OFF = """
import sys
from deploy import children
from shared.observability import tracing
list(children.import_everything())
with tracing.on("gateway", "api"):
    app = object()
    assert tracing.around(app) is app
    assert tracing.here() is None
# FastAPI imports the interface (opentelemetry-api) by itself; what works behind it is not imported.
print(sorted(name for name in sys.modules if name.startswith(("opentelemetry.sdk", "shared.observability.otel"))))
"""


@pytest.mark.parametrize("disabled", [False, True], ids=["no endpoint", "disabled"])
def test_unasked_nothing_is_imported_and_nothing_wrapped(repository: Path, disabled: bool) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    if disabled:
        environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-c", OFF], capture_output=True, text=True, check=False, cwd=repository, env=environment
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_without_the_extra_it_is_said_and_all_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "shared.observability.otel", None)
    with caplog.at_level(logging.WARNING), tracing.on("gateway", "api"):
        assert tracing.here() is None
    assert "fangxian[otel] is not installed" in caplog.text
