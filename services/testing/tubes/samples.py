"""Records a batch of swabs with a fixed number of statements, and one answer for each swab.

The tubes are locked in the order of their ids. Then all facts are read, the pure rules decide one swab after another,
and one statement inserts the swabs that are kept. If another device records the same person in another tube at the
same moment, the unique index rejects the insert. The whole batch is then decided again and sees the other's commit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.testing import problems
from services.testing.answers import refusal
from services.testing.codes import CodeKeys
from services.testing.limits import CLOCK_AHEAD
from services.testing.results import propagation
from services.testing.results.propagation import News
from services.testing.retests import use_cases as retests
from services.testing.retests.rules import OPEN
from services.testing.retests.use_cases import SingleSwab
from services.testing.scope import own_region
from services.testing.tubes import lookup, rules
from services.testing.tubes.lookup import Named
from services.testing.tubes.rules import (
    NOBODY,
    REFUSED_CODES,
    Decision,
    PersonFacts,
    Refused,
    RoundFacts,
    SentSwab,
    Swab,
    TubeFacts,
    of_code,
)
from services.testing.tubes.schemas import Answer
from shared.contracts.testing import SampleException
from shared.crypto import code_tokens
from shared.database.bulk import literal
from shared.database.unit_of_work import UnitOfWork
from shared.problems import ClockAhead, Language, Problem, Unavailable

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
    "sampled_before_call": problems.SampledBeforeCall,
    "tube_full": problems.TubeFull,
    "code_malformed": code_tokens.CodeMalformed,
    "code_forged": code_tokens.CodeForged,
    "code_not_yet": code_tokens.CodeNotYet,
    "code_expired": code_tokens.CodeExpired,
}
AT: Mapping[Refused, str] = {
    "clock_ahead": "sampled_at",
    "sampled_before_round": "sampled_at",
    "sampled_before_call": "sampled_at",
    "campaign_not_open": "campaign_id",
    "resident_unknown": "resident_id",
    "twice_in_round": "resident_id",
    "single_only": "resident_id",
    **dict.fromkeys(REFUSED_CODES.values(), "token"),
}

MOST_ROUNDS_OF_DECIDING = 10
"""Attempts to decide a batch. Each failed attempt means that another device was faster with one of its people."""

# Ids of people who are unknown (`active` is null) or inactive. LATERAL … LIMIT 1 forces one index lookup per id, here
# and in `INSERT_SAMPLES` and `FILL_TUBES`. With row-level security the planner otherwise misestimates and reads the
# whole scope.
SELECT_UNKNOWN_OR_INACTIVE = text("""
    SELECT query.id, person.active FROM unnest(CAST(:ids AS uuid[])) AS query (id)
    LEFT JOIN LATERAL (SELECT active FROM people WHERE people.id = query.id LIMIT 1) AS person ON true
    WHERE person.active IS NOT TRUE
""")

SELECT_RECORDED_SAMPLES = text("""
    SELECT id, campaign_id, resident_id, tube_id, moved_from, exception, undone_at FROM samples
    WHERE id = ANY(CAST(:ids AS uuid[]))
""")

# The samples that each person already has in each round: the counted one, and any sample in a tube of this batch.
SELECT_SAMPLES_IN_ROUND = text("""
    SELECT campaign_id, resident_id, tube_id, counted FROM samples
    WHERE campaign_id = ANY(CAST(:campaigns AS uuid[])) AND resident_id = ANY(CAST(:residents AS uuid[])) AND counted
    UNION ALL
    SELECT campaign_id, resident_id, tube_id, counted FROM samples
    WHERE tube_id = ANY(CAST(:tubes AS uuid[])) AND undone_at IS NULL AND NOT counted
""")

# People who need a single tube. `pool_id` is the pool of an open retest, or null for a person under observation.
SELECT_REQUIRES_SINGLE_TUBE = text("""
    SELECT resident_id, NULL::uuid AS pool_id, NULL::timestamptz AS reported_at FROM observed
    WHERE resident_id = ANY(CAST(:residents AS uuid[]))
    UNION ALL
    SELECT resident_id, pool_id, (SELECT reported_at FROM tubes WHERE tubes.id = pool_id) FROM retests
    WHERE resident_id = ANY(CAST(:residents AS uuid[])) AND state = ANY(CAST(:open_states AS text[]))
""")

INSERT_SAMPLES = text("""
    INSERT INTO samples (id, campaign_id, tube_id, resident_id, region, home, sampled_at, exception, offline, retest,
        counted, kept_at)
    SELECT new.id, tube.campaign_id, tube.id, new.resident_id, tube.region, expected.region, new.sampled_at,
        new.exception, new.offline, new.retest, new.exception IS NULL AND NOT new.retest, :now
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(CAST(:places AS text) AS bigint[]),
        CAST(:residents AS uuid[]), CAST(CAST(:sampled AS text) AS timestamptz[]),
        CAST(CAST(:exceptions AS text) AS text[]), CAST(CAST(:offline AS text) AS boolean[]),
        CAST(CAST(:retests AS text) AS boolean[])
    ) AS new (id, place, resident_id, sampled_at, exception, offline, retest)
    JOIN unnest(CAST(:tubes AS uuid[]), CAST(:campaigns AS uuid[]), CAST(:regions AS text[]))
        WITH ORDINALITY AS tube (id, campaign_id, region, place) USING (place)
    LEFT JOIN LATERAL (
        SELECT region FROM campaign_people
        WHERE campaign_people.campaign_id = tube.campaign_id AND campaign_people.resident_id = new.resident_id LIMIT 1
    ) AS expected ON true
    ORDER BY new.resident_id, new.id
""")

# The tubes are locked, so their `ctid` cannot change and addresses the rows directly.
FILL_TUBES = text("""
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

STORE_REFUSED_SAMPLES = text("""
    INSERT INTO refused_samples (id, region, sample_id, campaign_id, tube_number, resident_id, sampled_at, reason)
    SELECT uuidv7(), region, sample_id, campaign_id, tube_number, resident_id, sampled_at, reason
    FROM unnest(
        CAST(:regions AS text[]), CAST(:ids AS uuid[]), CAST(:campaigns AS uuid[]), CAST(:numbers AS text[]),
        CAST(:residents AS uuid[]), CAST(:sampled AS timestamptz[]), CAST(:reasons AS text[])
    ) AS new (region, sample_id, campaign_id, tube_number, resident_id, sampled_at, reason)
    ORDER BY sample_id, reason
    ON CONFLICT DO NOTHING
""")

# Few records were refused before, so this usually finds none. Rows are locked in the order of ids.
RESOLVE_REFUSED_SAMPLES = text("""
    UPDATE refused_samples SET resolved_at = :now, version = version + 1, updated_at = :now
    WHERE id IN (
        SELECT id FROM refused_samples
        WHERE sample_id = ANY(CAST(:ids AS uuid[])) AND resolved_at IS NULL
        ORDER BY id FOR UPDATE
    )
""")


class Keep(msgspec.Struct, frozen=True, gc=False):
    """A swab that the rules accept, with their decision."""

    item: Swab
    decision: Decision


@dataclass
class Batch:
    """One batch while it is decided: the answers so far in the order of the swabs, and the swabs kept and refused."""

    items: Sequence[Swab]
    named: Mapping[str, Named]
    language: Language
    answers: list[Answer] = field(default_factory=list)
    kept: dict[UUID, Keep] = field(default_factory=dict)
    refused: list[tuple[Swab, str]] = field(default_factory=list)

    def refuse(self, item: Swab, at: str, problem: type[Problem]) -> None:
        """Answer a swab with a problem. A swab that was already taken is stored with the reason."""
        if item.scanned and at == "resident_id":
            at = "token"
        refused = refusal(problem(at=f"/items/{len(self.answers)}/{at}"), self.language)
        body = refused.model_dump(by_alias=True)
        self.answers.append(Answer(item.id, "refused", problem=body, resident_id=named_by(item)))
        if item.offline:
            self.refused.append((item, problem.code))

    def by_tube(self) -> Sequence[tuple[Named, Sequence[Keep]]]:
        """Group the kept swabs by tube."""
        gains: dict[str, list[Keep]] = {}
        for keep in self.kept.values():
            gains.setdefault(keep.item.tube_number, []).append(keep)
        return [(self.named[number], kept) for number, kept in gains.items()]


def named_by(item: Swab) -> UUID | None:
    """Return the person identified by the scanned code of a swab, if any."""
    return item.resident_id if item.scanned and item.resident_id != NOBODY else None


def _named(item: SentSwab, codes: CodeKeys, now: datetime) -> Swab:
    """Return a swab with its person. A scanned code is decoded."""
    if item.token is not None:
        return of_code(item, codes.read(item.token), now, CLOCK_AHEAD)
    assert item.resident_id is not None
    return Swab(item.id, item.campaign_id, item.tube_number, item.resident_id, item.sampled_at, item.offline)


async def add_samples(uow: UnitOfWork, sent: Sequence[SentSwab], codes: CodeKeys, language: Language) -> list[Answer]:
    """Record a batch of swabs. Returns one answer for each, in order. Raises `Unavailable` after too many races."""
    items = [_named(item, codes, uow.now) for item in sent]
    uow.record_access(item.resident_id for item in items if item.resident_id != NOBODY)
    named = await lookup.find_tubes(uow, (item.tube_number for item in items))
    residents = [item.resident_id for item in items]
    unknown = {row["id"]: row["active"] for row in await uow.rows(SELECT_UNKNOWN_OR_INACTIVE, ids=residents)}
    async with uow.unscoped():
        tubes = await lookup.create_and_lock(uow, list(named.values()))
        rounds = await lookup.rounds_of(uow, tubes)
        for _ in range(MOST_ROUNDS_OF_DECIDING):
            batch = Batch(items, named, language)
            people = await _people(uow, items, residents, unknown, tubes)
            await _decide(uow, batch, people, tubes, rounds)
            if await _keep(uow, batch):
                break
        else:
            raise Unavailable()
        await _remember_refused(uow, batch)
        await _fill(uow, batch, tubes)
    return batch.answers


async def _people(
    uow: UnitOfWork,
    items: Sequence[Swab],
    residents: Sequence[UUID],
    unknown: Mapping[UUID, bool | None],
    tubes: Mapping[UUID, RowMapping],
) -> dict[tuple[UUID, UUID], PersonFacts]:
    """Return the facts of each person in each round. `unknown` maps ids to `active`: None if not registered."""
    pools: dict[UUID, dict[UUID, datetime]] = {}
    for row in await uow.rows(SELECT_REQUIRES_SINGLE_TUBE, residents=residents, open_states=list(OPEN)):
        of = pools.setdefault(row["resident_id"], {})
        if row["pool_id"] is not None:
            of[row["pool_id"]] = row["reported_at"]
    people: dict[tuple[UUID, UUID], PersonFacts] = {}
    for item in items:
        active, called = unknown.get(item.resident_id, True), pools.get(item.resident_id)
        people[item.campaign_id, item.resident_id] = PersonFacts(
            known=active is not None, active=bool(active), single_only=called is not None, called_by=called or {}
        )
    campaigns = list({item.campaign_id for item in items})
    for row in await uow.rows(SELECT_SAMPLES_IN_ROUND, campaigns=campaigns, residents=residents, tubes=list(tubes)):
        person = people.get((row["campaign_id"], row["resident_id"]))
        if person is not None:
            person.counted |= row["counted"]
            person.tubes = (*person.tubes, row["tube_id"])
    return people


async def _decide(
    uow: UnitOfWork,
    batch: Batch,
    people: Mapping[tuple[UUID, UUID], PersonFacts],
    rows: Mapping[UUID, RowMapping],
    rounds: Mapping[UUID, RoundFacts],
) -> None:
    """Decide each swab, with the earlier swabs of the batch taken into account."""
    held = {row["id"]: row for row in await uow.rows(SELECT_RECORDED_SAMPLES, ids=[item.id for item in batch.items])}
    tubes = {
        row["number"]: TubeFacts(
            id=row["id"],
            state=row["state"],
            capacity=row["capacity"],
            people=row["people"],
            manifest=frozenset(row["manifest"]) if row["manifest"] is not None else None,
            round=rounds[row["campaign_id"]],
        )
        for row in rows.values()
    }
    for item in batch.items:
        if item.id in held or item.id in batch.kept:
            _answer_again(batch, item, held.get(item.id))
            continue
        tube = tubes.get(item.tube_number)
        person = people[item.campaign_id, item.resident_id]
        decision = rules.decide(item, tube, person, uow.now, CLOCK_AHEAD)
        if decision.refused:
            batch.refuse(item, AT.get(decision.refused, "tube_number"), PROBLEMS[decision.refused])
            continue
        assert tube is not None
        person.counted |= decision.counted
        person.tubes = (*person.tubes, tube.id)
        tube.people += decision.exception is None
        batch.kept[item.id] = Keep(item, decision)
        batch.answers.append(Answer(item.id, "kept", decision.exception, resident_id=named_by(item)))


def _answer_again(batch: Batch, item: Swab, row: RowMapping | None) -> None:
    """Answer a swab that is already recorded, or that is twice in the same batch.

    A record whose code identifies nobody counts as the same record, because one with `resident_id` resolved it.
    """
    named = batch.named.get(item.tube_number)
    if row is None:
        twin = batch.kept[item.id]
        same = twin.item.is_same(item) or (item.resident_id == NOBODY and twin.item.tube_number == item.tube_number)
        answer = Answer(item.id, "already", twin.decision.exception, resident_id=named_by(item))
    else:
        person = row["resident_id"] if item.resident_id == NOBODY else item.resident_id
        recorded = (row["campaign_id"], row["resident_id"], row["moved_from"] or row["tube_id"])
        same = named is not None and recorded == (item.campaign_id, person, named.id)
        exception: SampleException | None = row["exception"]
        status: Literal["undone", "already"] = "undone" if row["undone_at"] else "already"
        answer = Answer(item.id, status, exception, resident_id=named_by(item))
    if same:
        batch.answers.append(answer)
    else:
        batch.refuse(item, "id", problems.SampleIdTaken)


async def _keep(uow: UnitOfWork, batch: Batch) -> bool:
    """Insert the kept swabs. Returns False, with nothing inserted, if another transaction was faster with one."""
    if not batch.kept:
        return True
    gains = batch.by_tube()
    rows = [(position, keep) for position, (_, kept) in enumerate(gains, 1) for keep in kept]
    try:
        async with uow.savepoint():
            await uow.run(
                INSERT_SAMPLES,
                places=literal([position for position, _ in rows]),
                ids=[keep.item.id for _, keep in rows],
                residents=[keep.item.resident_id for _, keep in rows],
                sampled=literal([keep.item.sampled_at for _, keep in rows]),
                exceptions=literal([keep.decision.exception for _, keep in rows]),
                offline=literal([keep.item.offline for _, keep in rows]),
                retests=literal([bool(keep.decision.answers) for _, keep in rows]),
                tubes=[tube.id for tube, _ in gains],
                campaigns=[tube.campaign_id for tube, _ in gains],
                regions=[tube.region for tube, _ in gains],
                now=uow.now,
            )
    except asyncpg.UniqueViolationError:
        return False
    return True


async def _remember_refused(uow: UnitOfWork, batch: Batch) -> None:
    if batch.refused:
        await uow.run(
            STORE_REFUSED_SAMPLES,
            regions=[_region_of(uow, batch, item) for item, _ in batch.refused],
            ids=[item.id for item, _ in batch.refused],
            campaigns=[item.campaign_id for item, _ in batch.refused],
            numbers=[item.tube_number for item, _ in batch.refused],
            residents=[None if item.resident_id == NOBODY else item.resident_id for item, _ in batch.refused],
            sampled=[item.sampled_at for item, _ in batch.refused],
            reasons=[code for _, code in batch.refused],
        )
    if batch.kept:
        await uow.run(RESOLVE_REFUSED_SAMPLES, ids=list(batch.kept), now=uow.now)


def _region_of(uow: UnitOfWork, batch: Batch, item: Swab) -> str:
    named = batch.named.get(item.tube_number)
    return named.region if named else own_region(uow.actor)


async def _fill(uow: UnitOfWork, batch: Batch, tubes: Mapping[UUID, RowMapping]) -> None:
    """Add the swabs to the counts of their tubes, and propagate new members of sealed tubes."""
    gains = batch.by_tube()
    if not gains:
        return
    filled = await uow.rows(
        FILL_TUBES,
        ids=[tube.id for tube, _ in gains],
        people=[sum(keep.decision.exception is None for keep in kept) for _, kept in gains],
        listed=[len(kept) if tubes[tube.id]["manifest"] is not None else 0 for tube, kept in gains],
        firsts=[min(keep.item.sampled_at for keep in kept) for _, kept in gains],
        now=uow.now,
    )
    swabs = [
        SingleSwab(tube.id, keep.item.resident_id, pool)
        for tube, kept in gains
        for keep in kept
        for pool in keep.decision.answers
    ]
    await retests.sample(uow, swabs)
    await propagation.propagate(
        uow,
        {
            row["id"]: News("completed" if row["missing"] == 0 else "known", row["outcome"])
            for row in filled
            if tubes[row["id"]]["manifest"] is not None and (row["missing"] == 0 or row["outcome"] is not None)
        },
    )
