"""Which service point protects a service: asked of the table each time, so that a closed one lets nobody through."""

from sqlalchemy import text

from services.gateway.edge.protection import FindPoint, Point
from shared.house import House

FIND = text("SELECT id, upstream_url, medical FROM points WHERE slug = :slug AND closed_at IS NULL")


def finder(house: House) -> FindPoint:
    """How the edge finds an open point by its slug."""

    async def find(slug: str) -> Point | None:
        async with house.system_work("protected service") as work:
            rows = await work.rows(FIND, slug=slug)
        return Point(**rows[0]) if rows else None

    return find
