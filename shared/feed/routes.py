"""The owner's HTTP routes for the workers of subscribers. Only services may call them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import Query, Response
from sqlalchemy.engine import RowMapping

from shared.contracts.resource import Resource, owner_of
from shared.core.actors import Role
from shared.database.paging import InvalidCursor
from shared.database.unit_of_work import UnitOfWork
from shared.feed import log
from shared.http.router import Router, Uow
from shared.problems import LocalizedText, Problem

Snapshot = Callable[[UnitOfWork, UUID | None, int], Awaitable[Sequence[Resource | log.Written]]]
"""Returns the current state of the subjects after an id, in id order, up to a limit."""

MEDIA_TYPE = "application/cloudevents-batch+json"
NEXT = "feed-cursor"
MORE = "feed-more"
WAITS = "feed-waits"


class FeedGap(Problem):
    """Retention has dropped entries that the reader has not read, so it must rebuild from the snapshot."""

    status = 410
    code = "feed_gap"
    title = LocalizedText(zh="所请求的记录已过保留期", en="The requested entries are past their retention period")
    fix = LocalizedText(zh="请从快照重建", en="Rebuild from the snapshot")


def feed_router(snapshots: Mapping[type[Resource], Snapshot]) -> Router:
    """Build the routes of one owner's feed and snapshots."""
    router = Router(prefix="/internal", tags=["feed"])
    by_type = {resource.type: snapshot for resource, snapshot in snapshots.items()}

    @router.get("/feed", role=Role.SERVICE, raises=[FeedGap], include_in_schema=False, response_class=Response)
    async def read_feed(
        uow: Uow,
        types: Annotated[list[str], Query(max_length=50)],
        after: str = "0.0.0",
        priority: Annotated[str, Query(alias="lane", pattern="^(urgent|normal)$")] = "normal",
        limit: Annotated[int, Query(ge=1, le=log.MOST_ENTRIES)] = 500,
    ) -> Response:
        """Return a CloudEvents batch of the changes after a cursor, and the next cursor."""
        cursor = _cursor(after)
        floor = await log.floor(uow.session)
        if floor is not None and cursor < floor:
            raise FeedGap()
        page = await log.read(uow.session, cursor, priority, types, limit)
        return Response(
            msgspec.json.encode([cloud_event(row) for row in page.rows]),
            media_type=MEDIA_TYPE,
            headers={NEXT: str(page.following), MORE: "1" if page.more else "0", WAITS: "1" if page.waits else "0"},
        )

    @router.get("/unread", role=Role.SERVICE, include_in_schema=False)
    async def read_unread(
        uow: Uow, types: Annotated[list[str], Query(max_length=50)], urgent: str, normal: str
    ) -> dict[str, float]:
        """Return the age in seconds of the oldest entry after the cursor of each lane; 0 if there is none."""
        cursors = {"urgent": _cursor(urgent), "normal": _cursor(normal)}
        return {
            priority: await log.unread_seconds(uow.session, after, priority, types)
            for priority, after in cursors.items()
        }

    @router.get("/horizon", role=Role.SERVICE, include_in_schema=False)
    async def read_horizon(uow: Uow) -> dict[str, str]:
        """Return the position up to which the log is complete, where reading continues after a rebuild."""
        return {"cursor": str(await log.horizon(uow.session))}

    @router.get("/snapshot", role=Role.SERVICE, include_in_schema=False, response_class=Response)
    async def read_snapshot(
        uow: Uow,
        kind: Annotated[str, Query(alias="type")],
        after: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=2_000)] = 500,
    ) -> Response:
        """Return one page of the current states of all subjects of a type."""
        resources = await by_type[kind](uow, after, limit)
        states = (one if isinstance(one, log.Written) else log.Written.of(one) for one in resources)
        return Response(f"[{','.join(state.data for state in states)}]", media_type="application/json")

    return router


class CloudEvent(msgspec.Struct, gc=False):
    """One entry as a CloudEvent 1.0. Its id is the same on every read."""

    id: str
    source: str
    type: str
    subject: str
    time: msgspec.Raw
    version: int
    region: str
    change: str
    cursor: str
    data: msgspec.Raw
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


def cloud_event(row: RowMapping) -> CloudEvent:
    """Build the CloudEvent of an entry."""
    type_name, subject, version = row["type"], row["subject"], row["version"]
    return CloudEvent(
        id=f"{type_name}/{subject}/{version}",
        source=f"/{owner_of(type_name)}",
        type=type_name,
        subject=subject,
        time=msgspec.Raw(row["at"]),
        version=version,
        region=row["region"],
        change=row["change"],
        cursor=f"{row['epoch']}.{row['xid']}.{row['seq']}",
        data=msgspec.Raw(row["data"]),
    )


def _cursor(value: str) -> log.Cursor:
    try:
        return log.Cursor.parse(value)
    except ValueError as error:
        raise InvalidCursor() from error
