"""The door: every answer is a visit on disk, once, whatever happens to connections, callers and repetitions."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from services.gateway.batcher import connector
from services.gateway.codes.policy import Colour
from services.gateway.codes.rules import Decision, colour_at
from services.gateway.verifications.door import Scan, VerificationBatcher, Visit, batcher_over
from services.gateway.verifications.problems import ScanIdTaken, ServicePointNotFound
from services.gateway.verifications.rules import Why, decide, situation, tenths
from shared.core.ids import new_id
from shared.problems import Unavailable
from tests.gateway.doors import (
    GREEN,
    NOW,
    PASS,
    POINTS,
    POLICIES,
    RED,
    REGION,
    TURN_BACK,
    YELLOW,
    add_code,
    scan_of,
    visits,
)
from tests.until import until


async def test_the_statement_says_what_the_rules_say(door: VerificationBatcher, owner: asyncpg.Connection) -> None:
    """Every colour with every end, every age of negative, every temperature, at every point."""
    hour = timedelta(hours=1)
    ends = [None, NOW - hour, NOW, NOW + timedelta(microseconds=1), NOW + hour]
    decisions = [Decision(colour, None, None, None, (), None) for colour in Colour]
    decisions += [Decision(YELLOW, end, GREEN, end, (), None) for end in ends if end]
    decisions += [
        Decision(RED, end, YELLOW, green, (), None) for end in ends if end for green in ends if not green or green > end
    ]
    decisions += [Decision(RED, end, GREEN, end, (), None) for end in ends if end]
    negatives = [None, NOW - 48 * hour - timedelta(microseconds=1), NOW - 48 * hour, NOW - hour]
    people: list[tuple[UUID, Colour | None, datetime | None]] = [(new_id(), None, None)]
    for made, negative in itertools.product(decisions, negatives):
        ending = {"until": made.until, "colour_after": made.colour_after, "green_from": made.green_from}
        resident = await add_code(owner, made.colour, **ending, last_negative=negative)
        people.append((resident, colour_at(made, NOW), negative))
    cases = list(itertools.product(people, POLICIES, [None, 36.5, 37.2, 37.3, 39.0]))
    scans = [scan_of(who, point, None if heat is None else tenths(heat)) for (who, _, _), point, heat in cases]
    answers = await asyncio.gather(*map(door.ask, scans))
    for ((_, colour, negative), point, heat), visit in zip(cases, answers, strict=True):
        expected = decide(situation(colour, negative, heat, POLICIES[point], NOW), POLICIES[point])
        assert (visit.colour, visit.decided) == (colour or 0, expected), (colour, negative, heat, point)
    assert await visits(owner) == len(scans) > 1_500


async def test_a_visit_is_on_disk_before_its_answer(door: VerificationBatcher, owner: asyncpg.Connection) -> None:
    scan = scan_of(await add_code(owner, GREEN), temperature=365)
    said = await door.ask(scan)
    row = await owner.fetchrow("select * from gateway.visits where scan_id = $1", scan.scan_id)
    assert dict(row) == {
        "scan_id": scan.scan_id,
        "at": NOW,
        "point_id": scan.point_id,
        "resident_id": scan.resident_id,
        "shown_by": None,
        "region": REGION,
        "colour": 1,
        "outcome": said.outcome,
        "temperature_tenths": 365,
        "receipt_seconds": 600,
        "decided_at": NOW,
    }


async def test_a_scan_sent_again_is_answered_as_before(door: VerificationBatcher, owner: asyncpg.Connection) -> None:
    scan = scan_of(await add_code(owner, GREEN))
    first = await door.ask(scan)
    await owner.execute("update gateway.codes set colour = 3")
    assert await door.ask(scan) == first
    assert first.decided == (PASS, Why.IN_ORDER)
    assert (await door.ask(scan_of(scan.resident_id))).decided == (TURN_BACK, Why.COLOUR)
    assert await visits(owner) == 2


async def test_a_hundred_repetitions_at_once_at_two_doors_are_one_visit(
    door: VerificationBatcher, door_url: str, owner: asyncpg.Connection
) -> None:
    people = [await add_code(owner, GREEN) for _ in range(10)]
    scans = [scan_of(who) for who in people] * 10
    async with batcher_over(connector(door_url), lambda: NOW + timedelta(seconds=1), largest_batch=7) as second:
        half = asyncio.gather(*map(second.ask, reversed(scans)))
        answers = [*await asyncio.gather(*map(door.ask, scans)), *await half]
    assert len(set(answers)) == len(people) == await visits(owner)


async def test_a_scan_is_filed_by_its_own_day(door: VerificationBatcher, owner: asyncpg.Connection) -> None:
    """Made before midnight in Shanghai, sent before and again after it: one visit, of the day it was made."""
    scan = scan_of(new_id(), at=datetime(2021, 1, 31, 15, 59, 59, tzinfo=UTC))
    assert await door.ask(scan) == await door.ask(scan)
    assert await owner.fetchval("select tableoid::regclass::text from gateway.visits") == "gateway.visits_20210131"
    assert await visits(owner) == 1


async def test_a_scan_id_is_one_persons(door: VerificationBatcher, owner: asyncpg.Connection) -> None:
    scan = scan_of(new_id())
    other = scan._replace(resident_id=new_id())
    elsewhere = scan._replace(point_id=POINTS["gate"])
    both = await asyncio.gather(door.ask(scan), door.ask(other), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in both) == ["ScanIdTaken", "Visit"]
    with pytest.raises(ScanIdTaken):
        await door.ask(elsewhere)
    assert await visits(owner) == 1


async def test_nobody_knows_the_point(door: VerificationBatcher, owner: asyncpg.Connection) -> None:
    good, lost = scan_of(new_id()), scan_of(new_id())._replace(point_id=new_id())
    answers = await asyncio.gather(door.ask(good), door.ask(lost), return_exceptions=True)
    assert isinstance(answers[0], Visit)
    assert isinstance(answers[1], ServicePointNotFound)
    assert await visits(owner) == 1


async def test_one_faulty_scan_fails_alone(door: VerificationBatcher, owner: asyncpg.Connection) -> None:
    scans = [scan_of(new_id(), temperature=444 if n == 37 else 366) for n in range(100)]
    answers = await asyncio.gather(*map(door.ask, scans), return_exceptions=True)
    assert [n for n, answer in enumerate(answers) if not isinstance(answer, Visit)] == [37]
    assert isinstance(answers[37], asyncpg.CheckViolationError)
    assert await visits(owner) == 99


async def test_a_caller_who_leaves_takes_nobody_along(door: VerificationBatcher, owner: asyncpg.Connection) -> None:
    waiting = [asyncio.create_task(door.ask(scan_of(new_id()))) for _ in range(200)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, Visit) for answer in answers[1::2])
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    assert 100 <= await visits(owner) <= 200


async def test_lost_connections_are_made_again(door: VerificationBatcher, owner: asyncpg.Connection) -> None:
    """Those who waited may ask again with the same scan, and whatever was acknowledged is there, once."""
    scans: list[Scan] = []
    failed: list[Scan] = []
    while not failed:  # until a lost connection has met somebody
        await until(lambda: door.ready)
        more = [scan_of(new_id()) for _ in range(2_000)]
        asked = asyncio.gather(*map(door.ask, more), return_exceptions=True)
        for _ in range(3):
            await owner.fetch("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'a_door'")
        answers = await asked
        assert all(isinstance(answer, Visit | Unavailable) for answer in answers)
        failed = [scan for scan, answer in zip(more, answers, strict=True) if not isinstance(answer, Visit)]
        scans += more
    await until(lambda: door.ready)
    for start in range(0, len(failed), 500):
        await asyncio.gather(*map(door.ask, failed[start : start + 500]))
    assert await visits(owner) == len(scans)


async def test_a_connection_lost_while_nobody_asks_is_noticed(
    door: VerificationBatcher, owner: asyncpg.Connection
) -> None:
    await door.ask(scan_of(new_id()))
    there = "select pid from pg_stat_activity where usename = 'a_door'"
    lost = {row["pid"] for row in await owner.fetch(there)}
    await owner.fetch("select pg_terminate_backend(pid, 1000) from pg_stat_activity where usename = 'a_door'")
    async with asyncio.timeout(60):
        while {row["pid"] for row in await owner.fetch(there)} <= lost:  # noqa: ASYNC110 - it is noticed unasked
            await asyncio.sleep(0.02)
    await until(lambda: door.ready)
    assert isinstance(await door.ask(scan_of(new_id())), Visit)


async def test_without_a_database_the_answer_is_not_now_and_at_once() -> None:
    async with batcher_over(connector("postgresql://nobody@/none?host=/nonexistent"), lambda: NOW) as door:
        assert not door.ready
        async with asyncio.timeout(4):  # less than it waits for a database
            with pytest.raises(Unavailable):
                await door.ask(scan_of(new_id()))


async def test_the_door_reads_no_more_than_a_door_needs(door_url: str) -> None:
    connection = await asyncpg.connect(door_url)
    for statement in (
        "select reasons from gateway.codes",
        "select temperature_tenths from gateway.visits",
        "update gateway.codes set colour = 1",
        "delete from gateway.visits",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_the_plan_reads_by_key_however_small_the_tables_were(
    door: VerificationBatcher, owner: asyncpg.Connection
) -> None:
    """A plan made on empty tables, then 200,000 codes without ANALYZE: still no scan of them."""
    await door.ask(scan_of(new_id()))
    await owner.execute(
        "insert into gateway.codes (resident_id, region, colour) select gen_random_uuid(), $1, 1"
        " from generate_series(1, 200000)",
        REGION,
    )
    seq_scans = "select coalesce(sum(seq_scan), 0) from pg_stat_all_tables where relname = 'codes'"
    await owner.execute("select pg_stat_force_next_flush()")
    before = await owner.fetchval(seq_scans)
    for _ in range(20):
        await asyncio.gather(*[door.ask(scan_of(new_id())) for _ in range(50)])
    await asyncio.sleep(1.2)  # the server publishes its counts each second
    await door.ask(scan_of(new_id()))
    await owner.execute("select pg_stat_force_next_flush()")
    assert await owner.fetchval(seq_scans) == before
