"""Tubes: from the numbers that callers name to rows that are locked.

A tube comes to be by its number, from its roll. Everybody creates and locks tubes in the order of their ids, which
follow from their numbers, so that no two batches can wait for each other in a circle.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.testing.tubes.rules import RoundFacts, serial_of
from shared.ids import named_id
from shared.work import Work

# One look at an index for each, here and in `LOCK`: the planner knows nothing of a scope, and would rather read all of
# it. Rows are locked in the order in which they are asked for.
FIND = text("""
    SELECT tube.* FROM unnest(CAST(:numbers AS text[])) AS asked (number)
    CROSS JOIN LATERAL (
        SELECT number, id, campaign_id, region, capacity FROM tubes WHERE tubes.number = asked.number LIMIT 1
    ) AS tube
""")

# The roll that begins at or before a serial holds it, or none does.
FIND_ROLLS = text("""
    SELECT asked.serial, roll.campaign_id, roll.region, roll.capacity
    FROM unnest(CAST(:serials AS bigint[])) AS asked (serial)
    JOIN LATERAL (
        SELECT * FROM rolls WHERE rolls.first <= asked.serial ORDER BY rolls.first DESC LIMIT 1
    ) AS roll ON roll.last >= asked.serial
""")

CREATE = text("""
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

LOCK = text("""
    SELECT tube.* FROM unnest(CAST(:ids AS uuid[])) AS asked (id)
    CROSS JOIN LATERAL (
        SELECT id, number, campaign_id, region, capacity, state, people, manifest, missing, laboratory, box_id, outcome,
            revision
        FROM tubes WHERE tubes.id = asked.id FOR UPDATE
    ) AS tube
""")

ROUNDS = text("""
    SELECT id, state, opens_at, closes_at, opened_at, ended_at FROM campaigns WHERE id = ANY(CAST(:ids AS uuid[]))
""")


@dataclass(frozen=True, slots=True)
class Named:
    """A tube that the caller may name. It exists already, or its roll says that it may."""

    id: UUID
    number: str
    campaign_id: UUID
    region: str
    capacity: int
    exists: bool


def id_of(number: str) -> UUID:
    """The id that the tube of a number has, if there is one."""
    return named_id("tube", number)


async def find_tubes(work: Work, numbers: Iterable[str]) -> dict[str, Named]:
    """The tubes of these numbers that the caller may name, by number."""
    wanted = set(numbers)
    found = {
        row["number"]: Named(row["id"], row["number"], row["campaign_id"], row["region"], row["capacity"], True)
        for row in await work.rows(FIND, numbers=sorted(wanted))
    }
    serials = {serial: number for number in wanted - found.keys() if (serial := serial_of(number)) is not None}
    if serials:
        for row in await work.rows(FIND_ROLLS, serials=sorted(serials)):
            number = serials[row["serial"]]
            found[number] = Named(id_of(number), number, row["campaign_id"], row["region"], row["capacity"], False)
    return found


async def create_and_lock(work: Work, named: Sequence[Named]) -> dict[UUID, RowMapping]:
    """Make the tubes that are not there yet, and lock all of them. Within `work.everywhere`."""
    await create(work, named)
    return await lock_tubes(work, (tube.id for tube in named))


async def create(work: Work, named: Sequence[Named]) -> None:
    """Make the tubes that are not there yet."""
    new = [tube for tube in named if not tube.exists]
    if new:
        await work.run(
            CREATE,
            ids=[tube.id for tube in new],
            regions=[tube.region for tube in new],
            campaigns=[tube.campaign_id for tube in new],
            numbers=[tube.number for tube in new],
            capacities=[tube.capacity for tube in new],
        )


async def lock_tubes(work: Work, ids: Iterable[UUID]) -> dict[UUID, RowMapping]:
    """Lock tubes in the order of their ids; those the caller may not see are not there."""
    return {row["id"]: row for row in await work.rows(LOCK, ids=sorted(set(ids)))}


async def rounds_of(work: Work, tubes: Mapping[UUID, RowMapping]) -> dict[UUID, RoundFacts]:
    """The rounds of locked tubes."""
    ids = sorted({row["campaign_id"] for row in tubes.values()})
    return {row["id"]: RoundFacts(**row) for row in await work.rows(ROUNDS, ids=ids)}
