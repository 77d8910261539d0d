"""Doors to test: their policies and the tables they see, and scans at them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.gateway.codes.policy import Colour
from services.gateway.tokens.rules import Key
from services.gateway.verifications.door import Scan
from services.gateway.verifications.rules import PointPolicy, Verdict
from shared.core.ids import new_id

GREEN, YELLOW, RED = Colour.GREEN, Colour.YELLOW, Colour.RED
PASS, REGISTER, TURN_BACK = Verdict.PASS, Verdict.REGISTER, Verdict.TURN_BACK
WINDOW = PointPolicy()
STRICT = PointPolicy(negative_within_hours=48)
GATE = PointPolicy(registers=frozenset({YELLOW}), unknown_person=TURN_BACK, without_negative=REGISTER)
CLINIC = PointPolicy(never_refuses=True, negative_within_hours=48)
POLICIES = {"window": WINDOW, "strict": STRICT, "gate": GATE, "clinic": CLINIC}


KEY, OTHER = Key(b"k" * 32), Key(b"o" * 32)
NOW = datetime(2021, 2, 1, 4, 0, tzinfo=UTC)
RECEIPT_SECRETS = {KEY.id: KEY.receipt_secret}


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
create table gateway.feed_epochs (epoch integer primary key);
insert into gateway.feed_epochs values (1);
create table gateway.feed (
    epoch integer not null,
    type text not null,
    subject uuid not null,
    version bigint not null,
    region text not null,
    change text not null,
    urgent boolean not null,
    data json not null
);
create role a_door login password '{password}';
grant usage on schema gateway to a_door;
grant select (resident_id, colour, until, colour_after, green_from, last_negative) on gateway.codes to a_door;
grant select (id, region, outcomes, negative_within, fever_tenths, receipt_seconds, closed_at) on gateway.points
    to a_door;
grant select (scan_id, at, point_id, resident_id, colour, outcome, receipt_seconds, decided_at) on gateway.visits
    to a_door;
grant insert on gateway.visits, gateway.feed to a_door;
grant select on gateway.feed_epochs to a_door;
"""
REGION = "350582005001"
POINTS = {name: UUID(int=0xF000 + n) for n, name in enumerate(POLICIES)}


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
