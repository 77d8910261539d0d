"""One endpoint's turn: what is parked and due, then what its owners' feeds hold, until there is nothing left.

Nothing is sent inside a transaction. What was sent, what was parked and how far the endpoint has read commit together.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import httpx
from sqlalchemy.engine import RowMapping

from services.gateway.messages.rules import valid_secrets
from services.gateway.webhooks import statements as sql
from services.gateway.webhooks.feeds import Batch, Gap, Idle, Place, horizon, of_owner, place_of, read
from services.gateway.webhooks.rules import (
    BEHIND,
    GIVE_UP_AFTER,
    MOST_PARKED,
    Course,
    Kind,
    Outcome,
    chains_of,
    pause_for,
    read_up_to,
    retry_in,
)
from services.gateway.webhooks.sending import IN_FLIGHT, Event, send
from shared.contracts.resource import owner_of
from shared.house import House
from shared.ids import new_id
from shared.regions import lies_under
from shared.settings import Service
from shared.work import Work

LAUNCH_SECONDS = 5.0
"""How long a batch goes on beginning attempts: with the limit of the last one (sending.py) it ends within a lease."""

PARKED_BATCH = 200


class Ended(Exception):  # noqa: N818 - says what happened
    """The endpoint was disabled, removed, paused or taken over: its turn is over."""


@dataclass
class Target:
    """An endpoint as its turn sees it, read anew with each step."""

    url: str
    types: Sequence[str]
    region: str
    party: str
    secrets: Sequence[str]
    failures: int

    def wants(self, event: Event) -> bool:
        """Whether an event happened within the endpoint's region."""
        return lies_under(event.region, self.region)


@dataclass
class Turn:
    """One endpoint, held by a lease of ours."""

    house: House
    endpoint_id: UUID
    lease: UUID
    client: httpx.AsyncClient
    idle: Idle
    sent: int = 0
    _target: Target = field(init=False)
    _cursors: dict[Place, str] = field(init=False)
    _parked: int = field(init=False)

    async def run(self) -> None:
        """Deliver all there is. Raises `Ended` when there is a reason to stop before."""
        due = await self._begin()
        while due:
            due = await self._again(due)
        for owner in sorted({cast("Service", owner_of(one)) for one in self._target.types}):
            while await self._owner(owner):
                pass

    async def _owner(self, owner: Service) -> bool:
        """The urgent lane to its end, then one batch of the other; whether to look again."""
        while await self._step(Place(self.endpoint_id, owner, "urgent")):
            pass
        return await self._step(Place(self.endpoint_id, owner, "normal"))

    # Holding on ---------------------------------------------------------------------------------------------------

    def _work(self) -> Work:
        return self.house.system_work("webhooks")

    async def _begin(self) -> Sequence[RowMapping]:
        """Take the endpoint, if nobody has it, and know where it stands; what of it is parked and due."""
        values: dict[str, Any] = {"id": self.endpoint_id, "lease": self.lease, "seconds": sql.LEASE_SECONDS}
        async with self._work() as work:
            if not await work.run(sql.TAKE, now=work.now, **values):
                raise Ended
            await self._hold(work)
            rows = await work.rows(sql.ENDPOINT_CURSORS, id=self.endpoint_id)
            self._cursors = {place_of(row): row["cursor"] for row in rows}
            self._parked = (await work.session.execute(sql.COUNT_PARKED, {"id": self.endpoint_id})).scalar_one()
            return await self._due(work)

    async def _hold(self, work: Work) -> None:
        """Hold on to the endpoint, as it is now; `Ended` if it was disabled, removed or taken over."""
        rows = await work.rows(sql.HOLD, id=self.endpoint_id, lease=self.lease, seconds=sql.LEASE_SECONDS)
        if not rows:
            raise Ended
        row = rows[0]
        sealed = bytes(row["secrets_sealed"])
        secrets = self.house.keyring.open("webhook_endpoints.secrets", self.endpoint_id, sealed)
        self._target = Target(
            row["url"], row["types"], row["region"], row["party"], valid_secrets(secrets, work.now), row["failures"]
        )

    # What the feeds hold ------------------------------------------------------------------------------------------

    async def _step(self, place: Place) -> bool:
        """One batch of one lane; whether there is more."""
        if self._parked >= MOST_PARKED:
            await self._pause(Course(), "too_many_parked")
        after = self.idle.position(place, self._cursors[place])
        try:
            types = of_owner(self._target.types, place.owner)
            batch = await read(self.house, place.owner, place.lane, after, types, self.idle.origin)
        except Gap:
            await self._jump(place)
            return True
        if not batch.events:
            self.idle.reached(place, self._cursors[place], batch.following)
            return False
        await self._deliver(place, batch)
        return batch.more or self._cursors[place] != batch.following

    async def _jump(self, place: Place) -> None:
        """Go on at the end of the log: what is between is past retention, and the endpoint's page says so."""
        following = await horizon(self.house, place.owner)
        async with self._work() as work:
            await self._hold(work)
            await self._move(work, place, following)
            await work.run(sql.NOTE_GAP, id=self.endpoint_id, now=work.now)

    async def _deliver(self, place: Place, batch: Batch) -> None:
        new, waiting = await self._unsent([event for event in batch.events if self._target.wants(event)])
        course = await self._attempt([event for event in new if (event.type, event.subject) not in waiting])
        kept = [(event, outcome) for event in new if (outcome := self._settled(course, event, waiting)) is not None]
        open_ids = {event.event_id for event in new} - {event.event_id for event, _ in kept}
        settled = [event.event_id not in open_ids for event in batch.events]
        cursors = [event.cursor for event in batch.events]
        async with self._work() as work:
            await self._hold(work)
            await self._keep(work, kept)
            await self._move(work, place, read_up_to(cursors, settled, self._cursors[place], batch.following))
            if course.delivered_any:
                await work.run(sql.WELL, id=self.endpoint_id, now=work.now)
        self._parked += sum(outcome.kind is not Kind.DELIVERED for _, outcome in kept)
        await self._end_if_failing(course)

    @staticmethod
    def _settled(course: Course[Event], event: Event, waiting: set[tuple[str, UUID]]) -> Outcome | None:
        # What waits behind a parked event is parked whether or not the endpoint answers now.
        return BEHIND if (event.type, event.subject) in waiting else course.settled(event)

    async def _unsent(self, events: Sequence[Event]) -> tuple[list[Event], set[tuple[str, UUID]]]:
        """Those that were not dealt with before, and the subjects that something parked is holding up."""
        if not events:
            return [], set()
        async with self._work() as work:
            await self._hold(work)
            ids = [event.event_id for event in events]
            before = {row["event_id"] for row in await work.rows(sql.SENT_BEFORE, id=self.endpoint_id, event_ids=ids)}
            subjects = sorted({event.subject for event in events})
            rows = await work.rows(sql.WAITING, id=self.endpoint_id, subjects=subjects)
        unsent = {event.event_id: event for event in events if event.event_id not in before}
        return list(unsent.values()), {(row["type"], row["subject"]) for row in rows}

    async def _move(self, work: Work, place: Place, following: str) -> None:
        before = self._cursors[place]
        if following == before:
            return
        if not await work.run(sql.MOVE, **place._asdict(), before=before, following=following):
            raise Ended
        self._cursors[place] = following

    async def _keep(self, work: Work, kept: Sequence[tuple[Event, Outcome]]) -> None:
        if not kept:
            return
        rows = [_row(event, outcome, work) for event, outcome in kept]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        await work.run(sql.KEEP, endpoint_id=self.endpoint_id, party=self._target.party, now=work.now, **columns)

    # Attempts -----------------------------------------------------------------------------------------------------

    async def _attempt(self, events: Sequence[Event]) -> Course[Event]:
        """Send events side by side, those of one subject one after the other, until it makes no sense to go on."""
        course: Course[Event] = Course()
        chains = chains_of(events)
        until = time.monotonic() + LAUNCH_SECONDS

        async def work_off() -> None:
            while chains and not course.stopped and time.monotonic() < until:
                await self._chain(chains.popleft(), course, lambda: time.monotonic() >= until)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(IN_FLIGHT, len(chains))):
                tasks.create_task(work_off())
        self.sent += len(course.outcomes)
        return course

    async def _chain(self, chain: Sequence[Event], course: Course[Event], is_late: Callable[[], bool]) -> None:
        for number, event in enumerate(chain):
            if course.stopped or is_late():
                return
            began = time.monotonic()
            outcome = await send(self.client, self._target.url, self._target.secrets, event)
            course.note(event, outcome, began, time.monotonic())
            if outcome.kind is not Kind.DELIVERED:
                course.outcomes.update({behind.event_id: BEHIND for behind in chain[number + 1 :]})
                return

    # What is parked -----------------------------------------------------------------------------------------------

    async def _due(self, work: Work) -> Sequence[RowMapping]:
        return await work.rows(sql.PARKED_DUE, id=self.endpoint_id, now=work.now, limit=PARKED_BATCH)

    async def _again(self, due: Sequence[RowMapping]) -> Sequence[RowMapping]:
        """Try what is parked and due again; what is due then."""
        events = {_event(row): row for row in due}
        course = await self._attempt(list(events))
        tried = [(events[event], outcome) for event in events if (outcome := _tried(course, event)) is not None]
        async with self._work() as work:
            await self._hold(work)
            settled = await self._settle(work, tried)
            if course.delivered_any:
                await work.run(sql.WELL, id=self.endpoint_id, now=work.now)
            following = await self._due(work) if tried else ()
        self._parked -= settled
        await self._end_if_failing(course)
        return following

    async def _settle(self, work: Work, tried: Sequence[tuple[RowMapping, Outcome]]) -> int:
        """Keep what became of parked events; how many of them are parked no longer."""
        if not tried:
            return 0
        states = [_state_after(row["attempts"] + 1, outcome) for row, outcome in tried]
        waits = [
            retry_in(row["attempts"] + 1, _chance()) if state == "parked" else None
            for (row, _), state in zip(tried, states, strict=True)
        ]
        await work.run(
            sql.SETTLE,
            now=work.now,
            ids=[row["id"] for row, _ in tried],
            states=states,
            statuses=[outcome.status for _, outcome in tried],
            errors=[outcome.error for _, outcome in tried],
            next_attempts=[None if wait is None else work.now + wait for wait in waits],
        )
        done = [row["subject"] for (row, _), state in zip(tried, states, strict=True) if state != "parked"]
        if done:
            await work.run(sql.PROMOTE, endpoint_id=self.endpoint_id, subjects=sorted(set(done)), now=work.now)
        return len(done)

    # The endpoint as a whole --------------------------------------------------------------------------------------

    async def _end_if_failing(self, course: Course[Event]) -> None:
        if course.gone:
            async with self._work() as work:
                await work.run(sql.GONE, id=self.endpoint_id)
            raise Ended
        if course.unreachable or course.broken:
            await self._pause(course, _worst(course))

    async def _pause(self, course: Course[Event], error: str) -> None:
        failures = 1 if course.delivered_any else self._target.failures + 1
        pause = pause_for(failures, _chance(), course.asked_seconds)
        async with self._work() as work:
            await work.run(
                sql.PAUSE,
                id=self.endpoint_id,
                now=work.now,
                next_attempt_at=work.now + pause,
                error=error,
                give_up=work.now - GIVE_UP_AFTER,
            )
        raise Ended


def _row(event: Event, outcome: Outcome, work: Work) -> dict[str, Any]:
    delivered = outcome.kind is Kind.DELIVERED
    tried = outcome.kind is not Kind.BEHIND
    wait = retry_in(1, _chance()) if tried and not delivered else None
    return {
        "ids": new_id(),
        "regions": event.region,
        "event_ids": event.event_id,
        "types": event.type,
        "subjects": event.subject,
        "versions": event.version,
        "bodies": event.body,
        "states": "delivered" if delivered else "parked",
        "attempts": int(tried),
        "statuses": outcome.status,
        "errors": outcome.error,
        "next_attempts": None if wait is None else work.now + wait,
    }


def _event(row: RowMapping) -> Event:
    return Event(row["event_id"], row["type"], row["subject"], row["event_version"], row["region"], row["body"])


def _tried(course: Course[Event], event: Event) -> Outcome | None:
    """The outcome of a parked event that counts as an attempt."""
    outcome = course.settled(event)
    return None if outcome is None or outcome.kind is Kind.BEHIND else outcome


def _state_after(attempts: int, outcome: Outcome) -> str:
    if outcome.kind is Kind.DELIVERED:
        return "delivered"
    return "dead" if retry_in(attempts, 0) is None else "parked"


def _worst(course: Course[Event]) -> str:
    failures = [one for one in course.outcomes.values() if one.kind in (Kind.UNAVAILABLE, Kind.REFUSED)]
    return next((one.error or str(one.status) for one in failures), "unreachable")


def _chance() -> float:
    return random.random()  # noqa: S311 - spreads retries, guards nothing
