"""The feed: nothing skipped, nothing doubled, the same outcome for every order (invariants 2 and 3)."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from unittest.mock import AsyncMock
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from shared.contracts.registry import Resident
from shared.core.actors import Role
from shared.core.ids import new_id
from shared.database.locks import try_advisory_lock
from shared.database.unit_of_work import UnitOfWork
from shared.feed import log, maintenance
from shared.feed import reader as reading
from shared.feed.reader import IDLE_MOVE_SECONDS, Reader, reacts_to
from shared.jobs.notifications import loop_of
from shared.observability.telemetry import FEED_STALLED
from shared.runtime.context import ServiceContext
from shared.runtime.worker import HELD_UP_SECONDS, Worker, loops_of
from tests.harness import District

KEEP = text("""
    INSERT INTO probe (subject, version, region, effects) SELECT subject, version, region, 1
    FROM unnest(CAST(:subjects AS uuid[]), CAST(:versions AS bigint[]), CAST(:regions AS text[]))
        AS held (subject, version, region)
    ON CONFLICT (subject) DO UPDATE
        SET version = excluded.version, region = excluded.region, effects = probe.effects + 1
""")


async def forget(uow: UnitOfWork, subjects: Sequence[UUID]) -> None:
    await uow.run(text("DELETE FROM probe WHERE subject = ANY(CAST(:subjects AS uuid[]))"), subjects=list(subjects))


@reacts_to(Resident, forget=forget)
async def keep(uow: UnitOfWork, residents: Sequence[Resident]) -> None:
    """What a subscriber would do: hold the newest state of each subject."""
    await uow.run(
        KEEP,
        subjects=[resident.id for resident in residents],
        versions=[resident.version for resident in residents],
        regions=[resident.region for resident in residents],
    )


@pytest.fixture
async def owner(district: District) -> ServiceContext:
    return district.contexts["registry"]


@pytest.fixture
async def reader(district: District, owner: ServiceContext) -> AsyncIterator[Reader]:
    await district.sql("CREATE TABLE testing.probe (subject uuid PRIMARY KEY, version int, region text, effects int)")
    await district.sql("GRANT ALL ON testing.probe TO fangxian_testing_system")
    yield Reader(district.contexts["testing"], "registry", [keep])
    await district.sql("DROP TABLE testing.probe")


def resident(id_: UUID | None = None, version: int = 1, region: str = "3505820050010101") -> Resident:
    return Resident(id=id_ or new_id(), version=version, region=region, state="active", household_id=None)


async def publish(owner: ServiceContext, *residents: Resident, urgent: bool = False) -> None:
    async with owner.system_unit_of_work() as uow:
        uow.publish_all(residents, change="test", urgent=urgent)


async def drain(district: District, reader: Reader) -> int:
    """Read all that is committed: another test worker's transaction may hold it back for a moment."""
    await district.until_served()
    return await reader.drain()


async def held(district: District) -> dict[UUID, tuple[int, int]]:
    rows = await district.sql("SELECT subject, version, effects FROM testing.probe")
    return {row["subject"]: (row["version"], row["effects"]) for row in rows}


async def test_what_is_committed_arrives_once(district: District, owner: ServiceContext, reader: Reader) -> None:
    residents = [resident() for _ in range(1_200)]
    await publish(owner, *residents)
    assert await drain(district, reader) == 1_200
    assert await drain(district, reader) == 0
    assert await held(district) == {one.id: (1, 1) for one in residents}


async def test_any_order_and_any_repetition_have_the_same_outcome(
    district: District, owner: ServiceContext, reader: Reader
) -> None:
    subjects = [new_id() for _ in range(20)]
    history = [resident(id_, version) for id_ in subjects for version in range(1, 6)] * 2
    random.Random(7).shuffle(history)
    for start in range(0, len(history), 9):
        for one in history[start : start + 9]:
            await publish(owner, one)
        await drain(district, reader)
    assert {id_: version for id_, (version, _) in (await held(district)).items()} == dict.fromkeys(subjects, 5)


async def test_a_late_commit_is_waited_for(district: District, owner: ServiceContext, reader: Reader) -> None:
    early, late = resident(), resident()
    async with owner.system_unit_of_work() as slow:
        await slow.run(text("SELECT pg_current_xact_id()"))  # it has its place in the order now, and commits later
        slow.publish_all([late], change="test")
        await publish(owner, early)
        assert await reader.drain() == 0
        assert await held(district) == {}
    await drain(district, reader)
    assert set(await held(district)) == {early.id, late.id}


async def test_what_is_held_up_is_read_without_another_wake_up(
    district: District, owner: ServiceContext, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HELD_UP_SECONDS, "normal", (0.01,) * 3_000)  # however long this takes here
    worker = Worker(reactions=[keep])
    (reading,) = [loop for loop in loops_of(reader.context, worker) if loop.name == loop_of("registry", "normal")]
    one = resident()
    async with owner.system_unit_of_work("slow") as slow:
        await slow.run(text("SELECT pg_current_xact_id()"))
        await publish(owner, one)
        woken = asyncio.create_task(reading.run())
        await asyncio.sleep(0.05)
        assert await held(district) == {}
    await woken
    assert set(await held(district)) == {one.id}


async def test_a_lane_is_looked_at_again_that_another_reader_had(reader: Reader) -> None:
    async with try_advisory_lock(reader.context, "feed:registry:normal"):
        assert await reader.drain(["normal"]) == 0
    assert reader.held_up == {"normal"}
    await reader.drain(["normal"])
    assert reader.held_up == set()


async def test_a_batch_that_is_just_full_is_the_last(
    district: District, owner: ServiceContext, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.feed.reader.BATCH_OF_THE_REGISTRY", 2)
    await publish(owner, *(resident() for _ in range(4)))
    fetch = AsyncMock(side_effect=reader._fetch)
    monkeypatch.setattr(reader, "_fetch", fetch)
    await district.until_served()
    await reader.drain(["normal"])
    assert len(await held(district)) == 4
    assert fetch.await_count == 2


async def test_an_older_version_that_sorts_later_does_not_win(
    district: District, owner: ServiceContext, reader: Reader
) -> None:
    """The causal trap: whoever took its transaction id first may have changed the row last."""
    one = new_id()
    async with owner.system_unit_of_work() as first:
        await first.run(text("SELECT pg_current_xact_id()"))
        await publish(owner, resident(one, 1))
        first.publish_all([resident(one, 2)], change="test")
    await drain(district, reader)
    assert (await held(district))[one][0] == 2


async def test_an_entry_that_cannot_be_handled_is_parked_and_stops_nothing(
    district: District, owner: ServiceContext, reader: Reader
) -> None:
    bad = resident(region="bad")

    @reacts_to(Resident, forget=forget)
    async def fussy(uow: UnitOfWork, residents: Sequence[Resident]) -> None:
        await keep(uow, residents)
        if any(one.region == "bad" for one in residents):
            raise ValueError("cannot handle this one")

    broken = Reader(district.contexts["testing"], "registry", [fussy])
    good = [resident() for _ in range(99)]
    await publish(owner, *good[:50], bad, *good[50:])
    await drain(district, broken)
    assert set(await held(district)) == {one.id for one in good}
    (parked,) = await district.sql("SELECT subject, error FROM testing.feed_parked")
    assert (parked["subject"], parked["error"]) == (bad.id, "ValueError")

    await reader.retry_dead_letters()  # the mended reaction
    assert bad.id in await held(district)
    assert await district.sql("SELECT 1 FROM testing.feed_parked") == []


async def test_a_newer_version_frees_what_is_parked(district: District, owner: ServiceContext, reader: Reader) -> None:
    one = new_id()

    @reacts_to(Resident, forget=forget)
    async def fussy(uow: UnitOfWork, residents: Sequence[Resident]) -> None:
        if any(found.version == 1 for found in residents):
            raise ValueError
        await keep(uow, residents)

    fussy_reader = Reader(district.contexts["testing"], "registry", [fussy])
    await publish(owner, resident(one, 1))
    await drain(district, fussy_reader)
    await publish(owner, resident(one, 2))
    await drain(district, fussy_reader)
    assert (await held(district))[one][0] == 2
    assert await district.sql("SELECT 1 FROM testing.feed_parked") == []


async def test_what_is_transient_is_tried_again_and_never_parked(
    district: District, owner: ServiceContext, reader: Reader
) -> None:
    tries = 0

    @reacts_to(Resident, forget=forget)
    async def unlucky(uow: UnitOfWork, residents: Sequence[Resident]) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise asyncpg.DeadlockDetectedError("unlucky")
        await keep(uow, residents)

    unlucky_reader = Reader(district.contexts["testing"], "registry", [unlucky])
    one = resident()
    await publish(owner, one)
    with pytest.raises(asyncpg.DeadlockDetectedError):
        await drain(district, unlucky_reader)
    assert await held(district) == {}
    await drain(district, unlucky_reader)
    assert await held(district) == {one.id: (1, 1)}


async def test_readers_at_once_have_one_effect(district: District, owner: ServiceContext, reader: Reader) -> None:
    residents = [resident() for _ in range(2_000)]
    await publish(owner, *residents)
    await district.until_served()
    others = [Reader(district.contexts["testing"], "registry", [keep]) for _ in range(2)]
    await asyncio.gather(*(one.drain() for one in [reader, *others]))
    assert await held(district) == {one.id: (1, 1) for one in residents}


async def test_each_lane_has_one_reader(district: District, owner: ServiceContext, reader: Reader) -> None:
    await publish(owner, resident())
    await publish(owner, resident(), urgent=True)
    async with try_advisory_lock(reader.context, "feed:registry:normal") as got:
        assert got
        assert await drain(district, reader) == 1, "the urgent lane is read meanwhile"
    assert await drain(district, reader) == 1


async def test_the_urgent_do_not_wait_behind_the_many(
    district: District, owner: ServiceContext, reader: Reader
) -> None:
    order: list[UUID] = []

    @reacts_to(Resident, forget=forget)
    async def watch(uow: UnitOfWork, residents: Sequence[Resident]) -> None:
        order.extend(one.id for one in residents)

    many, alarm = [resident() for _ in range(3_000)], resident()
    await publish(owner, *many)
    await publish(owner, alarm, urgent=True)
    await drain(district, Reader(district.contexts["testing"], "registry", [watch]))
    assert order[0] == alarm.id
    assert len(order) == 3_001


async def test_a_rebuild_fills_the_model_after_retention_dropped_the_log(
    district: District, owner: ServiceContext, reader: Reader
) -> None:
    gone = resident()
    await publish(owner, gone)
    await drain(district, reader)
    kept = [resident(version=3) for _ in range(3)]
    for one in kept:
        await _keep_resident(district, one)
    await district.sql("INSERT INTO registry.feed_floor (epoch, xid, seq) VALUES (9, '1', 1)")

    await drain(district, reader)
    assert set(await held(district)) == {one.id for one in kept}, "what the owner no longer has is forgotten"
    await district.sql("DELETE FROM registry.feed_floor")
    newest = resident()
    await publish(owner, newest)
    await drain(district, reader)
    assert newest.id in await held(district)


async def test_retention_drops_days_and_remembers_where(district: District, owner: ServiceContext) -> None:
    await district.sql("""
        CREATE TABLE registry.feed_20200101 PARTITION OF registry.feed
            FOR VALUES FROM ('2020-01-01 00:00+08') TO ('2020-01-02 00:00+08')
    """)
    await district.sql(
        """
        INSERT INTO registry.feed (at, epoch, type, subject, version, region, change, urgent, data)
        VALUES ($1, 1, 'registry.resident.v1', $2, 1, '35', 'test', false, '{}')
        """,
        datetime(2020, 1, 1, 12, tzinfo=UTC),
        new_id(),
    )
    await maintenance.keep_partitions(owner)
    assert await district.sql("SELECT to_regclass('registry.feed_20200101') AS found") == [(None,)]
    async with owner.system_unit_of_work() as uow:
        floor = await log.floor(uow.session)
    assert floor is not None
    assert floor.epoch == 1


async def test_days_are_made_ahead(district: District) -> None:
    (row,) = await district.sql("SELECT count(*) AS days FROM pg_inherits WHERE inhparent = 'registry.feed'::regclass")
    assert row["days"] >= 16


async def _keep_resident(district: District, one: Resident) -> None:
    """A resident as the registry itself has it, without a feed entry."""
    await district.sql(
        """
        INSERT INTO registry.residents (
            id, version, region, document_type, document_index, document_number_sealed, name_sealed, birth_date,
            sex, since
        ) VALUES ($1, $2, '350582005001', 10, $3, '', '', '1990-01-01', 'female', now())
        """,
        one.id,
        one.version,
        one.id.bytes,
    )


async def lag_shown(district: District, priority: str) -> float:
    """What the gauge of testing's API says of the registry's feed."""
    answer = await district.caller("testing", Role.STAFF).get("/metrics")
    name = f'fangxian_feed_lag_seconds{{lane="{priority}",owner="registry",service="testing"}} '
    (line,) = [line for line in answer.text.splitlines() if line.startswith(name)]
    return float(line.removeprefix(name))


async def test_the_lag_is_the_age_of_the_oldest_unread_entry(
    district: District, owner: ServiceContext, reader: Reader
) -> None:
    assert await lag_shown(district, "normal") == 0, "nothing is unread"
    await publish(owner, resident())
    await district.sql("UPDATE registry.feed SET at = at - interval '5 minutes'")
    await publish(owner, resident())
    assert 300 <= await lag_shown(district, "normal") < 400
    assert await lag_shown(district, "urgent") == 0
    await drain(district, reader)
    await district.sql("UPDATE testing.feed_cursors SET moved_at = moved_at - interval '1 hour'")
    assert await lag_shown(district, "normal") == 0, "however long ago it was read"


async def test_a_transaction_of_somebody_else_that_holds_up_the_feeds_is_seen(
    district: District, owner: ServiceContext
) -> None:
    """An owner's backup or an operator's psql: a service's own login sees nothing of either."""
    connection = await asyncpg.connect(district.database.owner_url)
    try:
        async with connection.transaction():
            await connection.fetchval("SELECT pg_current_xact_id()")
            await asyncio.sleep(0.2)
            await maintenance.measure(owner, ())
    finally:
        await connection.close()
    assert 0.2 < FEED_STALLED.labels("registry")._value.get() < 60


async def moved_at(district: District) -> datetime:
    (row,) = await district.sql(
        "SELECT moved_at FROM testing.feed_cursors WHERE owner = 'registry' AND lane = 'urgent'"
    )
    return row["moved_at"]


async def test_an_idle_cursor_moves_at_every_look_that_was_due(
    district: District, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr(reading, "time", SimpleNamespace(monotonic=lambda: now))
    await drain(district, reader)
    seen = await moved_at(district)
    now += 1
    await drain(district, reader)
    assert await moved_at(district) == seen, "woken, and there was nothing"
    for _ in range(3):
        now += IDLE_MOVE_SECONDS * 0.9 - 1  # the earliest that a worker looks of itself
        await drain(district, reader)
        assert await moved_at(district) > seen
        seen = await moved_at(district)
        now += 1
