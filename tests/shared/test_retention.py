"""G9: what is past its period is really gone, nothing else is, and two people change a period."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from deploy.audit import export, verify_audit
from services.registry.erasures.rules import outcome_of
from shared.audit import chaining
from shared.audit.heads import head_now, public_keys
from shared.core.actors import Role
from shared.core.clock import day_of
from shared.core.ids import new_id
from shared.core.settings import SERVICES, Service
from tests.harness import District
from tests.registry.people import register

NOW = datetime.now(UTC)
HOLDS = "/registry/v1/legal-holds"

VISIT = """
    INSERT INTO gateway.visits
        (scan_id, at, point_id, resident_id, region, colour, outcome, receipt_seconds, decided_at)
    VALUES (gen_random_uuid(), $1, gen_random_uuid(), $2, '3505820050010101', 1, 1, 600, $1)
"""
TUBE = """
    INSERT INTO testing.tubes (id, region, campaign_id, number, capacity, drill, state, updated_at, laboratory,
        manifest, sealed_at, received_at, outcome, revision, tested_at, reported_at)
    VALUES ($1::uuid, '350582005001', $2, 'T' || $1::uuid::text, 10, false, 'resulted', $3, 'lab-1', '{}', $3, $3,
        'negative', 1, $3, $3)
"""
CAMPAIGN = """
    INSERT INTO testing.campaigns (id, region, name, round, pool_size, opens_at, closes_at, state, drill, expected,
        opened_at, ended_at)
    VALUES ($1, '350582005', 'x', 1, 10, $2::timestamptz - interval '1 day', $2, 'closed', false, 1, $2, $2)
"""
SAMPLE = """
    INSERT INTO testing.samples (id, campaign_id, tube_id, resident_id, region, sampled_at, offline, retest, counted,
        kept_at)
    VALUES (gen_random_uuid(), $1, $2, $3, '350582005001', $4, false, false, true, $4)
"""


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


async def visit(district: District, days: float, resident_id: UUID) -> None:
    await district.sql(VISIT, days_ago(days), resident_id)


async def visitors(district: District) -> set[UUID]:
    return {row["resident_id"] for row in await district.sql("SELECT resident_id FROM gateway.visits")}


async def count_of(district: District, table: str) -> int:
    (row,) = await district.sql(f"SELECT count(*) AS rows FROM {table}")
    return int(row["rows"])


async def test_visits_past_their_period_are_gone_and_no_others(district: District) -> None:
    old, young = new_id(), new_id()
    await visit(district, 28.1, old)
    await visit(district, 27.9, young)
    removed = await district.purge("gateway")
    assert (removed["visits"], await visitors(district)) == (1, {young})
    assert (await district.purge("gateway"))["visits"] == 0
    async with district.caller("gateway", Role.RESIDENT, residents=(young,)) as somebody:
        shown = (await somebody.get("/gateway/v1/retention")).json()
    assert [(one["kind"], one["rows"]) for one in shown["removed"]] == [("visits", 1)]
    assert {one["kind"]: one["days"] for one in shown["periods"]}["visits"] == 28


async def test_batches_go_on_until_nothing_is_left(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.governance.retention.use_cases.BATCH", 3)
    for _ in range(10):
        await visit(district, 40, new_id())
    assert (await district.purge("gateway"))["visits"] == 10
    (row,) = await district.sql("SELECT rows FROM gateway.purges")
    assert row["rows"] == 10


async def test_a_tube_goes_with_its_results_but_never_before_its_samples(district: District) -> None:
    campaign, tube, held = new_id(), new_id(), new_id()
    await district.sql(CAMPAIGN, campaign, days_ago(200))
    await district.sql(TUBE, tube, campaign, days_ago(200))
    await district.sql("INSERT INTO testing.results VALUES ($1, 1, '3505', 'lab-1', 'negative', $2, $2)", tube, NOW)
    for person in (held, new_id()):
        await district.sql(SAMPLE, campaign, tube, person, days_ago(200))
    await district.sql("INSERT INTO testing.legal_holds VALUES (gen_random_uuid(), $1, '3505', $2)", held, days_ago(-1))
    removed = await district.purge("testing")
    assert (removed["samples"], removed["tubes"]) == (1, 0)
    await district.sql("DELETE FROM testing.legal_holds")
    for _ in range(2):
        await district.purge("testing")
    for table in ("samples", "tubes", "results"):
        assert await count_of(district, f"testing.{table}") == 0


@pytest.mark.parametrize("service", SERVICES)
async def test_every_kind_of_data_can_be_purged(district: District, service: Service) -> None:
    removed = await district.purge(service)
    kinds = {row["kind"] for row in await district.sql(f"SELECT kind FROM {service}.retention_periods")}
    assert removed == dict.fromkeys(kinds, 0)
    assert "jobs" in kinds


async def test_nothing_at_run_time_removes_what_is_too_young(district: District) -> None:
    await visit(district, 1, new_id())
    async with district.contexts["gateway"].system_unit_of_work("test") as uow:
        (row,) = await uow.rows(text("SELECT purge_visits(100) AS removed"))
    assert row["removed"] == 0
    for statement in ("UPDATE retention_periods SET days = 1", "DELETE FROM code_changes"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            async with district.contexts["gateway"].system_unit_of_work("test") as uow:
                await uow.run(text(statement))


# Whole partitions -----------------------------------------------------------------------------------------------------

JANUARY = date(2020, 1, 15)
OLD_MONTH = (
    """
    CREATE TABLE IF NOT EXISTS registry.audit_20200101 PARTITION OF registry.audit
        FOR VALUES FROM ('2020-01-01 00:00+08') TO ('2020-02-01 00:00+08')
    """,
    """
    CREATE TABLE IF NOT EXISTS registry.audit_seals_20200101 PARTITION OF registry.audit_seals
        FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')
    """,
)
OLD_ENTRY = """
    INSERT INTO registry.audit
        (at, epoch, kind, operation, target, actor, role, party, scope, purpose, reason, request_id, subjects)
    SELECT $1, max(epoch), 'look', '', '', '', '', '', '', '', '', '', ARRAY[$2::uuid] FROM registry.feed_epochs
"""


async def old_month(district: District, *subjects: UUID) -> None:
    """Entries of January 2020, chained."""
    for statement in OLD_MONTH:
        await district.sql(statement)
    for place, subject in enumerate(subjects):
        await district.sql(OLD_ENTRY, datetime(2020, 1, 15, 9, place, tzinfo=UTC), subject)
    await district.until_served()
    await chaining.chain_entries(district.contexts["registry"])


async def months(district: District) -> int:
    """How many of both tables of January 2020 there are."""
    names = "'registry.audit_20200101', 'registry.audit_seals_20200101'"
    (row,) = await district.sql(f"SELECT count(to_regclass(name)) AS n FROM unnest(ARRAY[{names}]) AS name")
    return int(row["n"])


async def test_an_audit_month_past_its_period_goes_with_its_seals_and_leaves_its_heads(district: District) -> None:
    context = district.contexts["registry"]
    await old_month(district, new_id(), new_id())
    async with context.system_unit_of_work("test") as uow:
        before = await head_now(uow, JANUARY)
    assert (before.size, await months(district)) == (2, 2)
    assert (await district.purge("registry"))["audit"] == 2
    assert await months(district) == 0
    async with context.system_unit_of_work("test") as uow:
        after = await head_now(uow, JANUARY)
    assert (after.size, after.hash) == (before.size, before.hash)
    (entry,) = await district.sql("SELECT kind, reason FROM registry.audit")
    assert tuple(entry) == ("purge", "audit: 2 older than 1095 days")
    assert (await district.purge("registry"))["audit"] == 0


async def test_what_is_left_of_the_audit_still_verifies(district: District) -> None:
    context = district.contexts["registry"]
    await old_month(district, new_id())
    await district.purge("registry")
    await district.until_served()
    await chaining.chain_entries(context)
    days = [row["day"] for row in await district.sql("SELECT DISTINCT day FROM registry.audit_seals")]
    assert days == [day_of(datetime.now(UTC))]
    owner = await asyncpg.connect(district.database.owner_url)
    try:
        async with owner.transaction():
            file = b"".join([line + b"\n" async for line in export.lines(owner, context.signer, days[0])])
    finally:
        await owner.close()
    found, _ = verify_audit.check(file, verify_audit.keys_of({"keys": public_keys(context.signer)}), [])
    assert found == []


@pytest.mark.parametrize("why", ["held", "unsealed"])
async def test_an_audit_month_is_kept_while_it_is_needed(district: District, why: str) -> None:
    context, person = district.contexts["registry"], new_id()
    await old_month(district, person)
    if why == "held":
        values = "gen_random_uuid(), $1, '3505', $2"
        await district.sql(f"INSERT INTO registry.legal_holds VALUES ({values})", person, days_ago(-1))
    else:
        await district.sql(OLD_ENTRY, datetime(2020, 1, 16, tzinfo=UTC), person)
    assert ((await district.purge("registry"))["audit"], await months(district)) == (0, 2)
    await district.sql("DELETE FROM registry.legal_holds")
    await district.until_served()
    await chaining.chain_entries(context)
    assert (await district.purge("registry"))["audit"] == (1 if why == "held" else 2)


@pytest.mark.parametrize("is_held", [False, True], ids=["nobody-held", "somebody-held"])
async def test_days_of_visits_that_hold_nothing_any_more_are_dropped(district: District, is_held: bool) -> None:
    old, person = days_ago(40), new_id()
    day = day_of(old)
    name = f"gateway.visits_{day:%Y%m%d}"
    await district.sql(
        f"CREATE TABLE {name} PARTITION OF gateway.visits "
        f"FOR VALUES FROM ('{day} 00:00+08') TO ('{day + timedelta(days=1)} 00:00+08')"
    )
    await visit(district, 40, person)
    if is_held:
        values = "gen_random_uuid(), $1, '3505', $2"
        await district.sql(f"INSERT INTO gateway.legal_holds VALUES ({values})", person, days_ago(-1))
    await district.purge("gateway")
    (row,) = await district.sql("SELECT to_regclass($1) IS NOT NULL AS is_there", name)
    assert (row["is_there"], await visitors(district)) == (is_held, {person} if is_held else set())
    await district.sql(f"DROP TABLE IF EXISTS {name}")


async def test_a_door_is_not_kept_waiting_for_a_partition_to_go(district: District) -> None:
    """Somebody reads the visits for long: the purge goes on without dropping, and in no time."""
    day = day_of(days_ago(40))
    name = f"gateway.visits_{day:%Y%m%d}"
    await district.sql(
        f"CREATE TABLE {name} PARTITION OF gateway.visits "
        f"FOR VALUES FROM ('{day} 00:00+08') TO ('{day + timedelta(days=1)} 00:00+08')"
    )
    reader = await asyncpg.connect(district.database.owner_url)
    try:
        async with reader.transaction():
            await reader.fetch("SELECT 1 FROM gateway.visits LIMIT 1")
            assert (await district.purge("gateway"))["visits"] == 0
            assert await reader.fetchval("SELECT to_regclass($1) IS NOT NULL", name)
    finally:
        await reader.close()
    await district.purge("gateway")
    (row,) = await district.sql("SELECT to_regclass($1) IS NULL AS is_gone", name)
    assert row["is_gone"]


# Legal holds ----------------------------------------------------------------------------------------------------------


async def held(command: httpx.AsyncClient, resident_id: str, until: datetime | None = None) -> httpx.Response:
    body = {
        "resident_id": resident_id,
        "reason": "调取证据",
        "ordered_by": "晋江市人民法院",
        "until": (until or days_ago(-30)).isoformat(),
    }
    return await command.post(HOLDS, json=body)


async def test_a_hold_keeps_a_persons_data_everywhere_until_it_is_released(district: District) -> None:
    async with district.caller("registry", Role.COMMAND) as command:
        person = await register(district, command)
        made = await held(command, person)
        assert made.status_code == 201, made.text
        await visit(district, 40, UUID(person))
        await visit(district, 40, new_id())
        await district.settle()
        await district.purge("gateway")
        assert await visitors(district) == {UUID(person)}
        assert [one["state"] for one in (await command.get(HOLDS)).json()["items"]] == ["active"]
        where = made.headers["location"]
        assert (await command.get(where)).json() == made.json()
        path = f"{where}/release"
        assert (await command.post(path)).json()["state"] == "released"
        assert (await command.post(path)).json()["code"] == "hold_ended"
        assert (await command.get(where)).json()["state"] == "released"
    async with district.caller("registry", Role.COMMAND, scope="350583") as elsewhere:
        assert (await elsewhere.get(where)).status_code == 404
    await district.settle()
    await district.purge("gateway")
    assert await visitors(district) == set()


async def test_a_hold_ends_by_itself_and_begins_in_no_past(district: District) -> None:
    async with district.caller("registry", Role.COMMAND) as command:
        person = await register(district, command)
        answer = await held(command, person, until=days_ago(1))
        assert (answer.status_code, answer.json()["code"]) == (409, "hold_ended")
        assert (await held(command, person)).status_code == 201
    await district.settle()
    await district.sql("UPDATE gateway.legal_holds SET until = now() - interval '1 minute'")
    await visit(district, 40, UUID(person))
    assert (await district.purge("gateway"))["visits"] == 1


async def test_whom_one_cannot_see_one_cannot_hold(district: District) -> None:
    async with district.caller("registry", Role.COMMAND) as command:
        person = await register(district, command)
    async with district.caller("registry", Role.COMMAND, scope="350583") as elsewhere:
        assert (await held(elsewhere, person)).status_code == 404


# Erasure --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("closed", "held_", "outcome"),
    [
        (False, False, "when_closed"),
        (True, False, "removed_soon"),
        (False, True, "when_released"),
        (True, True, "when_released"),
    ],
)
def test_what_becomes_of_a_request(closed: bool, held_: bool, outcome: str) -> None:
    assert outcome_of(closed=closed, held=held_) == outcome


async def test_a_person_is_told_what_stays_and_why_and_is_forgotten_as_soon_as_may_be(district: District) -> None:
    async with district.caller("registry", Role.COMMAND) as command:
        person = await register(district, command)
        path = f"/registry/v1/residents/{person}"
        async with district.caller("registry", Role.RESIDENT, residents=(UUID(person),)) as somebody:
            asked = (await somebody.post(f"{path}/erasure")).json()
        assert (asked["outcome"], "article 13" in asked["why"]) == ("when_closed", True)
        assert (await district.purge("registry"))["closed_residents"] == 0
        version = (await command.get(path)).headers["etag"]
        closing = await command.post(f"{path}/close", json={"reason": "moved_away"}, headers={"if-match": version})
        assert closing.status_code == 200, closing.text
        again = (await command.post(f"{path}/erasure")).json()
        assert (again["outcome"], again["asked_at"]) == ("removed_soon", asked["asked_at"])
        assert (await district.purge("registry"))["closed_residents"] == 1
        assert (await command.get(path)).status_code == 404
    assert await count_of(district, "registry.resident_history") == 0


async def test_nobody_asks_for_somebody_else(district: District) -> None:
    async with district.caller("registry", Role.COMMAND) as command:
        person = await register(district, command)
    async with district.caller("registry", Role.RESIDENT, residents=(new_id(),)) as other:
        assert (await other.post(f"/registry/v1/residents/{person}/erasure")).status_code == 404


async def test_a_closed_record_goes_after_its_period(district: District) -> None:
    async with district.caller("registry", Role.COMMAND) as command:
        people = [await register(district, command, place=place) for place in range(1, 4)]
        for person in people[:2]:
            path = f"/registry/v1/residents/{person}"
            version = (await command.get(path)).headers["etag"]
            await command.post(f"{path}/close", json={"reason": "died"}, headers={"if-match": version})
    await district.sql(
        "UPDATE registry.residents SET updated_at = now() - interval '200 days' WHERE id = ANY($1)",
        [UUID(one) for one in (people[0], people[2])],
    )
    assert (await district.purge("registry"))["closed_residents"] == 1
    left = {str(row["id"]) for row in await district.sql("SELECT id FROM registry.residents")}
    assert left == set(people[1:])


# Periods --------------------------------------------------------------------------------------------------------------


async def test_two_people_change_a_period(district: District) -> None:
    await visit(district, 20, new_id())
    async with (
        district.caller("gateway", Role.COMMAND, subject="lin") as lin,
        district.caller("gateway", Role.COMMAND, subject="wang") as wang,
    ):
        period: dict[str, Any] = {"kind": "visits", "days": 14, "source": "local decision"}
        asked = await lin.post("/gateway/v1/retention", json={"period": period, "reason": "缩短"})
        assert asked.status_code == 201, asked.text
        assert (await district.purge("gateway"))["visits"] == 0
        decision = {"content_hash": asked.json()["content_hash"], "reason": "同意"}
        path = f"{asked.headers['location']}/approve"
        assert (await lin.post(path, json=decision)).json()["code"] == "proposal_same_person"
        assert (await wang.post(path, json=decision)).status_code == 200
    assert (await district.purge("gateway"))["visits"] == 1
    await district.sql("UPDATE gateway.retention_periods SET days = 28, proposal_id = NULL WHERE kind = 'visits'")


async def test_there_is_no_period_of_what_is_not_kept(district: District) -> None:
    async with district.caller("testing", Role.COMMAND) as command:
        period = {"kind": "faces", "days": 1, "source": "x"}
        answer = await command.post("/testing/v1/retention", json={"period": period, "reason": "x"})
    assert answer.status_code == 404
