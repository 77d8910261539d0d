"""Delivery: which endpoints have something to be told, and a turn of its own for each, so that none waits for another.

Each endpoint is one more reader of the owners' feeds. A worker takes an endpoint by a lease for the time of a turn.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import structlog

from services.gateway.webhooks import statements as sql
from services.gateway.webhooks.feeds import Idle, Origin, place_of
from services.gateway.webhooks.sending import client_of
from services.gateway.webhooks.turn import Ended, Turn
from shared.house import House
from shared.http.addresses import Judge
from shared.ids import new_id
from shared.work import Work

logger = structlog.get_logger()

LOOK_SECONDS = 1.0
DELIVERED_KEPT = timedelta(days=7)
DEAD_KEPT = timedelta(days=30)


async def deliver(house: House, woken: asyncio.Event) -> None:
    """Deliver for as long as the worker lives: look when woken, and each second."""
    deliverer = Deliverer(house)
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


async def forget_deliveries(house: House) -> None:
    """Remove what was delivered a week ago, and what was given up a month ago."""
    while True:
        async with house.system_work("forget_deliveries") as work:
            removed = await work.run(
                sql.FORGET, delivered_before=work.now - DELIVERED_KEPT, dead_before=work.now - DEAD_KEPT
            )
        if not removed:
            return


@dataclass
class Deliverer:
    """What one worker knows of the endpoints between looks; all of it can be lost."""

    house: House
    lease: UUID = field(default_factory=new_id)
    _busy: set[UUID] = field(default_factory=set)
    _clients: dict[UUID, httpx.AsyncClient] = field(default_factory=dict)
    _tls: ssl.SSLContext | None = None
    _judge: Judge = field(init=False)
    _idle: Idle | None = None

    def __post_init__(self) -> None:
        self._judge = Judge(self.house.settings.webhook_networks)

    async def look(self) -> Sequence[UUID]:
        """The endpoints that have something to be told and are not being served."""
        async with self.house.system_work("webhooks") as work:
            idle = self._idle = self._idle or await _idle(work)
            await work.run(sql.DISABLE_ORPHANS, now=work.now)
            due = [row for row in await work.rows(sql.DUE, now=work.now) if row["id"] not in self._busy]
            known = {row["id"] for row in await work.rows(sql.KNOWN)}
            rows = await work.rows(sql.CURSORS, ids=[row["id"] for row in due])
        await self._forget(idle, known)
        stored = {place_of(row): str(row["cursor"]) for row in rows}
        found = await idle.look(stored, {row["id"]: row["types"] for row in due})
        found |= {row["id"] for row in due if row["has_due"]}
        await self._save(idle, stored)
        self._busy |= found
        return sorted(found)

    async def serve(self, endpoint_id: UUID) -> int:
        """One endpoint's turn; how many events were sent. Its failures are its own."""
        assert self._idle is not None, "an endpoint is served after a look has found it"
        turn = Turn(self.house, endpoint_id, self.lease, self._client(endpoint_id), self._idle)
        try:
            try:
                await turn.run()
            finally:
                await self._let_go(endpoint_id)
        except Ended:
            pass
        except Exception as error:  # whatever is wrong with one endpoint, the others go on
            logger.warning("webhooks.turn_failed", endpoint=str(endpoint_id), error=type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._busy.discard(endpoint_id)
        return turn.sent

    async def rest(self) -> int:
        """Look and serve until there is nothing to do; how many events were sent."""
        total = 0
        while due := await self.look():
            sent = sum(await asyncio.gather(*(self.serve(endpoint_id) for endpoint_id in due)))
            if not sent:
                return total
            total += sent
        return total

    async def close(self) -> None:
        """Let go of all endpoints and connections."""
        with contextlib.suppress(Exception):  # leases end by themselves
            async with self.house.system_work("webhooks") as work:
                await work.run(sql.LET_GO, lease=self.lease)
        for client in self._clients.values():
            await client.aclose()

    async def _let_go(self, endpoint_id: UUID) -> None:
        async with self.house.system_work("webhooks") as work:
            await work.run(sql.LET_ONE_GO, id=endpoint_id, lease=self.lease)

    async def _save(self, idle: Idle, stored: Mapping[Any, str]) -> None:
        moves = idle.due_moves(stored)
        if not moves:
            return
        async with self.house.system_work("webhooks") as work:
            for place, (before, following) in sorted(moves.items()):
                await work.run(sql.MOVE, **place._asdict(), before=before, following=following)

    async def _forget(self, idle: Idle, known: set[UUID]) -> None:
        idle.forget(known)
        for endpoint_id in self._clients.keys() - known - self._busy:
            await self._clients.pop(endpoint_id).aclose()

    def _client(self, endpoint_id: UUID) -> httpx.AsyncClient:
        if endpoint_id not in self._clients:
            self._tls = self._tls or ssl.create_default_context()
            self._clients[endpoint_id] = client_of(self._tls, self._judge)
        return self._clients[endpoint_id]


async def _idle(work: Work) -> Idle:
    """What is known of idle endpoints when a worker starts: nothing but how its events name this installation."""
    (row,) = await work.rows(sql.INSTALLATION)
    return Idle(work.house, Origin.of(work.house.settings, row["id"]))
