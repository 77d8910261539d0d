"""Webhooks: which endpoints have something to receive. Each gets a session of its own, so that none waits for another.

Each endpoint has a cursor in every feed it reads. A worker finds the endpoints whose cursors lag.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import httpx
import structlog
from sqlalchemy import text

from services.gateway.webhooks import events
from services.gateway.webhooks.events import Feed, Origin
from services.gateway.webhooks.session import IS_FREE, DeliverySession
from shared.core.ids import new_id
from shared.http.addresses import Judge
from shared.problems import Problem
from shared.runtime.context import ServiceContext

LOOK_SECONDS = 1.0
IDLE = timedelta(seconds=10)
"""How often the cursors of idle endpoints move: a look reads from there, and retention must not overtake them."""
DELIVERED_KEPT = timedelta(days=7)
DEAD_KEPT = timedelta(days=30)

logger = structlog.get_logger()


async def deliver(context: ServiceContext, woken: asyncio.Event) -> None:
    """Deliver for as long as the worker lives: look when woken, and each second."""
    deliverer = Deliverer(context)
    try:
        async with asyncio.TaskGroup() as tasks:
            while True:
                woken.clear()
                for endpoint_id in await deliverer.look():
                    tasks.create_task(deliverer.serve(endpoint_id))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), LOOK_SECONDS)
    finally:
        await deliverer.close()


SELECT_INSTALLATION = text("SELECT id, ARRAY(SELECT id FROM webhook_endpoints) AS endpoints FROM installation")
# The owner of an endpoint must be able to see its events: a client until it is revoked, an account while a grant of
# command covers the endpoint's region. Owners that another issuer vouches for are not known here.
DISABLE_ORPHANS = text("""
    UPDATE webhook_endpoints AS endpoint SET state = 'disabled', disabled_reason = 'owner_gone'
    WHERE state = 'enabled' AND CASE
        WHEN owner LIKE 'client:%' THEN NOT EXISTS (
            SELECT FROM clients WHERE 'client:' || client_id = endpoint.owner AND revoked_at IS NULL
        )
        WHEN owner LIKE 'account:%' THEN NOT EXISTS (
            SELECT FROM grants JOIN accounts ON accounts.id = account_id
            WHERE 'account:' || account_id = endpoint.owner AND grants.role = 'command' AND grants.state = 'active'
              AND valid_from <= :now AND (valid_until IS NULL OR valid_until > :now)
              AND starts_with(endpoint.region, grants.region) AND accounts.state = 'active'
        )
        ELSE false
    END
""")
POSITION = "CAST(string_to_array({}, '.') AS bigint[])"
SELECT_FEEDS = text(f"""
    SELECT stored.owner, lane, array_to_string(min({POSITION.format("cursor")}), '.') AS after,
        array_agg(DISTINCT type) AS types
    FROM webhook_endpoints AS endpoint JOIN webhook_cursors AS stored ON endpoint_id = endpoint.id
        CROSS JOIN unnest(types) AS type
    WHERE {IS_FREE} AND split_part(type, '.', 1) = stored.owner
    GROUP BY stored.owner, lane
""")  # noqa: S608 - constants
# Of each feed: cursors before `after` lag; those from there to `upto` have nothing to read.
LOOKED = "jsonb_to_recordset(CAST(:looked AS jsonb)) AS feed (owner text, lane text, after text, upto text)"
SELECT_LAGGING = text(f"""
    SELECT id FROM webhook_endpoints AS endpoint
    WHERE {IS_FREE} AND (EXISTS (
        SELECT FROM webhook_deliveries AS delivery
        WHERE delivery.endpoint_id = endpoint.id AND delivery.state = 'parked' AND delivery.next_attempt_at <= :now
    ) OR EXISTS (
        SELECT FROM webhook_cursors JOIN {LOOKED} USING (owner, lane)
        WHERE endpoint_id = endpoint.id AND {POSITION.format("cursor")} < {POSITION.format("after")}
    ))
    ORDER BY seq
""")  # noqa: S608 - constants
# The lock on the endpoint keeps a session from starting with the former cursor.
ADVANCE_IDLE_CURSORS = text(f"""
    WITH idle AS (
        SELECT endpoint_id, feed.owner, lane, upto
        FROM webhook_cursors JOIN {LOOKED} USING (owner, lane) JOIN webhook_endpoints AS endpoint ON id = endpoint_id
        WHERE (leased_until IS NULL OR leased_until < clock_timestamp()) AND types <@ CAST(:types AS text[])
          AND moved_at < clock_timestamp() - CAST(:idle AS interval)
          AND {POSITION.format("cursor")} >= {POSITION.format("after")}
          AND {POSITION.format("cursor")} < {POSITION.format("upto")}
        FOR UPDATE OF webhook_cursors, endpoint SKIP LOCKED
    )
    UPDATE webhook_cursors AS stored SET cursor = idle.upto, moved_at = now() FROM idle
    WHERE (stored.endpoint_id, stored.owner, stored.lane) = (idle.endpoint_id, idle.owner, idle.lane)
""")  # noqa: S608 - constants


@dataclass
class Deliverer:
    """One worker's lease and connections. What was delivered is in the database only."""

    context: ServiceContext
    lease: UUID = field(default_factory=new_id)
    _origin: Origin = field(init=False)
    _busy: set[UUID] = field(default_factory=set)
    _clients: dict[UUID, httpx.AsyncClient] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tls = ssl.create_default_context()
        self._judge = Judge(self.context.settings.webhook_networks)

    async def look(self) -> Sequence[UUID]:
        """Find the endpoints that lag or have something to retry, and that no session serves.

        Each feed is read once, from the lowest cursor, however many endpoints read it.
        """
        async with self.context.system_unit_of_work("webhooks") as uow:
            await uow.run(DISABLE_ORPHANS, now=uow.now)
            (installation,) = await uow.rows(SELECT_INSTALLATION)
            feeds = await uow.rows(SELECT_FEEDS, now=uow.now)
        settings = self.context.settings
        self._origin = Origin(settings.issuer_url, settings.public_url.rstrip("/"), installation["id"])
        for endpoint_id in self._clients.keys() - set(installation["endpoints"]) - self._busy:
            await self._clients.pop(endpoint_id).aclose()
        found = [await self._look_at(Feed(row["owner"], row["lane"]), row["after"], row["types"]) for row in feeds]
        looked = json.dumps([one for one in found if one])
        types = sorted({type_name for row in feeds for type_name in row["types"]})
        async with self.context.system_unit_of_work("webhooks") as uow:
            await uow.run(ADVANCE_IDLE_CURSORS, looked=looked, types=types, idle=IDLE)
            rows = await uow.rows(SELECT_LAGGING, looked=looked, now=uow.now)
        lagging = [row["id"] for row in rows if row["id"] not in self._busy]
        self._busy.update(lagging)
        return lagging

    async def _look_at(self, feed: Feed, after: str, types: Sequence[str]) -> dict[str, str] | None:
        """Look for an event after the lowest cursor. If there is one, every cursor before the end of the log lags."""
        try:
            batch = await events.read(self.context, feed, after, types, self._origin, limit=1)
            if batch.events or batch.history_truncated:
                after = await events.horizon(self.context, feed.owner)
        except (Problem, httpx.HTTPError) as error:
            logger.warning("webhooks.feed_away", owner=feed.owner, error=type(error).__name__)
            return None
        return {**feed._asdict(), "after": after, "upto": batch.following}

    async def serve(self, endpoint_id: UUID) -> int:
        """Run a session for an endpoint, and return how many events were sent. Its failures affect no other."""
        if endpoint_id not in self._clients:
            self._clients[endpoint_id] = events.client_of(self._tls, self._judge)
        session = DeliverySession(self.context, self._clients[endpoint_id], self._origin, endpoint_id, self.lease)
        try:
            await session.run()
        except Exception as error:  # the other endpoints go on, whatever is wrong with this one
            logger.warning("webhooks.session_failed", endpoint=str(endpoint_id), error=type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._busy.discard(endpoint_id)
        return session.sent

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()


DELETE_OLD = text("""
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries
        WHERE (created_at < :delivered_before AND state = 'delivered') OR (created_at < :dead_before AND state = 'dead')
        LIMIT 5000
    )
""")


async def forget_deliveries(context: ServiceContext) -> None:
    """Delete what was delivered a week ago, and what was given up a month ago."""
    removed = 1
    while removed:
        async with context.system_unit_of_work("forget_deliveries") as uow:
            before = {"delivered_before": uow.now - DELIVERED_KEPT, "dead_before": uow.now - DEAD_KEPT}
            removed = await uow.run(DELETE_OLD, before)
