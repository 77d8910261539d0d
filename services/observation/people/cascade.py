"""Derives the referrals and orders of people from all facts about them.

Residents, tubes and messages arrive on three feeds, in any order. Each reaction first writes its own facts, then takes
the lock, and only then reads. So the last one sees the facts of the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import text

from services.observation.orders.cascade import follow_orders, lock_open_orders
from services.observation.people.rules import Episode, Finding, Person, still_positive
from services.observation.referrals.cascade import episodes_of, follow_referrals
from shared.contracts.registry import Tag
from shared.core.days import day_of
from shared.core.ids import in_order, named_id
from shared.database.bulk import literal
from shared.database.unit_of_work import UnitOfWork

# The lock of all transactions that derive referrals and orders.
TURN = text("SELECT pg_advisory_xact_lock(:key)")
TURN_KEY = named_id("lock", "observation:follow").int % 2**63

# LATERAL … LIMIT 1 forces one index lookup per person, here and in `SELECT_PEOPLE`. With row-level security the planner
# otherwise misestimates and reads all people.
HOUSEHOLDS = """
    query AS (
        SELECT unnest(CAST(CAST(:residents AS text) AS uuid[])) AS id
    ), homes AS (
        SELECT DISTINCT household_id FROM query CROSS JOIN LATERAL (
            SELECT household_id FROM people WHERE people.id = query.id LIMIT 1
        ) AS person
        WHERE household_id IS NOT NULL
    )
"""

# The people whom a change of these people or tubes can concern: members of a household with a positive, people with a
# positive themselves, and people with an open order or referral of their own or based on these tubes.
SELECT_CONCERNED = text(f"""
    WITH {HOUSEHOLDS}, evidence AS (
        SELECT unnest(CAST(CAST(:tubes AS text) AS uuid[])) AS id
    ), members AS (
        SELECT household_id, id FROM homes CROSS JOIN LATERAL (
            SELECT id FROM people WHERE people.household_id = homes.household_id OFFSET 0
        ) AS member
    ), struck AS (
        SELECT DISTINCT household_id FROM members CROSS JOIN LATERAL (
            SELECT FROM findings WHERE findings.resident_id = members.id AND positive LIMIT 1
        ) AS finding
    )
    SELECT id FROM members WHERE household_id IN (SELECT household_id FROM struck)
    UNION
    SELECT id FROM query CROSS JOIN LATERAL (
        SELECT FROM findings WHERE findings.resident_id = query.id AND positive LIMIT 1
    ) AS finding
    UNION
    SELECT id FROM query CROSS JOIN LATERAL (
        SELECT FROM orders WHERE orders.resident_id = query.id AND state = 'open' LIMIT 1
    ) AS own
    UNION
    SELECT resident_id FROM evidence CROSS JOIN LATERAL (
        SELECT resident_id FROM orders WHERE orders.evidence_id = evidence.id AND state = 'open' OFFSET 0
    ) AS resting
    UNION
    SELECT id FROM query CROSS JOIN LATERAL (
        SELECT FROM referrals WHERE referrals.resident_id = query.id AND closed_at IS NULL LIMIT 1
    ) AS own
    UNION
    SELECT resident_id FROM evidence CROSS JOIN LATERAL (
        SELECT resident_id FROM referrals WHERE referrals.evidence_id = evidence.id AND closed_at IS NULL OFFSET 0
    ) AS resting
""")  # noqa: S608 (a constant)

# These people and all members of their households.
SELECT_PEOPLE = text(f"""
    WITH {HOUSEHOLDS}
    SELECT person.* FROM query CROSS JOIN LATERAL (
        SELECT id, region, household_id, active, tags FROM people WHERE people.id = query.id LIMIT 1
    ) AS person
    UNION
    SELECT member.* FROM homes CROSS JOIN LATERAL (
        SELECT id, region, household_id, active, tags FROM people
        WHERE people.household_id = homes.household_id OFFSET 0
    ) AS member
""")  # noqa: S608 (a constant)

SELECT_FINDINGS = text("""
    SELECT subject AS tube, resident_id, region, positive, sampled_at, tested_at, reported_at FROM findings
    WHERE resident_id = ANY(CAST(:residents AS uuid[])) OR subject = ANY(CAST(:tubes AS uuid[]))
""")


async def cascade_people(uow: UnitOfWork, residents: Iterable[UUID], tubes: Iterable[UUID] = ()) -> None:
    """Update all referrals and orders that these people or tubes can concern.

    The outcome depends only on the set of facts, not on their order of arrival.
    """
    await uow.run(TURN, key=TURN_KEY)
    rows = await uow.rows(SELECT_CONCERNED, residents=literal(in_order(residents)), tubes=literal(in_order(tubes)))
    concerned = in_order(row["id"] for row in rows)
    if not concerned:
        return
    held = await lock_open_orders(uow, concerned)
    people = await _people(uow, concerned)
    grounds = [row.evidence_id for row in held.values()]
    findings = [
        Finding(**row)
        for row in await uow.rows(SELECT_FINDINGS, residents=in_order([*people, *concerned]), tubes=in_order(grounds))
    ]
    positive_people = in_order(one.resident_id for one in findings if one.positive)

    positives = still_positive(findings, _all(await episodes_of(uow, positive_people)))
    await follow_referrals(uow, concerned, _by_person(positives))
    await follow_orders(uow, concerned, held, people, positives, _negative_days(findings))


async def _people(uow: UnitOfWork, residents: Sequence[UUID]) -> dict[UUID, Person]:
    return {
        row["id"]: Person(
            id=row["id"],
            region=row["region"],
            household_id=row["household_id"],
            active=row["active"],
            tags=tuple(Tag.model_validate(tag) for tag in row["tags"]),
        )
        for row in await uow.rows(SELECT_PEOPLE, residents=literal(residents))
    }


def _all(episodes: Mapping[UUID, Sequence[Episode]]) -> list[Episode]:
    return [one for several in episodes.values() for one in several]


def _by_person(findings: Iterable[Finding]) -> dict[UUID, list[Finding]]:
    by_person: dict[UUID, list[Finding]] = {}
    for one in findings:
        by_person.setdefault(one.resident_id, []).append(one)
    return by_person


def _negative_days(findings: Iterable[Finding]) -> dict[UUID, list[date]]:
    days: dict[UUID, set[date]] = {}
    for one in findings:
        if not one.positive:
            days.setdefault(one.resident_id, set()).add(day_of(one.sampled_at))
    return {resident: sorted(several) for resident, several in days.items()}
