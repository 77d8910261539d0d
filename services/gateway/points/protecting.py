"""Finds the open service points that protect a service, and caches them for when the database is not available."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from sqlalchemy import text

from services.gateway.edge.receipt_check import Point
from services.gateway.points.schemas import SLUG
from shared.problems import Unavailable
from shared.runtime.context import ServiceContext

logger = structlog.get_logger()

FIND_SECONDS = 2.0
"""How long a request waits for the database. While a query takes longer, later requests fail at once."""
LOAD_SECONDS = 60.0
RETRY_SECONDS = 2.0

SELECT_POINTS_BY_SLUG = text("""
    SELECT slug, id, upstream_url, medical FROM points WHERE slug = ANY(:slugs) AND closed_at IS NULL
""")
SELECT_ALL_POINTS = text(
    "SELECT slug, id, upstream_url, medical FROM points WHERE slug IS NOT NULL AND closed_at IS NULL"
)


class ProtectingPoints:
    """Finds points by slug. Requests that arrive during a query share the next query, so many cost only one."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._known: dict[str, Point] = {}
        self._waiting: dict[str, asyncio.Future[Point | Exception | None]] = {}
        self._runner: asyncio.Task[None] | None = None
        self._began: float | None = None

    async def find(self, slug: str) -> Point | None:
        """Return the open point of a slug from the database. Raises `Unavailable` if the database does not answer."""
        if not SLUG.fullmatch(slug):
            return None
        loop = asyncio.get_running_loop()
        if self._began is not None and loop.time() - self._began > FIND_SECONDS:
            raise Unavailable()
        future = self._waiting.get(slug)
        if future is None:
            future = self._waiting[slug] = loop.create_future()
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._answer())
        try:
            async with asyncio.timeout(FIND_SECONDS):
                result = await asyncio.shield(future)
        except TimeoutError:
            raise Unavailable() from None
        if isinstance(result, Exception):
            raise Unavailable() from result
        return result

    def remembered(self, slug: str) -> Point | None:
        """Return the cached point of a slug, as it was at the last query."""
        return self._known.get(slug)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep all points in the cache while entered, so that clinics work if the database fails later."""
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            try:
                self._known = _by_slug(await self._rows(SELECT_ALL_POINTS))
            except Exception as error:  # the database can fail in many ways: try again
                logger.warning("points.not_loaded", error=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await asyncio.sleep(LOAD_SECONDS)

    async def _answer(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            self._began = asyncio.get_running_loop().time()
            result: dict[str, Point] | Exception
            try:
                result = _by_slug(await self._rows(SELECT_POINTS_BY_SLUG, slugs=list(waiting)))
            except Exception as error:  # every failure must reach the waiting requests
                result = error
            self._began = None
            for slug, future in waiting.items():
                if isinstance(result, Exception):
                    future.set_result(result)
                    continue
                point = result.get(slug)
                if point is None:
                    self._known.pop(slug, None)
                else:
                    self._known[slug] = point
                future.set_result(point)

    async def _rows(self, statement: Any, **values: Any) -> Iterable[Any]:
        async with self._context.system_unit_of_work("find_point") as uow:
            rows: Iterable[Any] = await uow.rows(statement, **values)
            return rows


def _by_slug(rows: Iterable[Any]) -> dict[str, Point]:
    return {row["slug"]: Point(row["id"], row["upstream_url"], row["medical"]) for row in rows}
