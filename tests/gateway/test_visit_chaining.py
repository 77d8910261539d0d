"""Visits are sealed once, in the order of commits, and whoever owns the database and changes one is found out."""

import asyncio
from typing import Any

import asyncpg
import pytest

from deploy.audit import verify_audit, verify_visits
from services.gateway.verifications import chaining
from services.gateway.verifications.chaining import chain_visits
from shared.audit.heads import public_keys
from shared.core.ids import new_id
from tests.gateway.visited import VISIT, batches, chain_all, exported, today, visit
from tests.harness import District

COUNTED = "SELECT number, length(leaves) / 40 AS count FROM gateway.visit_seals ORDER BY number"


async def counts(district: District) -> list[int]:
    """How many visits each batch has."""
    rows = await district.sql(COUNTED)
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["count"] for row in rows]


def wrong_in(file: bytes, audit: bytes) -> list[tuple[str, int | None]]:
    entries = list(verify_visits.entries_in([audit]))
    try:
        sealed = verify_visits.links_of(entries, today().isoformat())
        found, _, _ = verify_visits.check(batches(file), sealed, verify_visits.purged_before(entries))
    except verify_visits.Finding as finding:
        found = [finding]
    return [(finding.kind, finding.position) for finding in found]


async def test_every_visit_is_sealed_once(district: District) -> None:
    for _ in range(3):
        await visit(district)
    await chain_all(district)
    await visit(district)
    await chain_all(district)
    await chain_all(district)
    assert await counts(district) == [3, 1]
    file, audit = await exported(district)
    assert wrong_in(file, audit) == []
    assert (
        verify_audit.check(audit, verify_audit.keys_of({"keys": public_keys(district.contexts["gateway"].signer)}))[0]
        == []
    )


async def test_many_batches_never_split_a_transaction(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaining, "AT_ONCE", 3)
    many = VISIT.replace("VALUES ($1,", "SELECT gen_random_uuid(),").replace(
        "now())", "now() FROM generate_series(1, $1)"
    )
    await district.sql(many.replace("$2)", "$2::int)"), 5, 0, new_id(), new_id())
    for _ in range(4):
        await visit(district)
    await chain_all(district)
    assert await counts(district) == [5, 3, 1]
    assert wrong_in(*await exported(district)) == []


async def test_a_late_commit_is_waited_for_and_not_skipped(district: District) -> None:
    slow = await asyncpg.connect(district.database.owner_url)
    try:
        await slow.execute("BEGIN")
        await slow.execute(VISIT, new_id(), 0, new_id(), new_id())
        await visit(district)
        await chain_visits(district.contexts["gateway"])
        assert await counts(district) == []
        await slow.execute("COMMIT")
    finally:
        await slow.close()
    await chain_all(district)
    assert await counts(district) == [2]
    assert wrong_in(*await exported(district)) == []


async def test_many_sealers_at_once_seal_each_visit_once(district: District) -> None:
    async def come() -> None:
        for _ in range(10):
            await visit(district)

    async def chaining_all() -> None:
        for _ in range(20):
            await chain_visits(district.contexts["gateway"])

    await asyncio.gather(come(), come(), chaining_all(), chaining_all())
    await chain_all(district)
    assert sum(await counts(district)) == 20
    assert wrong_in(*await exported(district)) == []


async def test_a_sealer_that_dies_leaves_nothing_half_done(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    await visit(district)

    async def die(*_: Any) -> None:
        raise ConnectionResetError

    keep = chaining._record_batch

    async def keep_and_die(*given: Any) -> None:
        await keep(*given)
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(chaining, "_record_batch", keep_and_die)
        await district.until_served()
        with pytest.raises(ConnectionResetError):
            await chain_visits(district.contexts["gateway"])
    assert (await counts(district), await district.sql("SELECT 1 FROM gateway.audit")) == ([], [])
    await chain_all(district)
    assert await counts(district) == [1]


async def test_the_door_cannot_say_where_a_visit_stands(district: District) -> None:
    connection = await asyncpg.connect(district.database.owner_url)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL ROLE fangxian_gateway_door")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("INSERT INTO gateway.visits (scan_id, xid) VALUES (gen_random_uuid(), '1')")
    finally:
        await connection.close()


async def test_seals_say_nothing_of_anybody(district: District) -> None:
    person = new_id()
    scan_id = await visit(district, person)
    await chain_all(district)
    said = str(await district.sql("SELECT * FROM gateway.audit WHERE kind = 'visits'"))
    (kept,) = await district.sql("SELECT leaves, one::text AS row FROM gateway.visit_seals AS one")
    for one in (person, scan_id):
        assert str(one) not in said + kept["row"]
        assert one.hex not in said + kept["row"]
        assert one.bytes not in kept["leaves"]


# Whoever owns the database --------------------------------------------------------------------------------------------


TAMPERINGS = {
    "another person": ("UPDATE gateway.visits SET resident_id = gen_random_uuid() WHERE scan_id = $1", "changed"),
    "another verdict": ("UPDATE gateway.visits SET outcome = 48 WHERE scan_id = $1", "changed"),
    "another region": ("UPDATE gateway.visits SET region = '350582005001' WHERE scan_id = $1", "changed"),
    "another temperature": ("UPDATE gateway.visits SET temperature_tenths = 370 WHERE scan_id = $1", "changed"),
    "another time": ("UPDATE gateway.visits SET at = at - interval '1 hour' WHERE scan_id = $1", "changed"),
    "removed": ("DELETE FROM gateway.visits WHERE scan_id = $1", "missing"),
    "moved out of its place": ("UPDATE gateway.visits SET xid = '9000000000000' WHERE scan_id = $1", "missing"),
    "as if from before": ("UPDATE gateway.visits SET xid = '0', epoch = 0 WHERE scan_id = $1", "missing"),
    "removed, with all that its batch was": (
        "WITH gone AS (DELETE FROM gateway.visits WHERE scan_id = $1) DELETE FROM gateway.visit_seals WHERE number = 2",
        "missing",
    ),
    "added": (
        "INSERT INTO gateway.visits (scan_id, at, point_id, resident_id, region, colour, outcome, receipt_seconds, "
        "decided_at, epoch, xid) SELECT gen_random_uuid(), at, point_id, gen_random_uuid(), region, colour, outcome, "
        "receipt_seconds, decided_at, epoch, xid FROM gateway.visits WHERE scan_id = $1",
        "added",
    ),
    "what its batch was": (
        "UPDATE gateway.visit_seals SET leaves = sha256(leaves) || '\\x0000000000000000' "
        "WHERE number = 2 AND $1::uuid IS NOT NULL",
        "changed",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_whoever_owns_the_database_is_found_out(district: District, name: str) -> None:
    statement, kind = TAMPERINGS[name]
    await visit(district)
    await chain_all(district)
    scan_ids = [await visit(district) for _ in range(3)]
    await chain_all(district)
    await district.sql(statement, scan_ids[1])
    assert wrong_in(*await exported(district))[0] == (kind, 2)


async def test_the_visit_is_named(district: District) -> None:
    scan_ids = [await visit(district) for _ in range(3)]
    await chain_all(district)
    await district.sql("UPDATE gateway.visits SET colour = 3 WHERE scan_id = $1", scan_ids[1])
    await district.sql("DELETE FROM gateway.visits WHERE scan_id = $1", scan_ids[2])
    file, audit = await exported(district)
    found, _, _ = verify_visits.check(
        batches(file), verify_visits.links_of(verify_visits.entries_in([audit]), today().isoformat()), ""
    )
    assert str(found[0]) == f"visit {scan_ids[1]} in batch 1 was changed"
    assert str(found[1]).startswith("visit 3 of batch 1, of 20")
    assert len(found) == 2


@pytest.mark.parametrize("epoch", [0, 1, 9], ids=["from-before", "later-transaction", "later-epoch"])
async def test_a_visit_added_outside_every_batch_is_found(district: District, epoch: int) -> None:
    await visit(district)
    await chain_all(district)
    added = await visit(district)
    xid = "0" if epoch == 0 else "9000000000000"
    await district.sql(
        "UPDATE gateway.visits SET epoch = $2, xid = ($3::text)::xid8 WHERE scan_id = $1", added, epoch, xid
    )
    assert wrong_in(*await exported(district)) == [("added", None)]


async def test_a_seal_forged_by_an_entry_of_its_own_is_found(district: District) -> None:
    """What the sealer of the audit chains is genuine for it; but a batch must follow the one before."""
    await visit(district)
    await chain_all(district)
    fields = "epoch, kind, operation, target, actor, role, party, scope, purpose, reason, request_id, subjects"
    await district.sql(f"INSERT INTO gateway.audit ({fields}) SELECT {fields} FROM gateway.audit WHERE kind = 'visits'")
    await chain_all(district)
    assert [kind for kind, _ in wrong_in(*await exported(district))] == ["added"]


# Purged ---------------------------------------------------------------------------------------------------------------


async def test_what_is_purged_is_said_to_be_and_the_rest_still_holds(district: District) -> None:
    held = new_id()
    await visit(district, days=40)
    await visit(district, held, days=40)
    young = await visit(district)
    await chain_all(district)
    await visit(district, days=40)
    await chain_all(district)
    await district.sql(
        "INSERT INTO gateway.legal_holds VALUES (gen_random_uuid(), $1, '3505', now() + interval '1 day')", held
    )
    assert (await district.purge("gateway"))["visits"] == 2
    await chain_all(district)
    assert [row["number"] for row in await district.sql(COUNTED)] == [1], "the second batch has nothing left"
    assert wrong_in(*await exported(district)) == []
    await district.sql("UPDATE gateway.visits SET colour = 3 WHERE resident_id = $1", held)
    assert wrong_in(*await exported(district)) == [("changed", 1)]
    await district.sql("DELETE FROM gateway.visits WHERE scan_id = $1", young)
    assert ("missing", 1) in wrong_in(*await exported(district))


async def test_old_visits_are_missing_where_no_purge_is_recorded(district: District) -> None:
    await visit(district, days=40)
    await visit(district, days=40)
    await chain_all(district)
    await district.sql("DELETE FROM gateway.visits")
    assert wrong_in(*await exported(district)) == [("missing", 1), ("missing", 1)]
    await district.sql("DELETE FROM gateway.visit_seals")
    assert wrong_in(*await exported(district)) == [("missing", 1)]


async def test_a_batch_of_the_young_is_missing_whatever_was_purged(district: District) -> None:
    await visit(district, days=40)
    await chain_all(district)
    await visit(district)
    await chain_all(district)
    await district.purge("gateway")
    await chain_all(district)
    await district.sql("DELETE FROM gateway.visits")
    await district.sql("DELETE FROM gateway.visit_seals")
    assert wrong_in(*await exported(district)) == [("missing", 2)]
