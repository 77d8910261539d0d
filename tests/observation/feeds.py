"""What other services tell observation, written through their own contexts, and what came of it."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from shared.contracts.gateway import Message
from shared.contracts.registry import Resident, Tag, TagKind
from shared.contracts.resource import Resource, owner_of
from shared.contracts.testing import Outcome, PoolSize, Result, Sample, Tube
from shared.core import clock
from shared.core.ids import new_id
from shared.core.settings import Service
from shared.feed.reader import Reader
from tests.harness import District

GRID = "3505820050010101"
OTHER_GRID = "3505820050020201"


def resident(
    id: UUID,  # noqa: A002
    household: UUID | None,
    *tags: TagKind,
    region: str = GRID,
    version: int = 1,
    state: Literal["active", "closed"] = "active",
) -> Resident:
    """A resident as the registry publishes one."""
    kept = tuple(Tag(kind=tag) for tag in tags)
    return Resident(id=id, version=version, region=region, state=state, household_id=household, tags=kept)


def tube(
    id: UUID,  # noqa: A002
    people: Sequence[UUID],
    outcome: Outcome | None,
    *,
    version: int = 1,
    capacity: PoolSize = 1,
    sampled_at: datetime | None = None,
    drill: bool = False,
    held: bool = False,
    region: str = GRID,
) -> Tube:
    """A tube as testing publishes one."""
    sampled = sampled_at or clock.now() - timedelta(hours=2)
    result = (
        Result(outcome=outcome, revision=version, tested_at=sampled + timedelta(hours=1), reported_at=clock.now())
        if outcome
        else None
    )
    return Tube(
        id=id,
        version=version,
        region=region,
        campaign_id=new_id(),
        number=f"T{id.hex[-8:]}",
        capacity=capacity,
        people="single" if capacity == 1 and len(set(people)) < 2 else "pool",
        state="resulted" if result else "received",
        drill=drill,
        samples=tuple(Sample(id=new_id(), resident_id=one, sampled_at=sampled) for one in people),
        missing=1 if held else 0,
        held=held,
        laboratory="lab-one",
        result=result,
    )


def message(
    kind: str,
    referral_id: object,
    *,
    source: Literal["desk_120", "hospital", "municipal"] = "desk_120",
    party: str | None = None,
    at: datetime | None = None,
    received_at: datetime | None = None,
    region: str = "350582005",
    **data: Any,
) -> Message:
    """A message as the gateway publishes one."""
    id_ = new_id()
    occurred_at = at or clock.now()
    return Message(
        id=id_,
        version=1,
        region=region,
        source=source,
        party=party or {"hospital": "hospital-one"}.get(source, source),
        message_id=f"msg_{id_.hex}",
        kind=kind,
        occurred_at=occurred_at,
        received_at=received_at or max(occurred_at, clock.now()),
        data={"referral_id": str(referral_id), **data},
    )


async def publish(district: District, *resources: Resource) -> None:
    """Put resources on their owners' feeds, each in a transaction of its own."""
    for resource in resources:
        async with district.contexts[owner_of(resource.type)].system_unit_of_work() as uow:
            uow.publish_all([resource], change="test")
    for owner in {owner_of(resource.type) for resource in resources}:
        await _readable(district, owner)


async def _readable(district: District, owner: str) -> None:
    """Wait until a feed serves all it holds: a transaction of another test in the same cluster may hold it back."""
    for _ in range(2_000):
        (row,) = await district.sql(
            f"SELECT count(*) AS waiting FROM {owner}.feed WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())"
        )
        if row["waiting"] == 0:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"a transaction holds back the feed of {owner}")


async def publish_to_observation(district: District, *resources: Resource) -> None:
    """Publish, and let observation read all of it."""
    await publish(district, *resources)
    await district.drain("observation")


async def drain_at_once(district: District) -> None:
    """Let observation read all its feeds at the same time, as its worker does."""
    owners: tuple[Service, ...] = ("registry", "testing", "gateway")
    readers = [Reader(district.contexts["observation"], o, district.workers["observation"].reactions) for o in owners]
    await asyncio.gather(*(reader.drain() for reader in readers))


async def orders_of(district: District, people: Iterable[UUID], state: str = "open") -> dict[UUID, Any]:
    """The orders of people in a state, by person, as the database has them."""
    rows = await district.sql(
        "SELECT * FROM observation.orders WHERE resident_id = ANY($1) AND state = $2", list(people), state
    )
    found = {row["resident_id"]: row for row in rows}
    assert len(found) == len(rows), "a person has more than one order in this state"
    return found


async def referrals_of(district: District, people: Iterable[UUID]) -> list[Any]:
    """All referrals of people, oldest first."""
    return await district.sql(
        "SELECT * FROM observation.referrals WHERE resident_id = ANY($1) ORDER BY seq", list(people)
    )


async def dead_letters(district: District) -> list[Any]:
    """What observation could not handle."""
    return await district.sql("SELECT type, error FROM observation.feed_parked")


async def published(district: District, type_name: str, subject: UUID) -> list[Any]:
    """What observation's feed says of one thing, in order."""
    return await district.sql(
        "SELECT version, change, urgent, data FROM observation.feed WHERE type = $1 AND subject = $2 ORDER BY version",
        type_name,
        subject,
    )


def shanghai(text: str) -> datetime:
    """An instant written as the district's clocks show it: `2021-01-21 23:59`."""
    return datetime.fromisoformat(f"{text}+08:00").astimezone(UTC)
