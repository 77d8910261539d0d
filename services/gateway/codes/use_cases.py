"""Use cases of codes. Only `reevaluate` changes a colour, and it takes only ids.

`renew` updates only the time of the latest negative, on which no colour depends.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.gateway.codes import rules
from services.gateway.codes.policy import Policy, YellowName
from services.gateway.codes.rules import NEGATIVE_COUNTS, Decision, Fact, Reason
from services.gateway.codes.schemas import CodeCounts, CodeShown, ReasonShown
from services.gateway.codes.tables import DECIDING, LABELS, to_public
from shared.audit.kinds import Kind
from shared.contracts.gateway import Code
from shared.core.ids import in_order, named_id
from shared.database.bulk import literal
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Language, NotFound
from shared.runtime.context import ServiceContext

CHUNK = 5_000
ENDED_AT_ONCE = 1_000
FORGOTTEN_AT_ONCE = 5_000
NOBODY = UUID(int=0)

SELECT_LATEST_POLICY = text("SELECT version, document::text AS document FROM policies ORDER BY version DESC LIMIT 1")
SELECT_POLICY = text("SELECT version, document::text AS document FROM policies WHERE version = :version")

# Facts and people arrive on different feeds. Without this lock two concurrent transactions could each miss the other's
# row. Facts take it shared, people exclusive.
FACTS_LOCK = named_id("lock", "gateway:arrivals").int % 2**63
LOCK_SHARED = text("SELECT pg_advisory_xact_lock_shared(:key)")
LOCK_EXCLUSIVE = text("SELECT pg_advisory_xact_lock(:key)")

# Codes are locked in the order of ids, so that two transactions with the same people cannot deadlock.
LOCK_CODES = text("""
    SELECT count(*) FROM unnest(CAST(CAST(:ids AS text) AS uuid[])) AS given (id)
    CROSS JOIN LATERAL (SELECT FROM codes WHERE resident_id = given.id FOR NO KEY UPDATE) AS code
""")

# The latest negative changes no colour, so this statement writes it for all. It returns only the codes that need an
# evaluation: normally one in a hundred. Each code is found once and then updated by its `ctid`, which cannot change
# because the row is locked. Pass the ids through a subquery, because the planner then assumes few rows and uses the
# primary key. With row-level security it otherwise misestimates and scans the table for each batch.
RENEW_AND_SELECT_UNDECIDED = text(f"""
    WITH code AS MATERIALIZED (
        SELECT codes.ctid AS row_id, resident_id, version, region, colour, until, colour_after, green_from,
            last_negative, policy, reasons, (
                SELECT max(sampled_at) FROM facts
                WHERE facts.resident_id = given.id AND kind = 'negative' AND sampled_at > :since
            ) AS latest
        FROM unnest((SELECT CAST(CAST(:ids AS text) AS uuid[]))) AS given (id) JOIN codes ON resident_id = given.id
    ), renewed AS (
        UPDATE codes SET last_negative = code.latest FROM code
        WHERE codes.ctid = code.row_id AND code.last_negative IS DISTINCT FROM code.latest
    )
    SELECT resident_id, version, region, colour, until, colour_after, green_from, policy, reasons FROM code
    WHERE reasons <> '[]' OR EXISTS (SELECT FROM facts WHERE facts.resident_id = code.resident_id AND ({DECIDING}))
""")  # noqa: S608 - a constant
# For people whose colour cannot change. The codes are locked in the order of ids here too, because a join alone has no
# order: on a small table PostgreSQL updated the rows in physical order. The condition is repeated in the UPDATE,
# because a concurrent transaction may have changed the code while this one waited for the lock.
RENEW_LAST_NEGATIVES = text("""
    WITH locked AS MATERIALIZED (
        SELECT given.id, given.sampled_at FROM unnest(
            (SELECT CAST(CAST(:ids AS text) AS uuid[])), (SELECT CAST(CAST(:sampled AS text) AS timestamptz[]))
        ) AS given (id, sampled_at)
        CROSS JOIN LATERAL (
            SELECT FROM codes
            WHERE resident_id = given.id AND (last_negative IS NULL OR last_negative < given.sampled_at)
            FOR NO KEY UPDATE
        ) AS code
    )
    UPDATE codes SET last_negative = locked.sampled_at FROM locked
    WHERE codes.resident_id = locked.id AND (last_negative IS NULL OR last_negative < locked.sampled_at)
""")
SELECT_FACTS = text(f"""
    SELECT resident_id, kind, source_type, subject::text AS source_id, at, until, variant, answers::text AS answers,
        sampled_at, pool_size, earliest_end
    FROM facts WHERE resident_id = ANY(CAST(:ids AS uuid[])) AND ({DECIDING})
""")  # noqa: S608 - a constant
DELETE_OLD_NEGATIVES = text("""
    DELETE FROM facts WHERE (subject, number) IN (
        SELECT subject, number FROM facts
        WHERE kind = 'negative' AND answers IS NULL AND sampled_at <= :before LIMIT :limit
    )
""")

# The version changes only if the published part of a code changes.
UPDATE_CODES = text("""
    UPDATE codes SET colour = given.colour, until = given.until, colour_after = given.colour_after,
        green_from = given.green_from, policy = given.policy,
        reasons = given.reasons::jsonb, version = codes.version + given.is_news::integer,
        changed_at = CASE WHEN given.is_news THEN :now ELSE codes.changed_at END
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:colour AS smallint[]), CAST(:until AS timestamptz[]),
        CAST(:colour_after AS smallint[]), CAST(:green_from AS timestamptz[]), CAST(:policy AS bigint[]),
        CAST(:reasons AS text[]), CAST(:is_news AS boolean[])
    ) AS given (id, colour, until, colour_after, green_from, policy, reasons, is_news)
    WHERE codes.resident_id = given.id
""")
INSERT_CODE_CHANGES = text("""
    INSERT INTO code_changes (resident_id, version, region, at, colour, policy, reasons)
    SELECT resident_id, version, region, :now, colour, policy, reasons FROM codes
    WHERE resident_id = ANY(CAST(:ids AS uuid[])) ORDER BY resident_id
""")
SELECT_CODES = text("""
    SELECT resident_id, version, region, colour, until, colour_after, green_from, last_negative, policy, reasons
    FROM codes WHERE resident_id = ANY(CAST(:ids AS uuid[])) ORDER BY resident_id
""")
SELECT_SNAPSHOT = text("""
    SELECT resident_id, version, region, colour, until, colour_after, green_from, last_negative, policy, reasons
    FROM codes WHERE resident_id > :after ORDER BY resident_id LIMIT :limit
""")
SELECT_ENDED_CODES = text("""
    SELECT resident_id FROM codes WHERE colour > 1 AND until <= :now ORDER BY until LIMIT :limit
""")
# Counts the colours as they are now, as `colour_at` of rules.py does.
COUNT_COLOURS = text("""
    SELECT CASE WHEN green_from <= :now THEN 1 WHEN until <= :now THEN colour_after ELSE colour END AS colour,
        count(*) AS people
    FROM codes WHERE region >= :low AND region < :high GROUP BY 1
""")


async def reevaluate(uow: UnitOfWork, ids: Iterable[UUID]) -> None:
    """Compute the codes of these people from their facts and the published policy. Writes only codes that change.

    Codes are locked before facts and policy are read, so that a concurrent change is not missed.
    """
    ordered = in_order(ids)
    await uow.run(LOCK_SHARED, key=FACTS_LOCK)
    for start in range(0, len(ordered), CHUNK):
        await _reevaluate(uow, ordered[start : start + CHUNK])


async def renew(uow: UnitOfWork, negatives: Iterable[tuple[UUID, datetime]]) -> None:
    """Update the latest negatives of people without other new facts. No colour depends on them."""
    latest: dict[UUID, datetime] = {}
    for resident_id, sampled_at in negatives:
        if sampled_at > latest.get(resident_id, uow.now - NEGATIVE_COUNTS):
            latest[resident_id] = sampled_at
    ordered = in_order(latest)
    await uow.run(LOCK_SHARED, key=FACTS_LOCK)
    await uow.run(RENEW_LAST_NEGATIVES, ids=literal(ordered), sampled=literal([latest[id_] for id_ in ordered]))


async def _reevaluate(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    people = literal(ids)
    await uow.run(LOCK_CODES, ids=people)
    codes = await uow.rows(RENEW_AND_SELECT_UNDECIDED, ids=people, since=uow.now - NEGATIVE_COUNTS)
    if not codes:
        return
    policy = await policy_now(uow)
    facts = await facts_of(uow, [code["resident_id"] for code in codes])
    decided = [(code, rules.evaluate(facts[code["resident_id"]], policy, uow.now)) for code in codes]
    changed = [(code, decision) for code, decision in decided if not _is_same(code, decision, policy)]
    if not changed:
        return
    for code, decision in changed:
        if code["colour"] != decision.colour:
            uow.audit(kind=Kind.RESTRICTION, subjects=[code["resident_id"]], reason=f"code.{LABELS[decision.colour]}")
    news = [_is_news(code, decision) for code, decision in changed]
    await uow.run(
        UPDATE_CODES,
        ids=[code["resident_id"] for code, _ in changed],
        colour=[int(decision.colour) for _, decision in changed],
        until=[decision.until for _, decision in changed],
        colour_after=[decision.colour_after for _, decision in changed],
        green_from=[decision.green_from for _, decision in changed],
        policy=[policy.version] * len(changed),
        reasons=[json.dumps(_stored(decision.reasons)) for _, decision in changed],
        is_news=news,
        now=uow.now,
    )
    ids_to_publish = [code["resident_id"] for (code, _), is_news in zip(changed, news, strict=True) if is_news]
    if ids_to_publish:
        await uow.run(INSERT_CODE_CHANGES, ids=ids_to_publish, now=uow.now)
        published = [to_public(row) for row in await _read(uow, ids_to_publish)]
        uow.publish_all(published, change="evaluated", urgent=len(published) <= 100)


async def facts_of(uow: UnitOfWork, ids: Sequence[UUID]) -> Mapping[UUID, list[Fact]]:
    """Return the deciding facts of each of these people; an empty list for a person without facts."""
    facts: dict[UUID, list[Fact]] = defaultdict(list)
    for row in await uow.rows(SELECT_FACTS, ids=ids):
        facts[row["resident_id"]].append(_fact(row))
    return facts


async def end_what_time_has_ended(context: ServiceContext) -> None:
    """Evaluate the codes that have ended by time. Readers do not depend on it, because they use their own clock."""
    async with context.system_unit_of_work("end_codes") as uow:
        ended = await uow.rows(SELECT_ENDED_CODES, now=uow.now, limit=ENDED_AT_ONCE)
        await reevaluate(uow, [row["resident_id"] for row in ended])


async def forget_negatives(context: ServiceContext) -> None:
    """Delete the negatives that are too old for every service point."""
    forgotten = FORGOTTEN_AT_ONCE
    while forgotten == FORGOTTEN_AT_ONCE:
        async with context.system_unit_of_work("forget_negatives") as uow:
            forgotten = await uow.run(DELETE_OLD_NEGATIVES, before=uow.now - NEGATIVE_COUNTS, limit=FORGOTTEN_AT_ONCE)


async def get_code(uow: UnitOfWork, resident_id: UUID, language: Language) -> CodeShown:
    """Return a person's code and record the access. Raises NotFound."""
    codes = await _read(uow, [resident_id])
    if not codes:
        raise NotFound()
    if resident_id != uow.actor.resident_id:  # access to one's own code is not recorded, as in own_code.py
        uow.record_access([resident_id])
    return await shown(uow, codes[0], language)


async def shown(uow: UnitOfWork, code: Any, language: Language) -> CodeShown:
    """Return a code with its reasons as text."""
    policy = await _policy_of(uow, code.policy)
    return in_words(code, policy, uow.now, language, yellow=uow.context.settings.yellow)


def in_words(
    code: Any, policy: Policy, now: datetime, language: Language, token: str | None = None, *, yellow: YellowName
) -> CodeShown:
    """Return a code as it is at `now`, with each reason as text."""
    colour = LABELS[rules.colour_at(code, now)]
    reasons = rules.reasons_at(_reasons(code.reasons), now)
    return CodeShown(
        resident_id=code.resident_id,
        colour=colour,
        meaning=getattr(policy.colours.meaning(colour, yellow), language[:2]),
        until=code.until,
        colour_after=None if code.colour_after is None else LABELS[code.colour_after],
        green_from=code.green_from,
        last_negative_at=code.last_negative,
        policy=code.policy,
        reasons=[_explained(reason, policy, language) for reason in reasons],
        token=token,
    )


async def count_codes(uow: UnitOfWork, low: str, high: str) -> CodeCounts:
    """Count the colours of the people whose region code is in [low, high)."""
    rows = await uow.rows(COUNT_COLOURS, now=uow.now, low=low, high=high)
    counts = {LABELS[row["colour"]]: row["people"] for row in rows}
    return CodeCounts(green=counts.get("green", 0), yellow=counts.get("yellow", 0), red=counts.get("red", 0))


async def snapshot_of_codes(uow: UnitOfWork, after: UUID | None, limit: int) -> Sequence[Code]:
    """Return a page of all codes in the order of resident ids, for subscribers that rebuild."""
    rows = (await uow.session.execute(SELECT_SNAPSHOT, {"after": after or NOBODY, "limit": limit})).all()
    return [to_public(row) for row in rows]


async def policy_now(uow: UnitOfWork) -> Policy:
    """Return the published policy."""
    (row,) = await uow.rows(SELECT_LATEST_POLICY)
    return policy_of_document(row["version"], row["document"])


async def _policy_of(uow: UnitOfWork, version: int) -> Policy:
    (row,) = await uow.rows(SELECT_POLICY, version=version)
    return policy_of_document(row["version"], row["document"])


async def _read(uow: UnitOfWork, ids: Sequence[UUID]) -> Sequence[Any]:
    return (await uow.session.execute(SELECT_CODES, {"ids": in_order(ids)})).all()


@lru_cache(maxsize=8)
def policy_of_document(version: int, document: str) -> Policy:
    """Parse a published policy; cached by version."""
    return Policy.model_validate_json(document)


def _fact(row: RowMapping) -> Fact:
    return Fact(
        kind=row["kind"],
        source_type=row["source_type"],
        source_id=row["source_id"],
        at=row["at"],
        until=row["until"],
        variant=row["variant"],
        answers=row["answers"],
        sampled_at=row["sampled_at"],
        pool_size=row["pool_size"],
        earliest_end=row["earliest_end"],
    )


def _is_same(code: RowMapping, decision: Decision, policy: Policy) -> bool:
    return not _is_news(code, decision) and (code["policy"] == policy.version or not code["reasons"])


def _is_news(code: RowMapping, decision: Decision) -> bool:
    stored = (code["colour"], code["until"], code["colour_after"], code["green_from"])
    decided = (decision.colour, decision.until, decision.colour_after, decision.green_from)
    return stored != decided or bool(code["reasons"] != _stored(decision.reasons))


def _stored(reasons: Iterable[Reason]) -> list[dict[str, Any]]:
    builtins: list[dict[str, Any]] = msgspec.to_builtins(list(reasons))
    return builtins


def _reasons(stored: list[dict[str, Any]]) -> list[Reason]:
    return msgspec.convert(stored, list[Reason]) if stored else []


def _explained(reason: Reason, policy: Policy, language: Language) -> ReasonShown:
    words = rules.explain(reason, policy)
    short = language[:2]
    return ReasonShown(
        rule=reason.rule,
        colour=LABELS[reason.colour],
        evidence_type=reason.source_type,
        evidence_id=UUID(reason.source_id),
        since=reason.since,
        until=reason.until,
        earliest_end=reason.earliest_end,
        why=getattr(words.why, short),
        how_it_ends=getattr(words.how_it_ends, short),
        next_step=getattr(words.next_step, short),
        source=getattr(words.source, short),
    )
