"""The door: every answer is a visit on disk, once, whatever happens to connections, callers and repetitions."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from deploy import embedded
from services.gateway.codes.policy import Colour
from services.gateway.codes.rules import Decision, colour_at
from services.gateway.tokens.keys import Keys
from services.gateway.tokens.rules import BadToken, Key, Subject, issue
from services.gateway.verifications import receipts
from services.gateway.verifications.batcher import Batcher, RunBatch
from services.gateway.verifications.door import Door, Scan, Visit, connector
from services.gateway.verifications.endpoint import LONGEST_BODY_BYTES, VerificationEndpoint
from services.gateway.verifications.problems import ScanIdTaken, ServicePointNotFound
from services.gateway.verifications.rules import (
    ALL_SITUATIONS,
    Outcome,
    PointPolicy,
    Situation,
    Verdict,
    Why,
    decide,
    made_at,
    outcomes,
    situation,
    tenths,
)
from shared.actors import Actor, Role
from shared.http import handlers, limits
from shared.ids import new_id
from shared.problems import Unavailable

# --- rules: tables

GREEN, YELLOW, RED = Colour.GREEN, Colour.YELLOW, Colour.RED
PASS, REGISTER, TURN_BACK = Verdict.PASS, Verdict.REGISTER, Verdict.TURN_BACK
WINDOW = PointPolicy()
STRICT = PointPolicy(negative_within_hours=48)
GATE = PointPolicy(registers=frozenset({YELLOW}), unknown_person=TURN_BACK, without_negative=REGISTER)
CLINIC = PointPolicy(never_refuses=True, negative_within_hours=48)
POLICIES = {"window": WINDOW, "strict": STRICT, "gate": GATE, "clinic": CLINIC}

TABLE: list[tuple[str, Colour | None, bool, bool, Verdict, Why]] = [
    ("window", GREEN, False, False, PASS, Why.IN_ORDER),
    ("window", GREEN, True, False, PASS, Why.IN_ORDER),
    ("window", GREEN, False, True, TURN_BACK, Why.FEVER),
    ("window", YELLOW, True, False, TURN_BACK, Why.COLOUR),
    ("window", RED, True, True, TURN_BACK, Why.COLOUR),
    ("window", None, False, False, REGISTER, Why.UNKNOWN_PERSON),
    ("window", None, False, True, TURN_BACK, Why.FEVER),
    ("strict", GREEN, True, False, PASS, Why.IN_ORDER),
    ("strict", GREEN, False, False, TURN_BACK, Why.NEGATIVE_MISSING),
    ("strict", GREEN, False, True, TURN_BACK, Why.FEVER),
    ("strict", YELLOW, True, False, TURN_BACK, Why.COLOUR),
    ("strict", None, False, False, REGISTER, Why.UNKNOWN_PERSON),
    ("gate", YELLOW, False, False, REGISTER, Why.COLOUR),
    ("gate", YELLOW, False, True, TURN_BACK, Why.FEVER),
    ("gate", RED, True, False, TURN_BACK, Why.COLOUR),
    ("gate", None, False, False, TURN_BACK, Why.UNKNOWN_PERSON),
    ("clinic", GREEN, True, False, PASS, Why.IN_ORDER),
    ("clinic", GREEN, False, False, PASS, Why.NEGATIVE_MISSING),
    ("clinic", RED, False, True, PASS, Why.COLOUR),
    ("clinic", GREEN, True, True, PASS, Why.FEVER),
    ("clinic", None, False, False, PASS, Why.UNKNOWN_PERSON),
]


@pytest.mark.parametrize(("policy", "colour", "recent", "fever", "verdict", "why"), TABLE)
def test_decisions(policy: str, colour: Colour | None, recent: bool, fever: bool, verdict: Verdict, why: Why) -> None:
    assert decide(Situation(colour, recent, fever), POLICIES[policy]) == (verdict, why)


any_policy = st.builds(
    lambda colours, **rest: PointPolicy(
        passes=frozenset(c for c, kind in zip(Colour, colours, strict=True) if kind == 0),
        registers=frozenset(c for c, kind in zip(Colour, colours, strict=True) if kind == 1),
        **rest,
    ),
    colours=st.tuples(*[st.integers(0, 2)] * 3),
    negative_within_hours=st.none() | st.integers(1, 720),
    without_negative=st.sampled_from(Verdict),
    fever_celsius=st.integers(360, 400).map(lambda t: t / 10),
    with_fever=st.sampled_from(Verdict),
    unknown_person=st.sampled_from(Verdict),
)


@given(any_policy, st.sampled_from(ALL_SITUATIONS))
def test_a_fever_or_a_missing_test_never_helps(policy: PointPolicy, at: Situation) -> None:
    said = decide(at, policy).verdict
    assert decide(at._replace(fever=True), policy).verdict >= said
    assert decide(at._replace(negative_is_recent=True), policy).verdict <= said


@given(any_policy, st.sampled_from(ALL_SITUATIONS))
def test_a_colour_that_is_not_accepted_never_passes(policy: PointPolicy, at: Situation) -> None:
    if at.colour is not None and at.colour not in policy.passes:
        assert decide(at, policy).verdict is not PASS


@given(any_policy)
def test_a_point_keeps_its_sixteen_outcomes(policy: PointPolicy) -> None:
    kept = outcomes(policy)
    assert len(kept) == 16
    for at in ALL_SITUATIONS:
        assert Outcome.of(kept[at.number]) == decide(at, policy)


@pytest.mark.parametrize(
    "wrong",
    [
        {"registers": frozenset({GREEN})},
        {"negative_within_hours": 0},
        {"negative_within_hours": 721},
        {"fever_celsius": 35.9},
        {"fever_celsius": 40.1},
    ],
)
def test_a_point_policy_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"colour|negative|fever"):
        PointPolicy(**wrong)


def test_tenths_are_exact() -> None:
    assert [tenths(t) for t in (37.3, 37.29, 36.0, 37.25, 40.04)] == [373, 373, 360, 372, 400]
    assert situation(GREEN, None, 37.3, WINDOW, NOW).fever
    assert not situation(GREEN, None, 37.2, WINDOW, NOW).fever


def test_the_time_inside_a_scan_id() -> None:
    assert made_at(scan_id_at(NOW)) == NOW
    with pytest.raises(ValueError, match="UUIDv7"):
        made_at(UUID(int=0x0188_7777_7777_4777_8777_7777_7777_7777))


# --- receipts

KEY, OTHER = Key(b"k" * 32), Key(b"o" * 32)
NOW = datetime(2021, 2, 1, 4, 0, tzinfo=UTC)
RECEIPT = receipts.Receipt(UUID(int=1), UUID(int=2), UUID(int=3), NOW)
RECEIPT_SECRETS = {KEY.id: KEY.receipt_secret}


def test_a_receipt_is_good_for_minutes() -> None:
    text = receipts.write(RECEIPT, KEY)
    assert receipts.read(text, RECEIPT_SECRETS, NOW + timedelta(minutes=9, seconds=59)) == RECEIPT
    with pytest.raises(BadToken, match="expired"):
        receipts.read(text, RECEIPT_SECRETS, NOW + timedelta(minutes=10))


def test_any_character_of_a_receipt_counts() -> None:
    text = receipts.write(RECEIPT, KEY)
    for place in range(len(text)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(BadToken):
            receipts.read(changed, RECEIPT_SECRETS, NOW)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "malformed"),
        (receipts.write(RECEIPT, KEY)[:-1], "malformed"),
        (receipts.write(RECEIPT, OTHER), "unknown_key"),
        (issue(Subject(UUID(int=1), GREEN), KEY, NOW), "malformed"),
    ],
)
def test_what_is_no_receipt_of_ours(text: str, fault: str) -> None:
    with pytest.raises(BadToken, match=fault):
        receipts.read(text, RECEIPT_SECRETS, NOW)


# --- the engine, on a real database

TABLES = """
create schema gateway;
create table gateway.codes (
    resident_id uuid primary key,
    region text collate "C" not null,
    colour smallint not null,
    until timestamptz,
    colour_after smallint,
    green_from timestamptz,
    last_negative timestamptz,
    reasons text not null default 'nobody at a door may read this'
);
create table gateway.points (
    id uuid primary key,
    region text collate "C" not null,
    outcomes bytea not null check (length(outcomes) = 16),
    negative_within interval,
    fever_tenths smallint not null,
    receipt_seconds integer not null default 600,
    closed_at timestamptz
);
create table gateway.visits (
    scan_id uuid not null,
    at timestamptz not null,
    point_id uuid not null,
    resident_id uuid not null,
    shown_by uuid,
    region text collate "C" not null,
    colour smallint not null,
    outcome smallint not null,
    temperature_tenths smallint check (temperature_tenths <> 444),
    receipt_seconds integer not null,
    decided_at timestamptz not null,
    primary key (at, scan_id)
) partition by range (at);
create table gateway.visits_20210131 partition of gateway.visits
    for values from ('2021-01-31 00:00+08') to ('2021-02-01 00:00+08');
create table gateway.visits_20210201 partition of gateway.visits
    for values from ('2021-02-01 00:00+08') to ('2021-02-02 00:00+08');
create table gateway.visits_other partition of gateway.visits default;
create role a_door login password '{password}';
grant usage on schema gateway to a_door;
grant select (resident_id, colour, until, colour_after, green_from, last_negative) on gateway.codes to a_door;
grant select (id, region, outcomes, negative_within, fever_tenths, receipt_seconds, closed_at) on gateway.points
    to a_door;
grant select (scan_id, at, point_id, resident_id, colour, outcome, receipt_seconds, decided_at) on gateway.visits
    to a_door;
grant insert on gateway.visits to a_door;
"""
REGION = "350582005001"
POINTS = {name: UUID(int=0xF000 + n) for n, name in enumerate(POLICIES)}


@pytest.fixture(scope="module")
def owner_url() -> Iterator[str]:
    with embedded.temporary() as servers:
        yield servers.owner_url


@pytest.fixture(scope="module")
async def door_url(owner_url: str) -> str:
    """Where the door connects, as a role that may do nothing else."""
    password = secrets.token_hex(8)
    owner = await asyncpg.connect(owner_url)
    await owner.execute(TABLES.format(password=password))
    for name, policy in POLICIES.items():
        hours = policy.negative_within_hours
        within = None if hours is None else timedelta(hours=hours)
        row = (POINTS[name], REGION, outcomes(policy), within, policy.fever_tenths)
        await owner.execute("insert into gateway.points values ($1, $2, $3, $4, $5)", *row)
    await owner.close()
    at = urlsplit(owner_url)
    return f"postgresql://a_door:{password}@{at.path}?{at.query}"


@pytest.fixture
async def owner(owner_url: str, door_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(owner_url)
    yield connection
    await connection.execute("truncate gateway.visits, gateway.codes")
    await connection.close()


@pytest.fixture
async def door(door_url: str, owner: asyncpg.Connection) -> AsyncIterator[Door]:
    async with Door(connector(door_url), lambda: NOW) as door:
        yield door


def scan_id_at(at: datetime) -> UUID:
    """A fresh scan id made at another time than now."""
    low = new_id().int & ((1 << 80) - 1)
    return UUID(int=round(at.timestamp() * 1000) << 80 | low)


def scan_of(resident: UUID, point: str = "window", temperature: int | None = None, at: datetime = NOW) -> Scan:
    return Scan(scan_id_at(at), at, POINTS[point], resident, None, temperature)


async def add_code(owner: asyncpg.Connection, colour: Colour, **columns: Any) -> UUID:
    resident = new_id()
    row = {"resident_id": resident, "region": REGION, "colour": int(colour)} | columns
    places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    await owner.execute(f"insert into gateway.codes ({', '.join(row)}) values ({places})", *row.values())
    return resident


async def visits(owner: asyncpg.Connection) -> int:
    return int(await owner.fetchval("select count(*) from gateway.visits"))


async def test_the_statement_says_what_the_rules_say(door: Door, owner: asyncpg.Connection) -> None:
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
    answers = await asyncio.gather(*map(door.verify, scans))
    for ((_, colour, negative), point, heat), visit in zip(cases, answers, strict=True):
        expected = decide(situation(colour, negative, heat, POLICIES[point], NOW), POLICIES[point])
        assert (visit.colour, visit.said) == (colour or 0, expected), (colour, negative, heat, point)
    assert await visits(owner) == len(scans) > 1_500


async def test_a_visit_is_on_disk_before_its_answer(door: Door, owner: asyncpg.Connection) -> None:
    scan = scan_of(await add_code(owner, GREEN), temperature=365)
    said = await door.verify(scan)
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


async def test_a_scan_sent_again_is_answered_as_before(door: Door, owner: asyncpg.Connection) -> None:
    scan = scan_of(await add_code(owner, GREEN))
    first = await door.verify(scan)
    await owner.execute("update gateway.codes set colour = 3")
    assert await door.verify(scan) == first
    assert first.said == (PASS, Why.IN_ORDER)
    assert (await door.verify(scan_of(scan.resident_id))).said == (TURN_BACK, Why.COLOUR)
    assert await visits(owner) == 2


async def test_a_hundred_repetitions_at_once_at_two_doors_are_one_visit(
    door: Door, door_url: str, owner: asyncpg.Connection
) -> None:
    people = [await add_code(owner, GREEN) for _ in range(10)]
    scans = [scan_of(who) for who in people] * 10
    async with Door(connector(door_url), lambda: NOW + timedelta(seconds=1), largest_batch=7) as second:
        half = asyncio.gather(*map(second.verify, reversed(scans)))
        answers = [*await asyncio.gather(*map(door.verify, scans)), *await half]
    assert len(set(answers)) == len(people) == await visits(owner)


async def test_a_scan_is_filed_by_its_own_day(door: Door, owner: asyncpg.Connection) -> None:
    """Made before midnight in Shanghai, sent before and again after it: one visit, of the day it was made."""
    scan = scan_of(new_id(), at=datetime(2021, 1, 31, 15, 59, 59, tzinfo=UTC))
    assert await door.verify(scan) == await door.verify(scan)
    assert await owner.fetchval("select tableoid::regclass::text from gateway.visits") == "gateway.visits_20210131"
    assert await visits(owner) == 1


async def test_a_scan_id_is_one_persons(door: Door, owner: asyncpg.Connection) -> None:
    scan = scan_of(new_id())
    other = scan._replace(resident_id=new_id())
    elsewhere = scan._replace(point_id=POINTS["gate"])
    both = await asyncio.gather(door.verify(scan), door.verify(other), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in both) == ["ScanIdTaken", "Visit"]
    with pytest.raises(ScanIdTaken):
        await door.verify(elsewhere)
    assert await visits(owner) == 1


async def test_nobody_knows_the_point(door: Door, owner: asyncpg.Connection) -> None:
    good, lost = scan_of(new_id()), scan_of(new_id())._replace(point_id=new_id())
    answers = await asyncio.gather(door.verify(good), door.verify(lost), return_exceptions=True)
    assert isinstance(answers[0], Visit)
    assert isinstance(answers[1], ServicePointNotFound)
    assert await visits(owner) == 1


async def test_one_faulty_scan_fails_alone(door: Door, owner: asyncpg.Connection) -> None:
    scans = [scan_of(new_id(), temperature=444 if n == 37 else 366) for n in range(100)]
    answers = await asyncio.gather(*map(door.verify, scans), return_exceptions=True)
    assert [n for n, answer in enumerate(answers) if not isinstance(answer, Visit)] == [37]
    assert isinstance(answers[37], asyncpg.CheckViolationError)
    assert await visits(owner) == 99


async def test_a_caller_who_leaves_takes_nobody_along(door: Door, owner: asyncpg.Connection) -> None:
    waiting = [asyncio.create_task(door.verify(scan_of(new_id()))) for _ in range(200)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, Visit) for answer in answers[1::2])
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    assert 100 <= await visits(owner) <= 200


async def test_lost_connections_are_made_again(door: Door, owner: asyncpg.Connection) -> None:
    """Those who waited may ask again with the same scan, and whatever was acknowledged is there, once."""
    scans = [scan_of(new_id()) for _ in range(2_000)]
    asked = asyncio.gather(*map(door.verify, scans), return_exceptions=True)
    for _ in range(3):
        await owner.fetch("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'a_door'")
    answers = await asked
    failed = [scan for scan, answer in zip(scans, answers, strict=True) if not isinstance(answer, Visit)]
    assert failed
    assert all(isinstance(answer, Visit | Unavailable) for answer in answers)
    async with asyncio.timeout(10):
        while not door.ready:  # noqa: ASYNC110 - it is readiness that is tested
            await asyncio.sleep(0.02)
    for start in range(0, len(failed), 500):
        await asyncio.gather(*map(door.verify, failed[start : start + 500]))
    assert await visits(owner) == len(scans)


async def test_a_connection_lost_while_nobody_asks_is_noticed(door: Door, owner: asyncpg.Connection) -> None:
    await door.verify(scan_of(new_id()))
    await owner.fetch("select pg_terminate_backend(pid, 1000) from pg_stat_activity where usename = 'a_door'")
    await asyncio.sleep(0.5)
    assert door.ready
    assert isinstance(await door.verify(scan_of(new_id())), Visit)


async def test_without_a_database_the_answer_is_not_now_and_at_once() -> None:
    async with Door(connector("postgresql://nobody@/none?host=/nonexistent"), lambda: NOW) as door:
        assert not door.ready
        async with asyncio.timeout(0.5):
            with pytest.raises(Unavailable):
                await door.verify(scan_of(new_id()))


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


async def test_the_plan_reads_by_key_however_small_the_tables_were(door: Door, owner: asyncpg.Connection) -> None:
    """A plan made on empty tables, then 200,000 codes without ANALYZE: still no scan of them."""
    await door.verify(scan_of(new_id()))
    await owner.execute(
        "insert into gateway.codes (resident_id, region, colour) select gen_random_uuid(), $1, 1"
        " from generate_series(1, 200000)",
        REGION,
    )
    seq_scans = "select coalesce(sum(seq_scan), 0) from pg_stat_all_tables where relname = 'codes'"
    await owner.execute("select pg_stat_force_next_flush()")
    before = await owner.fetchval(seq_scans)
    for _ in range(20):
        await asyncio.gather(*[door.verify(scan_of(new_id())) for _ in range(50)])
    await asyncio.sleep(1.2)  # the server publishes its counts each second
    await door.verify(scan_of(new_id()))
    await owner.execute("select pg_stat_force_next_flush()")
    assert await owner.fetchval(seq_scans) == before


# --- the batcher alone

Sizes = list[int]


def slow_batcher(url: str, sizes: Sizes, **options: Any) -> Batcher[int, int]:
    """Doubles numbers, 50 ms a batch."""

    async def prepare(connection: asyncpg.Connection) -> RunBatch[int, int]:
        async def run(items: Sequence[int]) -> Sequence[int | Exception]:
            sizes.append(len(items))
            await connection.fetchval("select pg_sleep(0.05)")
            return [item * 2 for item in items]

        return run

    return Batcher(connector(url), prepare, **options)


async def test_a_lone_request_goes_at_once_and_the_rest_go_together(door_url: str) -> None:
    sizes: Sizes = []
    batcher = slow_batcher(door_url, sizes, connections=1, largest_batch=40)
    await batcher.start()
    first = asyncio.create_task(batcher.ask(1))
    await asyncio.sleep(0.02)
    rest = await asyncio.gather(*map(batcher.ask, range(100)))
    assert await first == 2
    assert rest == [2 * n for n in range(100)]
    assert sizes == [1, 40, 40, 20]
    await batcher.stop()


async def test_two_connections_work_side_by_side(door_url: str) -> None:
    sizes: Sizes = []
    batcher = slow_batcher(door_url, sizes, connections=2)
    await batcher.start()
    first = asyncio.create_task(batcher.ask(1))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(batcher.ask(2))
    await asyncio.sleep(0.01)
    third = asyncio.gather(batcher.ask(3), batcher.ask(4))
    assert (await first, await second, await third) == (2, 4, [6, 8])
    assert sizes == [1, 1, 2]
    await batcher.stop()


async def test_the_queue_is_bounded_and_says_when_to_come_again(door_url: str) -> None:
    batcher = slow_batcher(door_url, [], connections=1, longest_queue=10)
    await batcher.start()
    answers = await asyncio.gather(*map(batcher.ask, range(15)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Unavailable)]
    assert len(refused) == 5
    assert all(answer.wait for answer in refused)
    assert await batcher.ask(21) == 42
    await batcher.stop()


async def test_a_batch_that_hangs_is_given_up(door_url: str) -> None:
    batcher = slow_batcher(door_url, [], connections=1, timeout_seconds=0.03)
    await batcher.start()
    with pytest.raises(Unavailable):
        await batcher.ask(1)
    await batcher.stop()


async def test_stopping_answers_those_who_wait_and_lets_nobody_in(door_url: str) -> None:
    batcher = slow_batcher(door_url, [], connections=2, largest_batch=10)
    await batcher.start()
    waiting = [asyncio.create_task(batcher.ask(n)) for n in range(50)]
    await asyncio.sleep(0.01)
    await batcher.stop()
    assert [await task for task in waiting] == [2 * n for n in range(50)]
    with pytest.raises(Unavailable):
        await batcher.ask(1)


async def test_a_batch_with_too_few_answers_is_nobodys_answer(door_url: str) -> None:
    async def prepare(_: asyncpg.Connection) -> RunBatch[int, int]:
        async def run(items: Sequence[int]) -> Sequence[int | Exception]:
            return []

        return run

    batcher: Batcher[int, int] = Batcher(connector(door_url), prepare, connections=1)
    await batcher.start()
    answers = await asyncio.gather(*map(batcher.ask, range(3)), return_exceptions=True)
    assert all(isinstance(answer, AssertionError) for answer in answers)
    await batcher.stop()


# --- over HTTP

PATH = "/gateway/v1/verifications"
ACTORS = {
    "doorkeeper": Actor("d", Role.DOORKEEPER, party=str(POINTS["window"])),
    "checkpoint": Actor("c", Role.CHECKPOINT, party=str(POINTS["window"])),
    "clinic": Actor("h", Role.CHECKPOINT, party=str(POINTS["clinic"])),
    "homeless": Actor("n", Role.DOORKEEPER, party=""),
    "lost": Actor("l", Role.DOORKEEPER, party=str(UUID(int=9))),
    "resident": Actor("r", Role.RESIDENT, residents=(UUID(int=1),)),
}


def app_of(door: Door) -> FastAPI:
    app = FastAPI()
    endpoint = VerificationEndpoint(
        door,
        authenticate=lambda scope: ACTORS[dict(scope["headers"])[b"x-actor"].decode()],
        keys=Keys(KEY),
        now=lambda: NOW,
    )
    app.router.routes.append(endpoint.route())
    handlers.install(app)
    limits.install(app, request_timeout_seconds=10)
    return app


@pytest.fixture
async def http(door: Door) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app_of(door), raise_app_exceptions=False)
    headers = {"x-actor": "doorkeeper", "accept-language": "en"}
    async with httpx.AsyncClient(transport=transport, base_url="http://door", headers=headers) as client:
        yield client


def request_of(resident: UUID, **changes: Any) -> dict[str, Any]:
    token = issue(Subject(resident, GREEN), KEY, NOW)
    return {"scan_id": str(scan_id_at(NOW)), "token": token, "temperature_celsius": 36.5} | changes


async def test_green_passes_with_a_receipt(http: httpx.AsyncClient, owner: asyncpg.Connection) -> None:
    resident = await add_code(owner, GREEN)
    asked = request_of(resident)
    answer = await http.post(PATH, json=asked)
    assert answer.status_code == 201
    said = answer.json()
    receipt = receipts.read(said.pop("receipt"), RECEIPT_SECRETS, NOW)
    assert receipt == (resident, POINTS["window"], UUID(asked["scan_id"]), NOW, 600)
    assert said == {
        "scan_id": asked["scan_id"],
        "verdict": "pass",
        "word": "放行",
        "decided_at": "2021-02-01T04:00:00Z",
        "receipt_expires_at": "2021-02-01T04:10:00Z",
    }
    assert (await http.post(PATH, json=asked)).content == answer.content


async def test_the_door_decides_by_the_colour_of_now_not_by_that_of_the_token(
    http: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    asked = request_of(await add_code(owner, RED))
    said = (await http.post(PATH, json=asked)).json()
    assert (said["verdict"], said["word"], said.get("receipt"), said.get("why")) == ("turn_back", "劝返", None, None)


async def test_a_checkpoint_is_told_why_and_a_clinic_refuses_nobody(
    http: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    resident = await add_code(owner, YELLOW)
    said = (await http.post(PATH, json=request_of(resident), headers={"x-actor": "checkpoint"})).json()
    assert (said["verdict"], said["why"]) == ("turn_back", "colour")
    said = (await http.post(PATH, json=request_of(resident), headers={"x-actor": "clinic"})).json()
    assert (said["verdict"], said["why"], "receipt" in said) == ("pass", "colour", True)


async def test_a_fever_is_turned_back_and_a_stranger_registered(http: httpx.AsyncClient, owner: Any) -> None:
    resident = await add_code(owner, GREEN)
    assert (await http.post(PATH, json=request_of(resident, temperature_celsius=37.3))).json()["word"] == "劝返"
    assert (await http.post(PATH, json=request_of(new_id()))).json()["word"] == "登记"


OLD = issue(Subject(UUID(int=1), GREEN), KEY, NOW - timedelta(minutes=3))
FALSE = issue(Subject(UUID(int=1), GREEN), OTHER, NOW)
SOON = issue(Subject(UUID(int=1), GREEN), KEY, NOW + timedelta(minutes=2))
PROBLEMS: list[tuple[dict[str, Any], int, str, str]] = [
    ({"token": OLD}, 422, "code_expired", "#/token"),
    ({"token": FALSE}, 422, "code_forged", "#/token"),
    ({"token": SOON}, 422, "code_not_yet", "#/token"),
    ({"token": "https://example.org"}, 422, "code_malformed", "#/token"),
    ({"token": "x" * 201}, 422, "invalid_input", "#/token"),
    ({"token": 7}, 422, "invalid_input", "#/token"),
    ({"scan_id": "7"}, 422, "invalid_input", "#/scan_id"),
    ({"scan_id": "01777777-7777-4777-8777-777777777777"}, 422, "scan_id_not_v7", "#/scan_id"),
    ({"scan_id": str(scan_id_at(NOW + timedelta(minutes=10)))}, 422, "clock_ahead", "#/scan_id"),
    ({"scan_id": str(scan_id_at(NOW - timedelta(hours=25)))}, 422, "clock_behind", "#/scan_id"),
    ({"temperature_celsius": 52}, 422, "invalid_input", "#/temperature_celsius"),
    ({"colour": "green"}, 422, "invalid_input", "#/colour"),
]


@pytest.mark.parametrize(("changes", "status", "code", "pointer"), PROBLEMS, ids=[f"{p[2]}{p[3]}" for p in PROBLEMS])
async def test_problems(
    http: httpx.AsyncClient,
    owner: asyncpg.Connection,
    changes: dict[str, Any],
    status: int,
    code: str,
    pointer: str,
) -> None:
    answer = await http.post(PATH, json=request_of(UUID(int=1), **changes))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["errors"][0]["pointer"] == pointer
    assert await visits(owner) == 0


WHOLE = b'"scan_id": "01775bbf-4e00-7a9e-afcd-d587dfc3802e", "token": "FX1.x"'


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{%s}" % WHOLE, {}, 422, "code_malformed"),
        (b'{%s, "temperature_celsius": null}' % WHOLE, {}, 422, "code_malformed"),
        (b'{%s, "token": "FX1.y"}' % WHOLE, {}, 400, "malformed_json"),
        (b'{%s, "token" : "FX1.y"}' % WHOLE.replace(b":", b" :"), {}, 400, "malformed_json"),
        (b'{%s, "temperature_celsius" : 36, "temperature_celsius" : null}' % WHOLE, {}, 400, "malformed_json"),
        (b'{"to\\u006ben": "FX1.y", %s}' % WHOLE, {}, 400, "malformed_json"),
        (b"{%s}" % WHOLE.replace(b"FX1.x", b"FX1.\\u0000"), {}, 400, "malformed_json"),
        (b"{%s}" % WHOLE.replace(b"FX1.x", b"FX1.\xff"), {}, 400, "malformed_json"),
        (b"\xef\xbb\xbf{%s}" % WHOLE, {}, 400, "malformed_json"),
        (b"{%s} {}" % WHOLE, {}, 400, "malformed_json"),
        (b"{", {}, 400, "malformed_json"),
        (b'{"token": NaN}', {}, 400, "malformed_json"),
        (b'{"token": "a", "token": "b"}', {}, 400, "malformed_json"),
        (b'{"token": "' + b"x" * LONGEST_BODY_BYTES + b'"}', {}, 413, "payload_too_large"),
        (b"[]", {}, 422, "invalid_input"),
        (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
    ],
)
async def test_bodies(http: httpx.AsyncClient, body: bytes, headers: dict[str, str], status: int, code: str) -> None:
    answer = await http.post(PATH, content=body, headers={"content-type": "application/json"} | headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("actor", "status", "code"),
    [
        ("resident", 403, "forbidden"),
        ("homeless", 404, "service_point_not_found"),
        ("lost", 404, "service_point_not_found"),
    ],
)
async def test_who_may_not(http: httpx.AsyncClient, actor: str, status: int, code: str) -> None:
    answer = await http.post(PATH, json=request_of(UUID(int=1)), headers={"x-actor": actor})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_the_same_scan_id_for_another_person_is_a_conflict(http: httpx.AsyncClient, owner: Any) -> None:
    asked = request_of(new_id())
    assert (await http.post(PATH, json=asked)).status_code == 201
    answer = await http.post(PATH, json=request_of(new_id(), scan_id=asked["scan_id"]))
    assert (answer.status_code, answer.json()["code"]) == (409, "scan_id_taken")
    assert await visits(owner) == 1


async def test_without_a_database_the_door_says_503_and_when_to_try_again() -> None:
    async with Door(connector("postgresql://nobody@/none?host=/nonexistent"), lambda: NOW) as door:
        transport = httpx.ASGITransport(app_of(door))
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            answer = await client.post(PATH, json=request_of(new_id()), headers={"x-actor": "doorkeeper"})
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "unavailable", "1")
