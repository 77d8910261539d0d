"""Audit entries are sealed once, in the order of commits, and whoever changes one is found out."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from deploy.audit import export, verify_audit
from shared.audit import chaining
from shared.audit.canonical import beginning
from shared.audit.heads import head_now, public_keys
from shared.core import clock
from shared.core.ids import new_id
from shared.feed import maintenance
from shared.observability.telemetry import AUDIT_UNCHAINED
from shared.runtime.context import ServiceContext
from tests.harness import District
from tests.shared.audited import FIELDS, STAFF, act, chain, chain_all


@pytest.fixture
async def context(district: District) -> ServiceContext:
    return district.contexts["registry"]


async def test_every_entry_is_sealed_once_in_the_order_of_commits(district: District, context: ServiceContext) -> None:
    for _ in range(5):
        await act(context, new_id())
    await chain_all(district, context)
    await act(context, new_id(), new_id())
    await chain_all(district, context)
    await chain_all(district, context)
    sealed = await chain(district)
    assert [position for position, _ in sealed] == [1, 2, 3, 4, 5, 6]
    assert len({seq for _, seq in sealed}) == 6


async def test_more_than_one_batch(
    district: District, context: ServiceContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chaining, "AT_ONCE", 3)
    for _ in range(8):
        await act(context, new_id())
    await chain_all(district, context)
    assert len(await chain(district)) == 8


async def test_a_late_commit_is_waited_for_and_not_skipped(district: District, context: ServiceContext) -> None:
    async with context.unit_of_work(STAFF, "late") as slow:
        await slow.run(text("SELECT pg_current_xact_id()"))  # it has its place in the order now, and commits later
        slow.record_access([new_id()])
        await act(context, new_id())
        await chaining.chain_entries(context)
        assert await chain(district) == []
    await chain_all(district, context)
    assert len(await chain(district)) == 2


async def test_an_entry_numbered_before_a_sealed_one_is_not_skipped(
    district: District, context: ServiceContext
) -> None:
    """The lower number has the higher transaction id, and commits last."""
    late = await asyncpg.connect(district.database.owner_url)
    try:
        # Outside the transaction: now and then a sequence writes to the log, which gives an open one its id.
        (number,) = await late.fetchrow("SELECT nextval('registry.audit_seq_seq')")
        await act(context, new_id())
        await chain_all(district, context)
        await late.execute("BEGIN")
        await late.execute(
            f"INSERT INTO registry.audit (seq, epoch, {FIELDS}) OVERRIDING SYSTEM VALUE "
            "SELECT $1, max(epoch), 'look', '', '', '', '', '', '', '', '', '', '{}' FROM registry.feed_epochs",
            number,
        )
        await late.execute("COMMIT")
    finally:
        await late.close()
    await chain_all(district, context)
    sealed = await chain(district)
    assert [position for position, _ in sealed] == [1, 2]
    assert sealed[0][1] > sealed[1][1] == number


async def test_many_sealers_at_once_make_one_chain(district: District, context: ServiceContext) -> None:
    async def busy() -> None:
        for _ in range(10):
            await act(context, new_id())

    async def chaining_all() -> None:
        for _ in range(20):
            await chaining.chain_entries(context)

    await asyncio.gather(busy(), busy(), chaining_all(), chaining_all())
    await chain_all(district, context)
    assert [position for position, _ in await chain(district)] == list(range(1, 21))


async def test_a_sealer_that_dies_leaves_nothing_half_done(
    district: District, context: ServiceContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    await act(context, new_id())

    async def die(*_: Any) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(chaining, "_move", die)
        await district.until_served()
        with pytest.raises(ConnectionResetError):
            await chaining.chain_entries(context)
    assert await chain(district) == []
    await chain_all(district, context)
    assert [position for position, _ in await chain(district)] == [1]


async def test_days_have_chains_of_their_own(district: District, context: ServiceContext) -> None:
    """A transaction begun before midnight in Shanghai belongs to the day it began on, whenever it is sealed."""
    today = clock.day_of(datetime.now(UTC))
    await act(context, new_id())
    await act(context, new_id())
    await district.sql(
        "UPDATE registry.audit SET at = at - interval '1 day' WHERE seq = (SELECT min(seq) FROM registry.audit)"
    )
    await act(context, new_id())
    await chain_all(district, context)
    days = await district.sql("SELECT day, position FROM registry.audit_seals ORDER BY day, position")
    yesterday = today - timedelta(days=1)
    assert [(row["day"], row["position"]) for row in days] == [(yesterday, 1), (today, 1), (today, 2)]
    await chain(district)


async def test_the_age_of_what_is_not_sealed_is_measured(district: District, context: ServiceContext) -> None:
    gauge = AUDIT_UNCHAINED.labels("registry")
    await act(context, new_id())
    await asyncio.sleep(0.05)
    await maintenance.measure(context, ())
    assert 0.04 < gauge._value.get() < 60
    await chain_all(district, context)
    await maintenance.measure(context, ())
    assert gauge._value.get() == 0


async def test_a_head_is_signed_over_all_that_is_sealed(district: District, context: ServiceContext) -> None:
    for _ in range(3):
        await act(context, new_id())
    await chain_all(district, context)
    today = clock.day_of(datetime.now(UTC))
    async with context.system_unit_of_work() as uow:
        head = (await head_now(uow, today)).model_dump()
        empty = (await head_now(uow, date(2021, 1, 21))).model_dump()
    keys = verify_audit.keys_of({"keys": public_keys(context.signer)})
    assert (head["size"], head["service"], head["day"]) == (3, "registry", today.isoformat())
    assert (empty["size"], empty["hash"]) == (0, beginning("registry", date(2021, 1, 21)).hex())
    for one in (head, empty):
        verify_audit.check_signature(one, keys, "the head")


# The export ----------------------------------------------------------------------------------------------------------


async def exported(district: District, context: ServiceContext) -> bytes:
    connection = await asyncpg.connect(district.database.owner_url)
    try:
        async with connection.transaction():
            day = clock.day_of(datetime.now(UTC))
            return b"".join([line + b"\n" async for line in export.lines(connection, context.signer, day)])
    finally:
        await connection.close()


@pytest.fixture
async def sealed(district: District, context: ServiceContext) -> ServiceContext:
    for _ in range(6):
        await act(context, new_id())
    await chain_all(district, context)
    return context


def found_in(file: bytes, context: ServiceContext) -> list[tuple[str, int | None]]:
    found, _ = verify_audit.check(file, verify_audit.keys_of({"keys": public_keys(context.signer)}))
    return [(finding.kind, finding.position) for _, finding in found]


async def test_an_export_is_whole(district: District, sealed: ServiceContext) -> None:
    await act(sealed, new_id())  # not sealed yet, and so not in it
    file = await exported(district, sealed)
    assert found_in(file, sealed) == []
    assert file.count(b"\n") == 1 + 6 + 1


TAMPERINGS = {
    "changed": ("UPDATE registry.audit SET actor = 'x' WHERE seq = $1", ("changed", 3)),
    "a subject removed": ("UPDATE registry.audit SET subjects = '{}' WHERE seq = $1", ("changed", 3)),
    "deleted": ("DELETE FROM registry.audit WHERE seq = $1", ("missing", 3)),
    "deleted with its seal": (
        "WITH gone AS (DELETE FROM registry.audit WHERE seq = $1) DELETE FROM registry.audit_seals WHERE seq = $1",
        ("missing", 3),
    ),
    "moved to another day": ("UPDATE registry.audit SET at = at - interval '1 day' WHERE seq = $1", ("missing", 3)),
    "added behind the sealer's back": (
        "INSERT INTO registry.audit (xid, epoch, kind, operation, target, actor, role, party, scope, purpose, reason, "
        "request_id, subjects) SELECT xid, epoch, kind, operation, target, actor, role, party, scope, purpose, reason, "
        "request_id, subjects FROM registry.audit WHERE seq = $1",
        ("added", 7),
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_whoever_owns_the_database_is_found_out(district: District, sealed: ServiceContext, name: str) -> None:
    statement, expected = TAMPERINGS[name]
    (third,) = await district.sql("SELECT seq FROM registry.audit_seals WHERE position = 3")
    await district.sql(statement, third["seq"])
    assert found_in(await exported(district, sealed), sealed)[0] == expected
