"""The work of the eight processes: serve the API of one service, or run its worker."""

import gc
import importlib
import logging.config
import pkgutil
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from shared.core.settings import Service, Settings
from shared.observability import tracing

if TYPE_CHECKING:
    from structlog.typing import EventDict

DRAIN_SECONDS = 15
"""How long an API may finish its open requests after SIGTERM; less than the supervisor waits."""
KEEP_ALIVE_SECONDS = 75
"""Longer than any of our clients keeps an idle connection, so that none writes to a connection that is closing."""
BACKLOG = 2048

STACK = (
    "asyncpg",
    "redis.asyncio",
    "limits.aio",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "anyio._backends._asyncio",
    "httpcore",
    "shared.http.protocol",
)
"""Libraries to import before the fork. Some would otherwise be imported at first use, by each process separately."""


LOADING_ORDER: tuple[Service, ...] = ("gateway", "registry", "testing", "observation")


def import_everything() -> Iterator[Service | None]:
    """Import what the eight processes need, once, before they are forked.

    Yields between modules, so that the caller can do other work: a service when all modules of its processes are here,
    otherwise None. The gateway comes first, because its API takes longest to build.

    The garbage collector is off until `load_is_done`: scanning all new objects repeatedly takes a fifth of the
    time.
    """
    gc.disable()
    for module in STACK:
        importlib.import_module(module)
        yield None
    from sqlalchemy.orm import configure_mappers

    for service in LOADING_ORDER:
        package = importlib.import_module(f"services.{service}")
        names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
        capabilities = [name for name in names if name.endswith((".tables", ".routes"))]
        for module in (*capabilities, f"{package.__name__}.app", f"{package.__name__}.worker"):
            importlib.import_module(module)
            yield None
        configure_mappers()  # otherwise each process does it for itself at its first query
        yield service


def share_memory() -> None:
    """Hide what is in memory now from the garbage collector. Call it before a fork.

    Otherwise the collector of the child writes into each object it looks at, and so copies its page. Nothing is
    collected before, because each child would fill the holes for itself.
    """
    gc.freeze()


def load_is_done() -> None:
    """Turn the garbage collector on again, which `import_everything` turned off."""
    gc.enable()


def serve_api(listener: socket.socket, settings: Settings) -> None:
    """Serve the API of a service on a listening socket until SIGTERM."""
    gc.enable()
    libraries_log_in_json(settings, "api")
    with tracing.on(settings.service, "api"):
        app = importlib.import_module(f"services.{settings.service}.app").create_app(settings)
        serve(tracing.around(app), listener)


def work(settings: Settings) -> None:
    """Run the worker of a service until SIGTERM."""
    gc.enable()
    libraries_log_in_json(settings, "worker")
    run: Callable[[Settings], None] = importlib.import_module(f"services.{settings.service}.worker").run
    with tracing.on(settings.service, "worker"):
        run(settings)


def serve(app: Any, listener: socket.socket) -> None:
    """Serve an ASGI application until SIGTERM."""
    import uvicorn

    from shared.http.protocol import FastPathProtocol

    # uvicorn finishes its requests, then raises the signal again. That second signal must end the process normally.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http=FastPathProtocol,
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )
    server.run(sockets=[listener])
    if not server.started:
        raise SystemExit(3)


def listen(ports: Iterable[int]) -> dict[int, socket.socket]:
    """Open listening sockets on the loopback. The supervisor holds them, so callers wait while an API restarts.

    Raises OSError with the port as its `filename` if one is in use.
    """
    listeners: dict[int, socket.socket] = {}
    try:
        for port in ports:
            listener = listeners[port] = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen(BACKLOG)
            except OSError as error:
                error.filename = str(port)
                raise
    except BaseException:
        for listener in listeners.values():
            listener.close()
        raise
    return listeners


def libraries_log_in_json(settings: Settings, part: str) -> None:
    """Log the messages of libraries as JSON lines like our own. Exceptions are logged without values of variables."""
    import structlog

    def add_process(_: Any, __: str, entry: "EventDict") -> "EventDict":
        return {"service": settings.service, "process": part, **entry}

    traceback = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [
            add_process,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            traceback,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    }
    output = {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": formatter},
            "handlers": {"output": output},
            "root": {"handlers": ["output"], "level": "INFO"},
            # One line per request or job adds nothing to the metrics.
            "loggers": {name: {"level": "WARNING"} for name in ("httpx", "httpcore", "arq.worker", "arq.jobs")},
        }
    )
