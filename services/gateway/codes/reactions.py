"""Codes: what happens when a resident, a tube, an order or a referral changes.

Each reaction makes the facts held from a subject equal to the subject's state, and lets `reevaluate` do the rest.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from services.gateway.codes import facts
from services.gateway.codes.facts import FactValues
from services.gateway.codes.tables import DECIDING, FactRow
from services.gateway.codes.use_cases import ARRIVALS, WAIT_ALONE, policy_now, reevaluate
from shared.contracts.observation import Order, Referral
from shared.contracts.registry import Resident
from shared.contracts.testing import Tube
from shared.feed.log import uuids
from shared.feed.reader import reacts_to
from shared.work import Work

# A region that is unchanged leaves the row as it is.
KEEP_PEOPLE = text("""
    INSERT INTO codes (resident_id, region, policy)
    SELECT id, region, :policy FROM unnest(CAST(:ids AS uuid[]), CAST(:regions AS text[])) AS given (id, region)
    ORDER BY id
    ON CONFLICT (resident_id) DO UPDATE SET region = excluded.region WHERE codes.region <> excluded.region
""")
HAVE_FACTS = text(f"""
    SELECT id FROM unnest(CAST(:ids AS uuid[])) AS asked (id)
    WHERE EXISTS (SELECT FROM facts WHERE resident_id = id AND kind = 'negative')
       OR EXISTS (SELECT FROM facts WHERE resident_id = id AND ({DECIDING}))
""")  # noqa: S608 - a constant
DROP_PEOPLE = text("DELETE FROM codes WHERE resident_id = ANY(CAST(:ids AS uuid[]))")


async def forget_residents(work: Work, ids: Sequence[UUID]) -> None:
    """Residents whom the registry no longer has."""
    await work.run(DROP_PEOPLE, ids=uuids(ids))


@reacts_to(Resident, forget=forget_residents)
async def follow_residents(work: Work, residents: Sequence[Resident]) -> None:
    """Everybody has a code, green until a fact says otherwise, in the region where they live now."""
    ordered = sorted(residents, key=lambda resident: resident.id)
    ids = [resident.id for resident in ordered]
    policy = await policy_now(work)
    await work.run(WAIT_ALONE, key=ARRIVALS)
    await work.run(KEEP_PEOPLE, ids=ids, regions=[resident.region for resident in ordered], policy=policy.version)
    # A fact may have been here before its person was.
    await reevaluate(work, [row["id"] for row in await work.rows(HAVE_FACTS, ids=ids)])


async def forget_facts(work: Work, subjects: Sequence[UUID]) -> None:
    """Facts whose record is gone: no evidence, no restriction."""
    await _replace(work, subjects, [])


@reacts_to(Tube, forget=forget_facts)
async def follow_tubes(work: Work, tubes: Sequence[Tube]) -> None:
    """What a laboratory found about each person in a tube."""
    await _follow(work, tubes, facts.of_tube)


@reacts_to(Order, forget=forget_facts)
async def follow_orders(work: Work, orders: Sequence[Order]) -> None:
    """Who is under observation."""
    await _follow(work, orders, facts.of_order)


@reacts_to(Referral, forget=forget_facts)
async def follow_referrals(work: Work, referrals: Sequence[Referral]) -> None:
    """What the hospital found."""
    await _follow(work, referrals, facts.of_referral)


async def _follow(work: Work, resources: Sequence[Any], facts_of: Callable[[Any], Iterable[FactValues]]) -> None:
    rows = list[FactValues]()
    for resource in resources:
        for number, row in enumerate(facts_of(resource)):
            row["number"] = number
            rows.append(row)
    await _replace(work, [resource.id for resource in resources], rows)


async def _replace(work: Work, subjects: Sequence[UUID], rows: Sequence[FactValues]) -> None:
    former = await work.replace(FactRow, subjects, rows)
    await reevaluate(work, [*former, *(row["resident_id"] for row in rows)])
