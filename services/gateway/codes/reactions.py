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
from services.gateway.codes.use_cases import ARRIVALS, WAIT_ALONE, policy_now, reevaluate, renew
from shared.bulk import literal
from shared.contracts.observation import Order, Referral
from shared.contracts.registry import Resident
from shared.contracts.testing import Tube
from shared.feed.reader import reacts_to
from shared.ids import in_order
from shared.work import Work

GIVEN = """
    unnest(CAST(CAST(:ids AS text) AS uuid[]), CAST(CAST(:regions AS text) AS text[])) AS given (id, region)
"""
ADD_PEOPLE = text(f"""
    INSERT INTO codes (resident_id, region, policy)
    SELECT id, region, :policy FROM {GIVEN}
    ORDER BY id
    ON CONFLICT (resident_id) DO NOTHING
""")  # noqa: S608 - a constant
MOVE_PEOPLE = text(f"""
    UPDATE codes SET region = moved.region FROM (
        SELECT resident_id, given.region FROM codes JOIN {GIVEN} ON resident_id = id
        WHERE codes.region <> given.region ORDER BY resident_id FOR UPDATE OF codes
    ) AS moved
    WHERE codes.resident_id = moved.resident_id
""")  # noqa: S608 - a constant
HAVE_FACTS = text(f"""
    SELECT id FROM unnest(CAST(CAST(:ids AS text) AS uuid[])) AS asked (id)
    WHERE EXISTS (SELECT FROM facts WHERE resident_id = id AND kind = 'negative')
       OR EXISTS (SELECT FROM facts WHERE resident_id = id AND ({DECIDING}))
""")  # noqa: S608 - a constant
DROP_PEOPLE = text("DELETE FROM codes WHERE resident_id = ANY(CAST(:ids AS uuid[]))")


async def forget_residents(work: Work, ids: Sequence[UUID]) -> None:
    """Residents whom the registry no longer has."""
    await work.run(DROP_PEOPLE, ids=in_order(ids))


@reacts_to(Resident, forget=forget_residents)
async def follow_residents(work: Work, residents: Sequence[Resident]) -> None:
    """Everybody has a code, green until a fact says otherwise, in the region where they live now."""
    ids = literal([resident.id for resident in residents])
    regions = literal([resident.region for resident in residents])
    policy = await policy_now(work)
    # Whoever brings facts about others waits while this waits alone: so what takes long, the new codes, comes before.
    # They are nobody else's yet; a code that others hold is touched only afterwards, or each would wait for the other.
    added = await work.run(ADD_PEOPLE, ids=ids, regions=regions, policy=policy.version)
    await work.run(WAIT_ALONE, key=ARRIVALS)
    if added < len(residents):
        await work.run(MOVE_PEOPLE, ids=ids, regions=regions)
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
    if former or any(map(facts.decides, rows)):
        await reevaluate(work, [*former, *(row["resident_id"] for row in rows)])
    else:
        await renew(work, ((row["resident_id"], row["sampled_at"]) for row in rows))
