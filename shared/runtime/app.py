"""Assembly of a service's API. All common parts are added here, so that a service declares only its own."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from starlette.routing import BaseRoute
from starlette.types import Scope

from shared.audit.routes import audit_routers
from shared.contracts.resource import RESOURCES, Resource
from shared.core.actors import Actor, Role, system
from shared.core.settings import Service, Settings
from shared.feed import maintenance
from shared.feed.reader import Reaction
from shared.feed.routes import Snapshot, feed_router
from shared.governance.proposals.routes import proposals_router
from shared.governance.proposals.use_cases import ProposalType
from shared.governance.retention.routes import retention_router
from shared.governance.retention.use_cases import RETENTION
from shared.http import handlers, limits
from shared.http.fast_path import App
from shared.http.openapi import describe
from shared.http.prepared import Once
from shared.http.router import Router
from shared.observability import telemetry
from shared.problems import Unauthenticated, catalogue, language_of
from shared.runtime.context import ServiceContext

UPLOAD_SECONDS = 300.0
"""The time limit of a file upload: 256 MiB at 7 Mbit/s."""

CHECK_SECONDS = 0.5
"""The time limit of a health check for each server, so that a server that hangs does not block the check."""

YOUNG_OBJECTS = 20_000
"""New objects before the garbage collector runs. Requests leave few cycles, and each search for cycles costs time."""

Authenticate = Callable[[Mapping[str, Any]], Actor]
"""Takes an ASGI scope, or a request, which can be read like a scope."""

Lifespan = Callable[[ServiceContext], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Api:
    """What a service declares: its routers, its resources, and its hot routes that bypass FastAPI."""

    title: str
    routers: Sequence[Router]
    snapshots: Mapping[type[Resource], Snapshot]
    fast_routes: Callable[[ServiceContext], Sequence[BaseRoute]] = lambda _: ()
    lifespan: Lifespan = lambda _: nullcontext()
    upload_paths: Sequence[str] = ()
    body_bytes: Mapping[str, int] = field(default_factory=dict)
    authenticate: Callable[[ServiceContext], Authenticate] | None = None
    """How to authenticate callers. The default is the internal token, for services behind the edge."""
    within: Callable[[FastAPI], None] = lambda _: None
    """Adds middleware between the common middleware and the routes."""
    openapi_path: str = "/openapi.json"
    proposals: Sequence[ProposalType[Any]] = ()
    """The kinds of proposals of this service, besides retention periods."""
    foreign_paths: Sequence[str] = ()
    """Paths whose answers come from other systems through this service. These set their own security headers."""
    is_edge: bool = False
    """Whether the service is public. A public service exposes its metrics only to other services."""
    reactions: Sequence[Reaction] = ()
    """The reactions of the service's worker, for the gauge of its progress."""


def build(settings: Settings, api: Api, context: ServiceContext | None = None) -> FastAPI:
    """Build the application of a service. Tests pass `context` to replace the network to other services."""
    context = context or ServiceContext.build(settings)
    _require_snapshots(settings.service, api)
    app = App(
        title=api.title,
        version="1",
        lifespan=partial(_running, context, api),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.context = context
    app.state.authenticate = (api.authenticate or bearer)(context)
    for route in api.fast_routes(context):
        app.router.routes.append(route)
    app.take_fast_routes(settings.request_timeout_seconds, _observe_one(settings.service))
    of_every_service = [
        proposals_router(settings.service, [*api.proposals, RETENTION]),
        retention_router(settings.service),
        *audit_routers(settings.service),
        feed_router(api.snapshots),
        _figures(context, api),
    ]
    for router in [*api.routers, *of_every_service]:
        # Not include_router, because it builds each route a second time, in every process, at the first request.
        app.router.routes.extend(router.routes)
    _add_health(app, context)
    if not api.is_edge:
        _add_metrics(app, context, api)
    describe(app)
    _add_document(app, api.openapi_path)
    handlers.install(app)
    api.within(app)
    limits.install(
        app,
        request_timeout_seconds=settings.request_timeout_seconds,
        upload_paths=api.upload_paths,
        body_bytes=api.body_bytes,
        timeouts=dict.fromkeys(api.upload_paths, UPLOAD_SECONDS),
        foreign_paths=api.foreign_paths,
        observe=_observe(settings.service),
    )
    return app


def _require_snapshots(service: Service, api: Api) -> None:
    """Refuse to start if a resource has no snapshot, because a rebuild of a reader would lose the resource."""
    for kind in RESOURCES.values():
        if kind.__module__ == f"shared.contracts.{service}" and kind not in api.snapshots:
            raise TypeError(f"list {kind.__name__} in API.snapshots of services.{service}.app: it has no snapshot")


@asynccontextmanager
async def _running(context: ServiceContext, api: Api, _: FastAPI) -> AsyncIterator[None]:
    """Open and close what lasts as long as the process."""
    telemetry.configure_logs(context.settings.service, "api")
    await context.start()
    collect_rarely()
    try:
        async with api.lifespan(context):
            yield
    finally:
        await context.close()


def collect_rarely() -> None:
    """Exempt all current objects from garbage collection, and collect less often while requests arrive."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def bearer(context: ServiceContext) -> Authenticate:
    """Build the authentication of a service behind the edge: it accepts only the internal token."""

    def authenticate(scope: Mapping[str, Any]) -> Actor:
        return context.signer.actor_of(bearer_token(scope)).during(scope["state"]["request_id"])

    return authenticate


def bearer_token(scope: Mapping[str, Any]) -> str:
    """Return the bearer token of a request. Raises `Unauthenticated` unless there is exactly one."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    scheme, _, token = values[0].decode("latin-1").partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated()
    return token.strip()


def _add_health(app: FastAPI, context: ServiceContext) -> None:
    @app.get("/livez", include_in_schema=False)
    async def livez() -> dict[str, str]:
        """Whether the process runs."""
        return {"status": "ok"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        """Whether the process can work, and what is unavailable. Redis is reported but not required."""
        postgresql, redis = await asyncio.gather(_check(_ping(context)), _check(context.notifier.ping()))
        checks = {"postgresql": postgresql, "redis": redis}
        ready = checks["postgresql"]["ok"] and context.is_open
        return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503)

    @app.get("/problems", include_in_schema=False)
    async def problems(request: Request) -> list[dict[str, Any]]:
        """List all problems of this service, for the pages of the edge."""
        return catalogue(language_of(request.headers.get("accept-language")))


def _add_document(app: FastAPI, path: str) -> None:
    document = Once()

    @app.get(path, include_in_schema=False)
    async def openapi(request: Request) -> Response:
        """Return the OpenAPI document of this service."""
        return document.of(app.openapi()).answer(request, {"cache-control": "public, max-age=60"})


def _figures(context: ServiceContext, api: Api) -> Router:
    """Build the route of this process's metrics for other services."""
    router = Router(prefix="/internal", tags=["figures"])

    @router.get("/metrics", role=Role.SERVICE, include_in_schema=False, response_class=Response)
    async def read_figures() -> Response:
        """Metrics for Prometheus."""
        return await _measured(context, api.reactions)

    return router


def _add_metrics(app: FastAPI, context: ServiceContext, api: Api) -> None:
    """Add the metrics for Prometheus, at a path that only the internal network reaches: the edge does not proxy it."""

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        """Metrics of this process."""
        return await _measured(context, api.reactions)

    @app.get("/metrics/gateway", include_in_schema=False)
    async def metrics_of_the_edge() -> Response:
        """Metrics of the edge, which does not expose them on its public port."""
        answer = await context.service_clients.call(
            "gateway", "GET", "/internal/metrics", system(context.settings.service)
        )
        return Response(answer.content, answer.status_code, media_type=CONTENT_TYPE_LATEST)


async def _measured(context: ServiceContext, reactions: Sequence[Reaction]) -> Response:
    await _check(maintenance.measure(context, reactions), seconds=5)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _observe(service: str) -> limits.Observe:
    def observe(scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        telemetry.REQUESTS.labels(service, scope["method"], route, str(status)).observe(seconds)

    return observe


def _observe_one(service: str) -> Callable[[str, str], Callable[[int, float], None]]:
    """Like `_observe`, but for one route, so that its labels are looked up once and not for each request."""

    def of(method: str, path: str) -> Callable[[int, float], None]:
        figures: dict[int, Any] = {}

        def observe(status: int, seconds: float) -> None:
            figure = figures.get(status)
            if figure is None:
                figure = figures[status] = telemetry.REQUESTS.labels(service, method, path, str(status))
            figure.observe(seconds)

        return observe

    return of


async def _ping(context: ServiceContext) -> None:
    async with context.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def _check(what: Awaitable[Any], seconds: float = CHECK_SECONDS) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            await what
    except Exception as error:  # a health check reports every failure
        return {"ok": False, "error": type(error).__name__}
    return {"ok": True, "milliseconds": round((time.perf_counter() - began) * 1000, 1)}
