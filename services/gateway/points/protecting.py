"""The open points that protect a service: found in the database, and remembered for when it is out of reach."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from sqlalchemy import text

from services.gateway.edge.gate import Point
from services.gateway.points.schemas import SLUG
from shared.house import House
from shared.problems import Unavailable

logger = structlog.get_logger()

FIND_SECONDS = 2.0
"""How long a request waits for the database; a query that takes longer keeps no later request waiting."""
LOAD_SECONDS = 60.0
RETRY_SECONDS = 2.0

FIND = text("""
    SELECT slug, id, upstream_url, medical FROM points WHERE slug = ANY(:slugs) AND closed_at IS NULL
""")
ALL = text("SELECT slug, id, upstream_url, medical FROM points WHERE slug IS NOT NULL AND closed_at IS NULL")


class ProtectingPoints:
    """Finds points by slug. Requests that come while a query runs share the next one, so a flood costs one query."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._known: dict[str, Point] = {}
        self._asked: dict[str, asyncio.Future[Point | Exception | None]] = {}
        self._runner: asyncio.Task[None] | None = None
        self._began: float | None = None

    async def find(self, slug: str) -> Point | None:
        """Return the open point of a slug as the database has it now. Raises `Unavailable` if it cannot be asked."""
        if not SLUG.fullmatch(slug):
            return None
        loop = asyncio.get_running_loop()
        if self._began is not None and loop.time() - self._began > FIND_SECONDS:
            raise Unavailable()
        future = self._asked.get(slug)
        if future is None:
            future = self._asked[slug] = loop.create_future()
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._answer())
        try:
            async with asyncio.timeout(FIND_SECONDS):
                found = await asyncio.shield(future)
        except TimeoutError:
            raise Unavailable() from None
        if isinstance(found, Exception):
            raise Unavailable() from found
        return found

    def remembered(self, slug: str) -> Point | None:
        """Return the point of a slug as it was when the database was last asked."""
        return self._known.get(slug)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Know all points while this is entered, so that clinics are known before the database is lost."""
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            try:
                self._known = _by_slug(await self._rows(ALL))
            except Exception as error:  # the database may be away in many ways: try again
                logger.warning("points.not_loaded", error=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await asyncio.sleep(LOAD_SECONDS)

    async def _answer(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            self._began = asyncio.get_running_loop().time()
            found: dict[str, Point] | Exception
            try:
                found = _by_slug(await self._rows(FIND, slugs=list(asked)))
            except Exception as error:  # whatever is wrong, those who wait are told that it cannot be known
                found = error
            self._began = None
            for slug, future in asked.items():
                if isinstance(found, Exception):
                    future.set_result(found)
                    continue
                point = found.get(slug)
                if point is None:
                    self._known.pop(slug, None)
                else:
                    self._known[slug] = point
                future.set_result(point)

    async def _rows(self, statement: Any, **values: Any) -> Iterable[Any]:
        async with self._house.system_work("find_point") as work:
            rows: Iterable[Any] = await work.rows(statement, **values)
            return rows


def _by_slug(rows: Iterable[Any]) -> dict[str, Point]:
    return {row["slug"]: Point(row["id"], row["upstream_url"], row["medical"]) for row in rows}
