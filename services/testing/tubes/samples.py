"""Samples: a batch of swabs is a handful of statements, and an answer for each.

Under the locks of their tubes (in the order of ids) all facts are read, the pure rules decide one swab after another,
and one statement keeps what may be kept. Another device that keeps the same person in another tube at the same moment
is met by the unique index: what it took away is decided again, with its commit in sight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.testing import problems
from services.testing.answers import refusal
from services.testing.limits import CLOCK_AHEAD
from services.testing.results import consequences
from services.testing.results.consequences import News
from services.testing.retests import use_cases as retests
from services.testing.retests.use_cases import SingleSwab
from services.testing.scope import own_region, service_hands
from services.testing.tubes import lookup, rules
from services.testing.tubes.lookup import Named
from services.testing.tubes.rules import Decision, PersonFacts, Refused, RoundFacts, Swab, TubeFacts
from services.testing.tubes.schemas import SampleAnswer
from shared.bulk import literal
from shared.contracts.testing import SampleException
from shared.problems import ClockAhead, Language, Problem, Unavailable
from shared.work import Work

PROBLEMS: Mapping[Refused, type[Problem]] = {
    "clock_ahead": ClockAhead,
    "tube_unknown": problems.TubeUnknown,
    "tube_of_other_round": problems.TubeOfOtherRound,
    "resident_unknown": problems.ResidentUnknown,
    "tube_discarded": problems.TubeDiscarded,
    "tube_sealed": problems.TubeSealed,
    "not_in_manifest": problems.NotInManifest,
    "campaign_not_open": problems.CampaignNotOpen,
    "sampled_before_round": problems.SampledBeforeRound,
    "twice_in_round": problems.TwiceInRound,
    "single_only": problems.SingleOnly,
    "tube_full": problems.TubeFull,
}
AT: Mapping[Refused, str] = {
    "clock_ahead": "sampled_at",
    "sampled_before_round": "sampled_at",
    "campaign_not_open": "campaign_id",
    "resident_unknown": "resident_id",
    "twice_in_round": "resident_id",
    "single_only": "resident_id",
}

MOST_ROUNDS_OF_DECIDING = 3

# One look at the primary key for each, here, in `KEEP` and in `FILL`: the planner knows nothing of a scope, and would
# rather read all of it.
PEOPLE = text("""
    SELECT person.id, person.active FROM unnest(CAST(CAST(:ids AS text) AS uuid[])) AS asked (id)
    CROSS JOIN LATERAL (SELECT id, active FROM people WHERE people.id = asked.id LIMIT 1) AS person
""")

HELD_ALREADY = text("""
    SELECT id, campaign_id, resident_id, tube_id, moved_from, exception, undone_at FROM samples
    WHERE id = ANY(CAST(:ids AS uuid[]))
""")

# What each person has in each round so far: a counted sample, or any in one of the tubes at hand.
IN_ROUND = text("""
    SELECT campaign_id, resident_id, tube_id, counted FROM samples
    WHERE campaign_id = ANY(CAST(:campaigns AS uuid[])) AND resident_id = ANY(CAST(:residents AS uuid[])) AND counted
    UNION ALL
    SELECT campaign_id, resident_id, tube_id, counted FROM samples
    WHERE tube_id = ANY(CAST(:tubes AS uuid[])) AND undone_at IS NULL AND NOT counted
""")

OBSERVED = text("SELECT DISTINCT resident_id FROM observed WHERE resident_id = ANY(CAST(:residents AS uuid[]))")

CALLED = text("""
    SELECT retests.resident_id, retests.pool_id,
        (SELECT tubes.reported_at FROM tubes WHERE tubes.id = retests.pool_id) AS reported_at
    FROM retests WHERE retests.resident_id = ANY(CAST(:residents AS uuid[])) AND retests.state IN ('called', 'sampled')
""")

KEEP = text("""
    INSERT INTO samples (id, campaign_id, tube_id, resident_id, region, home, sampled_at, exception, offline, retest,
        counted, kept_at)
    SELECT new.id, new.campaign_id, new.tube_id, new.resident_id, new.region, expected.region, new.sampled_at,
        new.exception, new.offline, new.retest, new.counted, :now
    FROM unnest(
        CAST(CAST(:ids AS text) AS uuid[]), CAST(CAST(:campaigns AS text) AS uuid[]),
        CAST(CAST(:tubes AS text) AS uuid[]), CAST(CAST(:residents AS text) AS uuid[]), CAST(:regions AS text[]),
        CAST(CAST(:sampled AS text) AS timestamptz[]), CAST(:exceptions AS text[]),
        CAST(CAST(:offline AS text) AS boolean[]), CAST(CAST(:retests AS text) AS boolean[]),
        CAST(CAST(:counted AS text) AS boolean[])
    ) AS new (id, campaign_id, tube_id, resident_id, region, sampled_at, exception, offline, retest, counted)
    LEFT JOIN LATERAL (
        SELECT region FROM campaign_people
        WHERE campaign_people.campaign_id = new.campaign_id AND campaign_people.resident_id = new.resident_id LIMIT 1
    ) AS expected ON true
    ORDER BY new.resident_id, new.id
    ON CONFLICT DO NOTHING
    RETURNING id
""")

# Written at the place (`ctid`) that the lock of each tube holds.
FILL = text("""
    UPDATE tubes SET people = tubes.people + gain.people, missing = tubes.missing - gain.listed,
        held = tubes.outcome IS NOT NULL AND tubes.missing - gain.listed > 0,
        first_sampled_at = least(tubes.first_sampled_at, gain.first_at), version = version + 1, updated_at = :now
    FROM (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:people AS bigint[]), CAST(:listed AS bigint[]), CAST(:firsts AS timestamptz[])
        ) AS gain (tube_id, people, listed, first_at)
        CROSS JOIN LATERAL (SELECT ctid AS place FROM tubes WHERE id = tube_id LIMIT 1) AS tube
    ) AS gain
    WHERE tubes.ctid = gain.place
    RETURNING tubes.id, tubes.missing, tubes.outcome
""")

REFUSE = text("""
    INSERT INTO refused_samples (id, region, sample_id, campaign_id, tube_number, resident_id, sampled_at, reason)
    SELECT uuidv7(), region, sample_id, campaign_id, tube_number, resident_id, sampled_at, reason
    FROM unnest(
        CAST(:regions AS text[]), CAST(:ids AS uuid[]), CAST(:campaigns AS uuid[]), CAST(:numbers AS text[]),
        CAST(:residents AS uuid[]), CAST(:sampled AS timestamptz[]), CAST(:reasons AS text[])
    ) AS new (region, sample_id, campaign_id, tube_number, resident_id, sampled_at, reason)
    ORDER BY sample_id, reason
    ON CONFLICT DO NOTHING
""")

# Only looks for the few that were refused before; sorted, as everything that locks is.
RESOLVE = text("""
    UPDATE refused_samples SET resolved_at = :now, version = version + 1, updated_at = :now
    WHERE id IN (
        SELECT id FROM refused_samples
        WHERE sample_id = ANY(CAST(:ids AS uuid[])) AND resolved_at IS NULL ORDER BY id FOR UPDATE
    )
""")


class Keep(NamedTuple):
    """A swab the rules let in, and how."""

    place: int
    item: Swab
    tube: Named
    decision: Decision


@dataclass
class Batch:
    """One batch while it is decided."""

    items: Sequence[Swab]
    named: Mapping[str, Named]
    people: Mapping[UUID, bool]
    language: Language
    answers: dict[int, SampleAnswer] = field(default_factory=dict)
    kept: list[Keep] = field(default_factory=list)
    refused: list[tuple[Swab, str]] = field(default_factory=list)

    def refuse(self, place: int, code: str, problem: Problem) -> None:
        """Answer a swab with a problem; one that has happened is remembered with its reason."""
        item = self.items[place]
        self.answers[place] = SampleAnswer(id=item.id, status="refused", problem=refusal(problem, self.language))
        if item.offline:
            self.refused.append((item, code))


async def add_samples(work: Work, items: Sequence[Swab], language: Language) -> list[SampleAnswer]:
    work.saw(item.resident_id for item in items)
    named = await lookup.find_tubes(work, (item.tube_number for item in items))
    people = {
        row["id"]: row["active"]
        for row in await work.rows(PEOPLE, ids=literal(list({item.resident_id for item in items})))
    }
    batch = Batch(items, named, people, language)
    async with service_hands(work):
        tubes = await lookup.create_and_lock(work, list(named.values()))
        rounds = await lookup.rounds_of(work, tubes)
        await _keep_all(work, batch, tubes, rounds)
        await _remember_refused(work, batch)
        await _fill(work, batch, tubes)
    return [batch.answers[place] for place in range(len(items))]


async def _keep_all(
    work: Work, batch: Batch, tubes: Mapping[UUID, RowMapping], rounds: Mapping[UUID, RoundFacts]
) -> None:
    """Decide and keep; what another transaction was faster with is decided again."""
    facts = {
        row["id"]: TubeFacts(
            id=row["id"],
            state=row["state"],
            capacity=row["capacity"],
            people=row["people"],
            manifest=frozenset(row["manifest"]) if row["manifest"] is not None else None,
            round=rounds[row["campaign_id"]],
        )
        for row in tubes.values()
    }
    places: Sequence[int] = range(len(batch.items))
    for _ in range(MOST_ROUNDS_OF_DECIDING):
        wanted = await _decide(work, batch, places, facts)
        if not wanted:
            return
        won = await _keep(work, wanted)
        for keep in wanted:
            if keep.item.id in won:
                batch.kept.append(keep)
                exception = keep.decision.exception
                batch.answers[keep.place] = SampleAnswer(id=keep.item.id, status="kept", exception=exception)
            elif keep.decision.exception is None:
                facts[keep.tube.id].people -= 1
        places = [keep.place for keep in wanted if keep.item.id not in won]
        if not places:
            return
    raise Unavailable()


async def _decide(work: Work, batch: Batch, places: Sequence[int], tubes: Mapping[UUID, TubeFacts]) -> list[Keep]:
    """Answer what can be answered, and list what should be kept."""
    items = [batch.items[place] for place in places]
    held = {row["id"]: row for row in await work.rows(HELD_ALREADY, ids=[item.id for item in items])}
    people = await _people(work, batch, items, tubes)
    wanted: dict[UUID, Keep] = {}
    for place in places:
        item = batch.items[place]
        named = batch.named.get(item.tube_number)
        twin = wanted.get(item.id)
        if item.id in held or twin is not None:
            _answer_again(batch, place, held.get(item.id), twin)
            continue
        tube = tubes.get(named.id) if named else None
        person = people[item.campaign_id, item.resident_id]
        decision = rules.decide(item, tube, person, work.now, CLOCK_AHEAD)
        if decision.refused:
            at = f"/items/{place}/{AT.get(decision.refused, 'tube_number')}"
            batch.refuse(place, decision.refused, PROBLEMS[decision.refused](at=at))
            continue
        assert named is not None
        assert tube is not None
        person.counted |= decision.counted
        person.tubes.add(tube.id)
        tube.people += decision.exception is None
        wanted[item.id] = Keep(place, item, named, decision)
    return list(wanted.values())


def _answer_again(batch: Batch, place: int, row: RowMapping | None, twin: Keep | None) -> None:
    """Answer a swab that is there already, or that the same batch holds twice."""
    item = batch.items[place]
    named = batch.named.get(item.tube_number)
    if twin is not None:
        same = twin.item == item
        answer = SampleAnswer(id=item.id, status="already", exception=twin.decision.exception)
    else:
        assert row is not None
        recorded = (row["campaign_id"], row["resident_id"], row["moved_from"] or row["tube_id"])
        same = named is not None and recorded == (item.campaign_id, item.resident_id, named.id)
        exception: SampleException | None = row["exception"]
        answer = SampleAnswer(id=item.id, status="undone" if row["undone_at"] else "already", exception=exception)
    if same:
        batch.answers[place] = answer
    else:
        batch.refuse(place, problems.SampleIdTaken.code, problems.SampleIdTaken(at=f"/items/{place}/id"))


async def _people(
    work: Work, batch: Batch, items: Sequence[Swab], tubes: Mapping[UUID, TubeFacts]
) -> dict[tuple[UUID, UUID], PersonFacts]:
    """What is known of each person in each round."""
    residents = list({item.resident_id for item in items})
    observed = {row["resident_id"] for row in await work.rows(OBSERVED, residents=residents)}
    called: dict[UUID, dict[UUID, datetime]] = {}
    for row in await work.rows(CALLED, residents=residents):
        called.setdefault(row["resident_id"], {})[row["pool_id"]] = row["reported_at"]
    people = {
        (item.campaign_id, item.resident_id): PersonFacts(
            known=item.resident_id in batch.people,
            active=batch.people.get(item.resident_id, False),
            single_only=item.resident_id in observed or item.resident_id in called,
            called_by=called.get(item.resident_id, {}),
        )
        for item in items
    }
    campaigns = list({item.campaign_id for item in items})
    for row in await work.rows(IN_ROUND, campaigns=campaigns, residents=residents, tubes=list(tubes)):
        person = people.get((row["campaign_id"], row["resident_id"]))
        if person is not None:
            person.counted |= row["counted"]
            person.tubes.add(row["tube_id"])
    return people


async def _keep(work: Work, wanted: Sequence[Keep]) -> set[UUID]:
    rows = await work.rows(
        KEEP,
        ids=literal([keep.item.id for keep in wanted]),
        campaigns=literal([keep.item.campaign_id for keep in wanted]),
        tubes=literal([keep.tube.id for keep in wanted]),
        residents=literal([keep.item.resident_id for keep in wanted]),
        regions=[keep.tube.region for keep in wanted],
        sampled=literal([keep.item.sampled_at for keep in wanted]),
        exceptions=[keep.decision.exception for keep in wanted],
        offline=literal([keep.item.offline for keep in wanted]),
        retests=literal([bool(keep.decision.answers) for keep in wanted]),
        counted=literal([keep.decision.counted for keep in wanted]),
        now=work.now,
    )
    return {row["id"] for row in rows}


async def _remember_refused(work: Work, batch: Batch) -> None:
    if batch.refused:
        await work.run(
            REFUSE,
            regions=[_region_of(work, batch, item) for item, _ in batch.refused],
            ids=[item.id for item, _ in batch.refused],
            campaigns=[item.campaign_id for item, _ in batch.refused],
            numbers=[item.tube_number for item, _ in batch.refused],
            residents=[item.resident_id for item, _ in batch.refused],
            sampled=[item.sampled_at for item, _ in batch.refused],
            reasons=[code for _, code in batch.refused],
        )
    if batch.kept:
        await work.run(RESOLVE, ids=[keep.item.id for keep in batch.kept], now=work.now)


def _region_of(work: Work, batch: Batch, item: Swab) -> str:
    named = batch.named.get(item.tube_number)
    return named.region if named else own_region(work.actor)


async def _fill(work: Work, batch: Batch, tubes: Mapping[UUID, RowMapping]) -> None:
    """Count what the tubes gained, and draw the consequences where a sealed tube learned of its people."""
    gains: dict[UUID, list[Keep]] = {}
    for keep in batch.kept:
        gains.setdefault(keep.tube.id, []).append(keep)
    if not gains:
        return
    filled = await work.rows(
        FILL,
        ids=list(gains),
        people=[sum(keep.decision.exception is None for keep in kept) for kept in gains.values()],
        listed=[len(kept) if tubes[id_]["manifest"] is not None else 0 for id_, kept in gains.items()],
        firsts=[min(keep.item.sampled_at for keep in kept) for kept in gains.values()],
        now=work.now,
    )
    swabs = [
        SingleSwab(keep.tube.id, keep.item.resident_id, pool) for keep in batch.kept for pool in keep.decision.answers
    ]
    await retests.sample(work, swabs)
    await consequences.follow(
        work,
        {
            row["id"]: News("completed" if row["missing"] == 0 else "known", row["outcome"])
            for row in filled
            if tubes[row["id"]]["manifest"] is not None and (row["missing"] == 0 or row["outcome"] is not None)
        },
    )
