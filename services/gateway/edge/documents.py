"""Combines the OpenAPI documents, the problems and the readiness of all four services.

Each service is asked at most once a minute. While a service is away, its last answer is used.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, cast

import httpx
import structlog

from services.gateway.edge.merging import merge
from services.gateway.issuer import document as issuer
from shared.core.actors import system
from shared.core.settings import SERVICES, Service
from shared.http.client import ServiceClients
from shared.problems import Language, Problem, catalogue
from shared.runtime.context import ServiceContext

logger = structlog.get_logger()

FRESH_SECONDS = 60.0
AGAIN_SECONDS = 5.0
ASK_SECONDS = 2.0
DOCUMENT_SECONDS = 10.0
"""A service generates its document on the first request, which takes half a second on an idle machine."""

T = TypeVar("T")


@dataclass
class Remembered(Generic[T]):
    """A cached answer that is fetched at most once a minute, by one caller at a time. On failure the old one stays."""

    ask: Callable[[], Awaitable[T]]
    fresh_seconds: float = FRESH_SECONDS
    _value: T | None = None
    _asked_at: float | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self) -> T | None:
        """Return the last answer; None if there was never one."""
        async with self._lock:
            if self._asked_at is None or time.monotonic() - self._asked_at > self.fresh_seconds:
                try:
                    answer = await self.ask()
                    if answer != self._value:  # keep the same object, so that nothing derived from it is made again
                        self._value = answer
                    self._asked_at = time.monotonic()
                except (Problem, httpx.HTTPError, ValueError) as error:
                    # Wait some seconds before the next try, so that not every caller waits for a service that hangs.
                    self._asked_at = time.monotonic() - self.fresh_seconds + AGAIN_SECONDS
                    logger.warning("edge.document_stale", error=type(error).__name__)
        return self._value


@dataclass
class Documents:
    """The combined documents of the installation."""

    context: ServiceContext
    own_openapi: Callable[[], dict[str, Any]]
    _openapi: dict[Service, Remembered[Any]] = field(default_factory=dict)
    _problems: dict[tuple[Service, Language], Remembered[Any]] = field(default_factory=dict)
    _status: Remembered[Any] | None = None
    _merging: asyncio.Lock = field(default_factory=asyncio.Lock)
    _merged: tuple[list[dict[str, Any] | None], dict[str, Any]] | None = None

    async def openapi(self) -> dict[str, Any]:
        """Return one OpenAPI document of all services that have answered so far."""
        async with self._merging:
            latest = await asyncio.gather(*(self._openapi_of(service) for service in SERVICES))
            if self._merged is None or any(new is not old for new, old in zip(latest, self._merged[0], strict=True)):
                pairs = zip(SERVICES, latest, strict=True)
                known: dict[str, Any] = {service: document for service, document in pairs if document is not None}
                # In a thread, because it takes 0.2 seconds and would delay other requests.
                self._merged = latest, await asyncio.to_thread(merge, {**known, "issuer": issuer.document()})
            return self._merged[1]

    @property
    def is_whole(self) -> bool:
        """Whether every service has sent its document."""
        return self._merged is not None and None not in self._merged[0]

    async def problems(self, language: Language) -> dict[str, dict[str, Any]]:
        """Return the problems of all services by code."""
        by_code = {problem["code"]: problem for problem in catalogue(language)}
        others = (self._problems_of(service, language) for service in SERVICES if service != "gateway")
        for problems in await asyncio.gather(*others):
            by_code.update({problem["code"]: problem for problem in problems or []})
        return dict(sorted(by_code.items()))

    async def status(self) -> dict[str, Any]:
        """Return whether each service is reachable and ready."""
        if self._status is None:
            self._status = Remembered(self._ask_status, fresh_seconds=1)
        return cast("dict[str, Any]", await self._status.get())

    async def _openapi_of(self, service: Service) -> dict[str, Any] | None:
        if service == "gateway":
            return await asyncio.to_thread(self.own_openapi)
        remembered = self._openapi.setdefault(service, Remembered(partial(self._document, service)))
        return cast("dict[str, Any] | None", await remembered.get())

    async def _document(self, service: Service) -> Any:
        return (await self._ask(service, "/openapi.json", seconds=DOCUMENT_SECONDS)).raise_for_status().json()

    async def _problems_of(self, service: Service, language: Language) -> list[dict[str, Any]] | None:
        ask = Remembered(lambda: self._json(service, "/problems", language))
        return cast("list[dict[str, Any]] | None", await self._problems.setdefault((service, language), ask).get())

    async def _ask_status(self) -> dict[str, Any]:
        answers = await asyncio.gather(*(self._readiness(service) for service in SERVICES))
        services = dict(zip(SERVICES, answers, strict=True))
        return {"ready": all(answer["ready"] for answer in answers), "services": services}

    async def _readiness(self, service: Service) -> dict[str, Any]:
        try:
            answer = await self._ask(service, "/readyz")
            return {"reachable": True, **answer.json()}
        except (Problem, ValueError):
            return {"reachable": False, "ready": False}

    async def _json(self, service: Service, path: str, language: Language = "zh-CN") -> Any:
        return (await self._ask(service, path, language)).raise_for_status().json()

    async def _ask(
        self, service: Service, path: str, language: Language = "zh-CN", seconds: float = ASK_SECONDS
    ) -> Any:
        service_clients: ServiceClients = self.context.service_clients
        deadline = time.monotonic() + seconds
        actor = system("gateway")
        return await service_clients.call(
            service, "GET", path, actor, deadline=deadline, headers={"accept-language": language}
        )
