"""Find tubes by the numbers in a request, create them from their rolls, and lock them.

A tube is created when its number is first used. Its id follows from its number. All batches create and lock tubes in
the order of their ids, so that they cannot deadlock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.testing.tubes.rules import RoundFacts, serial_of
from shared.core.ids import named_id
from shared.database.unit_of_work import UnitOfWork

# LATERAL … LIMIT 1 forces one index lookup per tube, here and in `LOCK_TUBES`. With row-level security the planner
# otherwise misestimates and reads all tubes of the scope. Rows are locked in the order of the array.
FIND_TUBES = text("""
    SELECT tube.* FROM unnest(CAST(:numbers AS text[])) AS query (number)
    CROSS JOIN LATERAL (
        SELECT number, id, campaign_id, region, capacity FROM tubes WHERE tubes.number = query.number LIMIT 1
    ) AS tube
""")

# Rolls do not overlap, so only the last roll that begins at or before a serial can contain it.
FIND_ROLLS = text("""
    SELECT query.serial, roll.campaign_id, roll.region, roll.capacity
    FROM unnest(CAST(:serials AS bigint[])) AS query (serial)
    JOIN LATERAL (
        SELECT * FROM rolls WHERE rolls.first <= query.serial ORDER BY rolls.first DESC LIMIT 1
    ) AS roll ON roll.last >= query.serial
""")

CREATE_TUBES = text("""
    INSERT INTO tubes (id, region, campaign_id, number, capacity, drill)
    SELECT new.id, new.region, new.campaign_id, new.number, new.capacity, campaigns.drill
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:regions AS text[]), CAST(:campaigns AS uuid[]), CAST(:numbers AS text[]),
        CAST(:capacities AS bigint[])
    ) AS new (id, region, campaign_id, number, capacity)
    JOIN campaigns ON campaigns.id = new.campaign_id
    ORDER BY new.id
    ON CONFLICT DO NOTHING
""")

LOCK_TUBES = text("""
    SELECT tube.* FROM unnest(CAST(:ids AS uuid[])) AS query (id)
    CROSS JOIN LATERAL (
        SELECT id, number, campaign_id, region, capacity, state, people, manifest, missing, laboratory, box_id, outcome,
            revision
        FROM tubes WHERE tubes.id = query.id FOR UPDATE
    ) AS tube
""")

SELECT_ROUNDS = text("""
    SELECT id, state, opens_at, closes_at, opened_at, ended_at FROM campaigns WHERE id = ANY(CAST(:ids AS uuid[]))
""")


@dataclass(frozen=True, slots=True)
class Named:
    """A tube within the caller's scope. It exists, or its number belongs to an issued roll."""

    id: UUID
    number: str
    campaign_id: UUID
    region: str
    capacity: int
    exists: bool


def id_of(number: str) -> UUID:
    """Return the id of the tube with a number. The tube need not exist."""
    return named_id("tube", number)


async def find_tubes(uow: UnitOfWork, numbers: Iterable[str]) -> dict[str, Named]:
    """Return the tubes with these numbers within the caller's scope, by number."""
    wanted = set(numbers)
    tubes = {
        row["number"]: Named(row["id"], row["number"], row["campaign_id"], row["region"], row["capacity"], True)
        for row in await uow.rows(FIND_TUBES, numbers=sorted(wanted))
    }
    serials = {serial: number for number in wanted - tubes.keys() if (serial := serial_of(number)) is not None}
    if serials:
        for row in await uow.rows(FIND_ROLLS, serials=sorted(serials)):
            number = serials[row["serial"]]
            tubes[number] = Named(id_of(number), number, row["campaign_id"], row["region"], row["capacity"], False)
    return tubes


async def create_and_lock(uow: UnitOfWork, named: Sequence[Named]) -> dict[UUID, RowMapping]:
    """Create the tubes that do not exist yet, and lock all of them. Call it within `uow.unscoped`."""
    await create(uow, named)
    return await lock_tubes(uow, (tube.id for tube in named))


async def create(uow: UnitOfWork, named: Sequence[Named]) -> None:
    """Create the tubes that do not exist yet."""
    new = [tube for tube in named if not tube.exists]
    if new:
        await uow.run(
            CREATE_TUBES,
            ids=[tube.id for tube in new],
            regions=[tube.region for tube in new],
            campaigns=[tube.campaign_id for tube in new],
            numbers=[tube.number for tube in new],
            capacities=[tube.capacity for tube in new],
        )


async def lock_tubes(uow: UnitOfWork, ids: Iterable[UUID]) -> dict[UUID, RowMapping]:
    """Lock tubes in the order of their ids. The result omits tubes outside the caller's scope."""
    return {row["id"]: row for row in await uow.rows(LOCK_TUBES, ids=sorted(set(ids)))}


async def rounds_of(uow: UnitOfWork, tubes: Mapping[UUID, RowMapping]) -> dict[UUID, RoundFacts]:
    """Return the rounds of locked tubes, by id."""
    ids = sorted({row["campaign_id"] for row in tubes.values()})
    return {row["id"]: RoundFacts(**row) for row in await uow.rows(SELECT_ROUNDS, ids=ids)}
