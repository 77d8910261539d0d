"""Reactions of codes to changes of residents, tubes, orders and referrals.

Each reaction replaces the stored facts of a subject by those of its new state, and calls `reevaluate`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from services.gateway.codes import facts
from services.gateway.codes.facts import FactValues
from services.gateway.codes.tables import DECIDING, FactRow
from services.gateway.codes.use_cases import FACTS_LOCK, LOCK_EXCLUSIVE, policy_now, reevaluate, renew
from shared.contracts.observation import Order, Referral
from shared.contracts.registry import Resident
from shared.contracts.testing import Tube
from shared.core.ids import in_order
from shared.database.bulk import literal
from shared.database.unit_of_work import UnitOfWork
from shared.feed.reader import reacts_to

GIVEN = """
    unnest(CAST(CAST(:ids AS text) AS uuid[]), CAST(CAST(:regions AS text) AS text[])) AS given (id, region)
"""
INSERT_CODES = text(f"""
    INSERT INTO codes (resident_id, region, policy)
    SELECT id, region, :policy FROM {GIVEN}
    ORDER BY id
    ON CONFLICT (resident_id) DO NOTHING
""")  # noqa: S608 - a constant
UPDATE_REGIONS = text(f"""
    UPDATE codes SET region = moved.region FROM (
        SELECT resident_id, given.region FROM codes JOIN {GIVEN} ON resident_id = id
        WHERE codes.region <> given.region ORDER BY resident_id FOR UPDATE OF codes
    ) AS moved
    WHERE codes.resident_id = moved.resident_id
""")  # noqa: S608 - a constant
SELECT_PEOPLE_WITH_FACTS = text(f"""
    SELECT id FROM unnest(CAST(CAST(:ids AS text) AS uuid[])) AS given (id)
    WHERE EXISTS (SELECT FROM facts WHERE resident_id = id AND kind = 'negative')
       OR EXISTS (SELECT FROM facts WHERE resident_id = id AND ({DECIDING}))
""")  # noqa: S608 - a constant
DELETE_CODES = text("DELETE FROM codes WHERE resident_id = ANY(CAST(:ids AS uuid[]))")


async def forget_residents(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Delete the codes of residents whom the registry has deleted."""
    await uow.run(DELETE_CODES, ids=in_order(ids))


@reacts_to(Resident, forget=forget_residents)
async def follow_residents(uow: UnitOfWork, residents: Sequence[Resident]) -> None:
    """Give each resident a code, green unless a fact restricts it, and keep its region equal to the resident's."""
    ids = literal([resident.id for resident in residents])
    regions = literal([resident.region for resident in residents])
    policy = await policy_now(uow)
    # The exclusive lock stops all reactions that bring facts. So the long step, the new codes, comes before it: nobody
    # else holds these rows yet. Existing codes are updated after it, because others may hold them: locking them first
    # could deadlock.
    added = await uow.run(INSERT_CODES, ids=ids, regions=regions, policy=policy.version)
    await uow.run(LOCK_EXCLUSIVE, key=FACTS_LOCK)
    if added < len(residents):
        await uow.run(UPDATE_REGIONS, ids=ids, regions=regions)
    # Facts may have arrived before their person.
    await reevaluate(uow, [row["id"] for row in await uow.rows(SELECT_PEOPLE_WITH_FACTS, ids=ids)])


async def forget_facts(uow: UnitOfWork, subjects: Sequence[UUID]) -> None:
    """Delete the facts of deleted records, because a restriction needs evidence."""
    await _replace(uow, subjects, [])


@reacts_to(Tube, forget=forget_facts)
async def follow_tubes(uow: UnitOfWork, tubes: Sequence[Tube]) -> None:
    """Replace the facts of tubes: the laboratory's result for each person in a tube."""
    await _follow(uow, tubes, facts.of_tube)


@reacts_to(Order, forget=forget_facts)
async def follow_orders(uow: UnitOfWork, orders: Sequence[Order]) -> None:
    """Replace the facts of orders: who is under observation."""
    await _follow(uow, orders, facts.of_order)


@reacts_to(Referral, forget=forget_facts)
async def follow_referrals(uow: UnitOfWork, referrals: Sequence[Referral]) -> None:
    """Replace the facts of referrals: the hospital's outcomes."""
    await _follow(uow, referrals, facts.of_referral)


async def _follow(uow: UnitOfWork, resources: Sequence[Any], facts_of: Callable[[Any], Iterable[FactValues]]) -> None:
    rows = list[FactValues]()
    for resource in resources:
        for number, row in enumerate(facts_of(resource)):
            row["number"] = number
            rows.append(row)
    await _replace(uow, [resource.id for resource in resources], rows)


async def _replace(uow: UnitOfWork, subjects: Sequence[UUID], rows: Sequence[FactValues]) -> None:
    former = await uow.replace(FactRow, subjects, rows)
    if former or any(map(facts.decides, rows)):
        await reevaluate(uow, [*former, *(row["resident_id"] for row in rows)])
    else:
        await renew(uow, ((row["resident_id"], row["sampled_at"]) for row in rows))
