"""Logs as JSON lines, and metrics for Prometheus. They never contain a person's name, number, phone or address."""

import logging
import sys
from typing import Any

import structlog
from prometheus_client import Gauge, Histogram

REQUESTS = Histogram(
    "fangxian_request_seconds",
    "Time from a request's first byte to its answer.",
    ["service", "method", "route", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
FEED_LAG = Gauge("fangxian_feed_lag_seconds", "Age of the oldest unread entry.", ["service", "owner", "lane"])
FEED_DEAD_LETTERS = Gauge("fangxian_feed_parked", "Entries that could not be applied.", ["service"])
FEED_STALLED = Gauge(
    "fangxian_oldest_transaction_seconds", "Age of the oldest running transaction, which delays all feeds.", ["service"]
)
AUDIT_UNCHAINED = Gauge(
    "fangxian_audit_unsealed_seconds", "Age of the oldest audit entry that is not chained yet.", ["service"]
)
JOBS_OPEN = Gauge("fangxian_jobs_open", "Queued and running jobs.", ["service"])


PROCESSORS: list[structlog.typing.Processor] = []
"""Always the same list object, because loggers keep a reference to it from their first line on."""


def configure_logs(service: str, process: str) -> None:
    """Configure logs: one JSON object per line on standard output, with service, process and request id."""

    def add_process(_: Any, __: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {"service": service, "process": process, **entry}

    PROCESSORS[:] = [
        structlog.contextvars.merge_contextvars,
        add_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)
        ),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    structlog.configure(
        processors=PROCESSORS,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
