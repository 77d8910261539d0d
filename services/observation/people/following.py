"""Following: from all that is held of some people to what must be open for them.

Residents, tubes and messages come by three feeds, in any order; whichever comes last finds the facts of the others
already here, because each writes its own facts first, then takes its turn, and only then looks.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import text

from services.observation.orders.following import follow_orders, lock_open_orders
from services.observation.people.rules import Episode, Finding, Person, still_positive
from services.observation.referrals.following import episodes_of, follow_referrals
from shared.contracts.registry import Tag
from shared.days import day_of
from shared.ids import in_order, named_id
from shared.work import Work

TURN = text("SELECT pg_advisory_xact_lock(:key)")
TURN_KEY = named_id("lock", "observation:follow").int % 2**63

# One look at an index for each, here and in `PEOPLE`: the planner knows nothing of a scope, and would rather read
# everybody.
HOMES = """
    asked AS (
        SELECT unnest(CAST(:residents AS uuid[])) AS id
    ), homes AS (
        SELECT DISTINCT household_id FROM asked CROSS JOIN LATERAL (
            SELECT household_id FROM people WHERE people.id = asked.id LIMIT 1
        ) AS person
        WHERE household_id IS NOT NULL
    )
"""

# Whom a change of these people or tubes can concern: those who live with a positive of their household, the positive
# themselves, and who has something open that rests on these tubes or is their own.
CONCERNED = text(f"""
    WITH {HOMES}, evidence AS (
        SELECT unnest(CAST(:tubes AS uuid[])) AS id
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
    SELECT id FROM asked CROSS JOIN LATERAL (
        SELECT FROM findings WHERE findings.resident_id = asked.id AND positive LIMIT 1
    ) AS finding
    UNION
    SELECT id FROM asked CROSS JOIN LATERAL (
        SELECT FROM orders WHERE orders.resident_id = asked.id AND state = 'open' LIMIT 1
    ) AS own
    UNION
    SELECT resident_id FROM evidence CROSS JOIN LATERAL (
        SELECT resident_id FROM orders WHERE orders.evidence_id = evidence.id AND state = 'open' OFFSET 0
    ) AS resting
    UNION
    SELECT id FROM asked CROSS JOIN LATERAL (
        SELECT FROM referrals WHERE referrals.resident_id = asked.id AND closed_at IS NULL LIMIT 1
    ) AS own
    UNION
    SELECT resident_id FROM evidence CROSS JOIN LATERAL (
        SELECT resident_id FROM referrals WHERE referrals.evidence_id = evidence.id AND closed_at IS NULL OFFSET 0
    ) AS resting
""")  # noqa: S608 (a constant)

# They, and all who share a household with them.
PEOPLE = text(f"""
    WITH {HOMES}
    SELECT person.* FROM asked CROSS JOIN LATERAL (
        SELECT id, region, household_id, active, tags FROM people WHERE people.id = asked.id LIMIT 1
    ) AS person
    UNION
    SELECT member.* FROM homes CROSS JOIN LATERAL (
        SELECT id, region, household_id, active, tags FROM people
        WHERE people.household_id = homes.household_id OFFSET 0
    ) AS member
""")  # noqa: S608 (a constant)

FINDINGS = text("""
    SELECT subject AS tube, resident_id, region, positive, sampled_at, tested_at, reported_at FROM findings
    WHERE resident_id = ANY(CAST(:residents AS uuid[])) OR subject = ANY(CAST(:tubes AS uuid[]))
""")


async def follow(work: Work, residents: Iterable[UUID], tubes: Iterable[UUID] = ()) -> None:
    """Make referrals and orders what the facts call for, wherever these people or tubes can matter.

    The outcome depends on the set of facts held, never on which came last.
    """
    await work.run(TURN, key=TURN_KEY)
    found = await work.rows(CONCERNED, residents=in_order(residents), tubes=in_order(tubes))
    concerned = in_order(row["id"] for row in found)
    if not concerned:
        return
    held = await lock_open_orders(work, concerned)
    people = await _people(work, concerned)
    grounds = [row.evidence_id for row in held.values()]
    findings = [
        Finding(**row)
        for row in await work.rows(FINDINGS, residents=in_order([*people, *concerned]), tubes=in_order(grounds))
    ]
    positive_people = in_order(one.resident_id for one in findings if one.positive)

    positives = still_positive(findings, _all(await episodes_of(work, positive_people)))
    await follow_referrals(work, concerned, _by_person(positives))
    await follow_orders(work, concerned, held, people, positives, _negative_days(findings))


async def _people(work: Work, residents: Sequence[UUID]) -> dict[UUID, Person]:
    return {
        row["id"]: Person(
            id=row["id"],
            region=row["region"],
            household_id=row["household_id"],
            active=row["active"],
            tags=tuple(Tag.model_validate(tag) for tag in row["tags"]),
        )
        for row in await work.rows(PEOPLE, residents=list(residents))
    }


def _all(episodes: Mapping[UUID, Sequence[Episode]]) -> list[Episode]:
    return [one for several in episodes.values() for one in several]


def _by_person(findings: Iterable[Finding]) -> dict[UUID, list[Finding]]:
    found: dict[UUID, list[Finding]] = {}
    for one in findings:
        found.setdefault(one.resident_id, []).append(one)
    return found


def _negative_days(findings: Iterable[Finding]) -> dict[UUID, list[date]]:
    days: dict[UUID, set[date]] = {}
    for one in findings:
        if not one.positive:
            days.setdefault(one.resident_id, set()).add(day_of(one.sampled_at))
    return {resident: sorted(several) for resident, several in days.items()}
