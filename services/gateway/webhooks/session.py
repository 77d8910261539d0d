"""Webhooks: the delivery of events to one endpoint, at least once, in the order of each subject.

A session retries what is due, then reads the feeds batch by batch. Nothing is sent inside a transaction. The outcomes
of a batch and the cursor commit together: after a kill, a batch at most is sent twice.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import httpx
import structlog
from sqlalchemy import func, select, text, update

from services.gateway.messages.rules import valid_secrets
from services.gateway.webhooks import events
from services.gateway.webhooks.events import Batch, Event, Feed, Origin
from services.gateway.webhooks.rules import GIVE_UP_AFTER, AttemptResult, RetryState, pause_for, retry_in
from services.gateway.webhooks.tables import SCHEDULE_SUBJECTS, CursorRow, DeliveryRow, EndpointRow
from shared.contracts.resource import owner_of
from shared.core import clock
from shared.core.ids import new_ids
from shared.core.regions import lies_under
from shared.core.settings import Service
from shared.database.unit_of_work import UnitOfWork, scalar
from shared.problems import Problem
from shared.runtime.context import ServiceContext

LEASE = timedelta(seconds=30)
"""Longer than a batch (5 s of launching, 15 s of the last attempt). Only a killed worker lets a lease run out."""
LAUNCH_SECONDS = 5.0
"""How long a batch launches attempts."""
MOST_RETRIED = 200
MOST_WAITING = 10_000
"""With so many parked deliveries an endpoint receives no new events."""

Subject = tuple[str, UUID]
Queues = dict[Subject, list[DeliveryRow]]

logger = structlog.get_logger()

# Leases go by the database's clock, all other times by the service's.
IS_FREE = """
    state = 'enabled' AND (next_attempt_at IS NULL OR next_attempt_at <= :now)
    AND (leased_until IS NULL OR leased_until < clock_timestamp())
"""
ACQUIRE_LEASE = text(f"""
    UPDATE webhook_endpoints SET lease = :lease, leased_until = clock_timestamp() + CAST(:length AS interval)
    WHERE id = :id AND {IS_FREE}
""")  # noqa: S608 - constants
RELEASE_LEASE = text("UPDATE webhook_endpoints SET lease = NULL, leased_until = NULL WHERE id = :id AND lease = :lease")
MOVE_CURSOR = text("""
    UPDATE webhook_cursors SET cursor = :following, moved_at = now()
    WHERE endpoint_id = :id AND owner = :owner AND lane = :lane AND cursor = :before
""")
SELECT_KNOWN = text("""
    SELECT event_id FROM webhook_deliveries WHERE endpoint_id = :id AND event_id = ANY(CAST(:event_ids AS text[]))
""")
SELECT_BLOCKED = text("""
    SELECT DISTINCT type, subject FROM webhook_deliveries
    WHERE endpoint_id = :id AND state = 'parked' AND subject = ANY(CAST(:subjects AS uuid[]))
""")
DELIVERY_COLUMNS = [name for name in DeliveryRow.__table__.c.keys() if name not in ("seq", "created_at")]  # noqa: SIM118


class SessionEnded(Exception):  # noqa: N818 - says what happened
    """The endpoint was disabled, removed, paused or taken over by another worker."""


@dataclass
class DeliverySession:
    """Delivers to one endpoint until nothing is left, while it holds the endpoint's lease."""

    context: ServiceContext
    client: httpx.AsyncClient
    origin: Origin
    endpoint_id: UUID
    lease: UUID
    sent: int = 0
    _endpoint: EndpointRow = field(init=False)
    """As it was when the lease was last renewed."""
    _cursors: dict[Feed, str] = field(init=False)
    _stored_cursors: dict[Feed, str] = field(init=False)

    async def run(self) -> None:
        """Retry what is due, then read the feeds to their ends. Does nothing if another worker holds the lease."""
        try:
            await self._acquire()
            while await self._retry():
                pass
            for owner, types in _by_owner(self._endpoint.types).items():
                await self._follow(owner, types)
            async with self._unit_of_work() as uow:
                await self._renew(uow)
                await self._store_cursors(uow)
        except SessionEnded:
            pass
        finally:
            async with self._unit_of_work() as uow:
                await uow.run(RELEASE_LEASE, id=self.endpoint_id, lease=self.lease)

    async def _retry(self) -> bool:
        """Retry parked deliveries that are due. Returns whether there were any."""
        async with self._unit_of_work() as uow:
            await self._renew(uow)
            due = select(DeliveryRow).where(
                DeliveryRow.endpoint_id == self.endpoint_id,
                DeliveryRow.state == "parked",
                DeliveryRow.next_attempt_at <= uow.now,
            )
            deliveries = (await uow.session.scalars(due.order_by(DeliveryRow.seq).limit(MOST_RETRIED))).all()
        queues = _by_subject(deliveries)
        state = await self._attempt(queues.values())
        async with self._unit_of_work() as uow:
            done = {row.subject for row in await self._store(uow, queues, state) if row.state != "parked"}
            await uow.run(SCHEDULE_SUBJECTS, endpoint_id=self.endpoint_id, subjects=sorted(done), now=uow.now)
        if state.failed:
            raise SessionEnded
        return bool(deliveries)

    async def _follow(self, owner: Service, types: Sequence[str]) -> None:
        """Deliver what an owner's feeds hold: the urgent one to its end before each batch of the normal one."""
        try:
            more = True
            while more:
                while await self._deliver_batch(Feed(owner, "urgent"), types):
                    pass
                more = await self._deliver_batch(Feed(owner, "normal"), types)
        except (Problem, httpx.HTTPError) as error:
            logger.warning("webhooks.feed_away", owner=owner, error=type(error).__name__)

    async def _deliver_batch(self, feed: Feed, types: Sequence[str]) -> bool:
        """Read a batch, send what the endpoint wants of it, and store the outcomes. Returns whether to go on."""
        before = self._cursors[feed]
        page = await events.read(self.context, feed, before, types, self.origin)
        if not page.events and not page.history_truncated:
            self._cursors[feed] = page.following
            return False
        deliveries, blocked = await self._unsent_deliveries(page.events)
        queues = _by_subject(deliveries)
        state = await self._attempt(queue for subject, queue in queues.items() if subject not in blocked)
        async with self._unit_of_work() as uow:
            stored = await self._store(uow, queues, state, blocked)
            unstored = {row.event_id for row in deliveries} - {row.event_id for row in stored}
            self._cursors[feed] = _read_up_to(page, unstored) or before
            await self._store_cursors(uow)
            if page.history_truncated:
                await self._note(uow, gap_at=uow.now, last_error="feed_gap")
        if state.failed:
            raise SessionEnded
        return page.more or self._cursors[feed] != page.following

    async def _unsent_deliveries(self, page: Sequence[Event]) -> tuple[Sequence[DeliveryRow], Collection[Subject]]:
        """Deliveries of the events that the endpoint wants and was not sent before; and the subjects that are blocked.

        A subject is blocked while an earlier event of it is parked.
        """
        wanted = {event.event_id: event for event in page if lies_under(event.region, self._endpoint.region)}
        subjects = sorted({event.subject for event in wanted.values()})
        async with self._unit_of_work() as uow:
            await self._renew(uow)
            known = await uow.rows(SELECT_KNOWN, id=self.endpoint_id, event_ids=list(wanted))
            blocked = await uow.rows(SELECT_BLOCKED, id=self.endpoint_id, subjects=subjects)
            is_parked = (DeliveryRow.endpoint_id == self.endpoint_id, DeliveryRow.state == "parked")
            parked = await scalar(uow, select(func.count()).select_from(DeliveryRow).where(*is_parked))
            if parked >= MOST_WAITING:
                await self._pause(uow, RetryState(error="too_many_parked"))
        if parked >= MOST_WAITING:
            raise SessionEnded
        for row in known:
            del wanted[row["event_id"]]
        common = {"endpoint_id": self.endpoint_id, "party": self._endpoint.party, "version": 0, "attempts": 0}
        deliveries = [
            DeliveryRow(id=delivery_id, **event.stored(), **common)
            for event, delivery_id in zip(wanted.values(), new_ids(len(wanted)), strict=True)
        ]
        return deliveries, {(row["type"], row["subject"]) for row in blocked}

    async def _attempt(self, queues: Iterable[Sequence[DeliveryRow]]) -> RetryState:
        """Send deliveries, `IN_FLIGHT` at a time. Within a subject one follows the other, until one fails."""
        state, waiting, until = RetryState(), deque(queues), time.monotonic() + LAUNCH_SECONDS

        async def send_queues() -> None:
            while waiting:
                for delivery in waiting.popleft():
                    began = time.monotonic()
                    if state.stopped or began >= until:
                        return
                    outcome = await events.send(
                        self.client, self._endpoint.url, secrets, delivery.event_id, delivery.body
                    )
                    state.note(delivery.event_id, outcome, began, time.monotonic())
                    if outcome.kind is not AttemptResult.DELIVERED:
                        break

        secrets = valid_secrets(self._endpoint.secrets or "[]", clock.now())
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(events.IN_FLIGHT, len(waiting))):
                tasks.create_task(send_queues())
        self.sent += len(state.outcomes)
        return state

    # What a transaction stores ----------------------------------------------------------------------------------------

    def _unit_of_work(self) -> UnitOfWork:
        return self.context.system_unit_of_work("webhooks")

    async def _acquire(self) -> None:
        async with self._unit_of_work() as uow:
            lease = {"id": self.endpoint_id, "lease": self.lease, "length": LEASE}
            if not await uow.run(ACQUIRE_LEASE, lease, now=uow.now):
                raise SessionEnded
            rows = await uow.rows(select(CursorRow.__table__).where(CursorRow.endpoint_id == self.endpoint_id))
            self._cursors = {Feed(row["owner"], row["lane"]): row["cursor"] for row in rows}
            self._stored_cursors = dict(self._cursors)

    async def _renew(self, uow: UnitOfWork) -> None:
        """Renew the lease, and read the endpoint as it is now. Locks it until the transaction ends."""
        renewed = (
            update(EndpointRow)
            .where(EndpointRow.id == self.endpoint_id, EndpointRow.lease == self.lease, EndpointRow.state == "enabled")
            .values(leased_until=func.clock_timestamp() + LEASE)
            .returning(EndpointRow)
            .execution_options(synchronize_session=False)
        )
        endpoint = (await uow.session.scalars(renewed)).one_or_none()
        if endpoint is None:
            raise SessionEnded
        self._endpoint = endpoint

    async def _store(
        self, uow: UnitOfWork, queues: Queues, state: RetryState, blocked: Collection[Subject] = ()
    ) -> Sequence[DeliveryRow]:
        """Store the outcomes and what they say of the endpoint. Returns what was stored of the deliveries."""
        await self._renew(uow)
        settled = [
            delivery
            for subject, queue in queues.items()
            for delivery in _settle(queue, state, uow.now, is_blocked=subject in blocked)
        ]
        await uow.upsert(DeliveryRow, [{name: getattr(row, name) for name in DELIVERY_COLUMNS} for row in settled])
        if state.delivered_any:
            healthy = {"failures": 0, "failing_since": None, "next_attempt_at": None, "last_error": None}
            await self._note(uow, **healthy, last_success_at=uow.now)
        if state.gone:
            await self._note(uow, state="disabled", disabled_reason="gone", last_error="410")
        elif state.failed:
            await self._pause(uow, state)
        return settled

    async def _store_cursors(self, uow: UnitOfWork) -> None:
        """Store the cursors that have moved. Ends the session if somebody else has moved one."""
        for feed, cursor in self._cursors.items():
            before = self._stored_cursors[feed]
            moved = {"id": self.endpoint_id, **feed._asdict(), "before": before, "following": cursor}
            if cursor != before and not await uow.run(MOVE_CURSOR, moved):
                raise SessionEnded
        self._stored_cursors = dict(self._cursors)

    async def _pause(self, uow: UnitOfWork, state: RetryState) -> None:
        """Leave the endpoint alone for a while, or disable it if it has failed for days."""
        former = (0, None) if state.delivered_any else (self._endpoint.failures, self._endpoint.failing_since)
        failures, since = former[0] + 1, former[1] or uow.now
        pause = max(_spread(pause_for(failures)), timedelta(seconds=state.retry_after_seconds))
        paused = {"failures": failures, "failing_since": since, "next_attempt_at": uow.now + pause}
        await self._note(uow, **paused, last_error=state.error)
        if since < uow.now - GIVE_UP_AFTER:
            await self._note(uow, state="disabled", disabled_reason="unreachable")

    async def _note(self, uow: UnitOfWork, **values: Any) -> None:
        await uow.run(update(EndpointRow).where(EndpointRow.id == self.endpoint_id).values(values))


def _by_owner(types: Iterable[str]) -> dict[Service, list[str]]:
    owners: dict[Service, list[str]] = {}
    for type_name in sorted(types):
        owners.setdefault(cast("Service", owner_of(type_name)), []).append(type_name)
    return owners


def _by_subject(deliveries: Iterable[DeliveryRow]) -> Queues:
    queues: Queues = {}
    for delivery in deliveries:
        queues.setdefault((delivery.type, delivery.subject), []).append(delivery)
    return queues


def _settle(
    queue: Iterable[DeliveryRow], state: RetryState, now: datetime, *, is_blocked: bool
) -> Iterator[DeliveryRow]:
    """Write the outcomes into one subject's deliveries, up to the first without an outcome.

    Deliveries behind one that failed are parked without an attempt. They are due when that one is delivered or dead.
    """
    for delivery in queue:
        outcome = state.settled(delivery.event_id)
        delivery.version, delivery.updated_at, delivery.next_attempt_at = delivery.version + 1, now, None
        if is_blocked:
            delivery.state = "parked"
        elif outcome is None:
            return
        else:
            delivery.attempts += 1
            delivery.last_status, delivery.last_error = outcome.status, outcome.error
            wait = retry_in(delivery.attempts)
            if outcome.kind is AttemptResult.DELIVERED:
                delivery.state, delivery.delivered_at = "delivered", now
            elif wait is None:
                delivery.state = "dead"
            else:
                delivery.state, delivery.next_attempt_at, is_blocked = "parked", now + _spread(wait), True
        yield delivery


def _read_up_to(page: Batch, unstored: Collection[str]) -> str | None:
    """The cursor before the first event that must be read again; None if that is the first of the batch."""
    before = None
    for event in page.events:
        if event.event_id in unstored:
            return before
        before = event.cursor
    return page.following


def _spread(wait: timedelta) -> timedelta:
    """A wait, longer or shorter by up to a fifth, so that retries do not come all at once."""
    return wait * random.uniform(0.8, 1.2)  # noqa: S311 - guards nothing
