"""Codes: how they come to be. There is one way, `reevaluate`, and it takes nothing but ids.

Beside it `renew` keeps the latest negative, on which no colour depends.
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
from services.gateway.codes.tables import DECIDING, LABELS, say
from shared.audit.kinds import Kind
from shared.bulk import literal
from shared.contracts.gateway import Code
from shared.house import House
from shared.ids import in_order, named_id
from shared.problems import Language, NotFound
from shared.work import Work

CHUNK = 5_000
ENDED_AT_ONCE = 1_000
FORGOTTEN_AT_ONCE = 5_000
NOBODY = UUID(int=0)

POLICY = text("SELECT version, document::text AS document FROM policies ORDER BY version DESC LIMIT 1")
POLICY_OF = text("SELECT version, document::text AS document FROM policies WHERE version = :version")

# A fact and its person may come at the same time, from two feeds: then neither would see the other. So who brings facts
# waits for who brings people, and the other way.
ARRIVALS = named_id("lock", "gateway:arrivals").int % 2**63
WAIT = text("SELECT pg_advisory_xact_lock_shared(:key)")
WAIT_ALONE = text("SELECT pg_advisory_xact_lock(:key)")

# In the order in which they are asked for, that of ids, so that two who write the same people wait for each other and
# never deadlock.
LOCK = text("""
    SELECT count(*) FROM unnest(CAST(CAST(:ids AS text) AS uuid[])) AS asked (id)
    CROSS JOIN LATERAL (SELECT FROM codes WHERE resident_id = asked.id FOR NO KEY UPDATE) AS code
""")

# The latest negative decides nothing, it is only kept at hand; so it is written here for all. Asked for are the codes
# of those about whom there is something to decide: one in a hundred, when all is well. Each code is looked up once and
# then written at its place (`ctid`), which its lock holds. An array from a subquery is a short one to the planner, and
# so it looks up each: it knows nothing of a scope, and read all codes instead, for each batch.
RENEW = text(f"""
    WITH code AS MATERIALIZED (
        SELECT codes.ctid AS place, resident_id, version, region, colour, until, colour_after, green_from,
            last_negative, policy, reasons, (
                SELECT max(sampled_at) FROM facts
                WHERE facts.resident_id = asked.id AND kind = 'negative' AND sampled_at > :since
            ) AS latest
        FROM unnest((SELECT CAST(CAST(:ids AS text) AS uuid[]))) AS asked (id) JOIN codes ON resident_id = asked.id
    ), renewed AS (
        UPDATE codes SET last_negative = code.latest FROM code
        WHERE codes.ctid = code.place AND code.last_negative IS DISTINCT FROM code.latest
    )
    SELECT resident_id, version, region, colour, until, colour_after, green_from, policy, reasons FROM code
    WHERE reasons <> '[]' OR EXISTS (SELECT FROM facts WHERE facts.resident_id = code.resident_id AND ({DECIDING}))
""")  # noqa: S608 - a constant
# Where there is nothing to decide. The codes are locked in the order of ids here too, for a join alone has no order: a
# small table was written as it lies. Who waited for a code compares with what it has become.
RENEW_ONLY = text("""
    WITH held AS MATERIALIZED (
        SELECT given.id, given.sampled_at FROM unnest(
            (SELECT CAST(CAST(:ids AS text) AS uuid[])), (SELECT CAST(CAST(:sampled AS text) AS timestamptz[]))
        ) AS given (id, sampled_at)
        CROSS JOIN LATERAL (
            SELECT FROM codes
            WHERE resident_id = given.id AND (last_negative IS NULL OR last_negative < given.sampled_at)
            FOR NO KEY UPDATE
        ) AS code
    )
    UPDATE codes SET last_negative = held.sampled_at FROM held
    WHERE codes.resident_id = held.id AND (last_negative IS NULL OR last_negative < held.sampled_at)
""")
FACTS = text(f"""
    SELECT resident_id, kind, source_type, subject::text AS source_id, at, until, variant, answers::text AS answers,
        sampled_at, pool_size, earliest_end
    FROM facts WHERE resident_id = ANY(CAST(:ids AS uuid[])) AND ({DECIDING})
""")  # noqa: S608 - a constant
FORGET = text("""
    DELETE FROM facts WHERE (subject, number) IN (
        SELECT subject, number FROM facts
        WHERE kind = 'negative' AND answers IS NULL AND sampled_at <= :before LIMIT :limit
    )
""")

# The version counts what others can see of a code.
WRITE = text("""
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
REMEMBER = text("""
    INSERT INTO code_changes (resident_id, version, region, at, colour, policy, reasons)
    SELECT resident_id, version, region, :now, colour, policy, reasons FROM codes
    WHERE resident_id = ANY(CAST(:ids AS uuid[])) ORDER BY resident_id
""")
READ = text("""
    SELECT resident_id, version, region, colour, until, colour_after, green_from, last_negative, policy, reasons
    FROM codes WHERE resident_id = ANY(CAST(:ids AS uuid[])) ORDER BY resident_id
""")
SNAPSHOT = text("""
    SELECT resident_id, version, region, colour, until, colour_after, green_from, last_negative, policy, reasons
    FROM codes WHERE resident_id > :after ORDER BY resident_id LIMIT :limit
""")
ENDED = text("""
    SELECT resident_id FROM codes WHERE colour > 1 AND until <= :now ORDER BY until LIMIT :limit
""")
# A reader counts by its own clock, as the door does.
COUNTS = text("""
    SELECT CASE WHEN green_from <= :now THEN 1 WHEN until <= :now THEN colour_after ELSE colour END AS colour,
        count(*) AS people
    FROM codes WHERE region >= :low AND region < :high GROUP BY 1
""")


async def reevaluate(work: Work, ids: Iterable[UUID]) -> None:
    """Make the codes of these people what their facts and the published policy say. Writes only what changed.

    The codes are locked first and facts and policy read then, so that of two changes at once neither is overlooked.
    """
    ordered = in_order(ids)
    await work.run(WAIT, key=ARRIVALS)
    for start in range(0, len(ordered), CHUNK):
        await _reevaluate(work, ordered[start : start + CHUNK])


async def renew(work: Work, negatives: Iterable[tuple[UUID, datetime]]) -> None:
    """Keep the latest negatives of people about whom nothing else became known: no colour depends on them."""
    latest: dict[UUID, datetime] = {}
    for resident_id, sampled_at in negatives:
        if sampled_at > latest.get(resident_id, work.now - NEGATIVE_COUNTS):
            latest[resident_id] = sampled_at
    ordered = in_order(latest)
    await work.run(WAIT, key=ARRIVALS)
    await work.run(RENEW_ONLY, ids=literal(ordered), sampled=literal([latest[id_] for id_ in ordered]))


async def _reevaluate(work: Work, ids: Sequence[UUID]) -> None:
    people = literal(ids)
    await work.run(LOCK, ids=people)
    codes = await work.rows(RENEW, ids=people, since=work.now - NEGATIVE_COUNTS)
    if not codes:
        return
    policy = await policy_now(work)
    facts = await facts_of(work, [code["resident_id"] for code in codes])
    decided = [(code, rules.evaluate(facts[code["resident_id"]], policy, work.now)) for code in codes]
    changed = [(code, decision) for code, decision in decided if not _is_same(code, decision, policy)]
    if not changed:
        return
    for code, decision in changed:
        if code["colour"] != decision.colour:
            work.audit(kind=Kind.RESTRICTION, subjects=[code["resident_id"]], reason=f"code.{LABELS[decision.colour]}")
    news = [_is_news(code, decision) for code, decision in changed]
    await work.run(
        WRITE,
        ids=[code["resident_id"] for code, _ in changed],
        colour=[int(decision.colour) for _, decision in changed],
        until=[decision.until for _, decision in changed],
        colour_after=[decision.colour_after for _, decision in changed],
        green_from=[decision.green_from for _, decision in changed],
        policy=[policy.version] * len(changed),
        reasons=[json.dumps(_stored(decision.reasons)) for _, decision in changed],
        is_news=news,
        now=work.now,
    )
    told = [code["resident_id"] for (code, _), is_news in zip(changed, news, strict=True) if is_news]
    if told:
        await work.run(REMEMBER, ids=told, now=work.now)
        work.publish_all([say(row) for row in await _read(work, told)], change="evaluated", urgent=len(told) <= 100)


async def facts_of(work: Work, ids: Sequence[UUID]) -> Mapping[UUID, list[Fact]]:
    """All that is asserted about each of these people; nothing, of whom nobody asserts anything."""
    facts: dict[UUID, list[Fact]] = defaultdict(list)
    for row in await work.rows(FACTS, ids=ids):
        facts[row["resident_id"]].append(_fact(row))
    return facts


async def end_what_time_has_ended(house: House) -> None:
    """Write down the codes that time alone has changed. Readers need it not: they go by their own clock."""
    async with house.system_work("end_codes") as work:
        ended = await work.rows(ENDED, now=work.now, limit=ENDED_AT_ONCE)
        await reevaluate(work, [row["resident_id"] for row in ended])


async def forget_negatives(house: House) -> None:
    """Remove the negatives that are too old to count anywhere."""
    forgotten = FORGOTTEN_AT_ONCE
    while forgotten == FORGOTTEN_AT_ONCE:
        async with house.system_work("forget_negatives") as work:
            forgotten = await work.run(FORGET, before=work.now - NEGATIVE_COUNTS, limit=FORGOTTEN_AT_ONCE)


async def get_code(work: Work, resident_id: UUID, language: Language) -> CodeShown:
    found = await _read(work, [resident_id])
    if not found:
        raise NotFound()
    if resident_id != work.actor.resident_id:  # who looks at their own code leaves no trace, here as on the hot way
        work.saw([resident_id])
    return await shown(work, found[0], language)


async def shown(work: Work, code: Any, language: Language) -> CodeShown:
    """A code as people read it."""
    policy = await _policy_of(work, code.policy)
    return in_words(code, policy, work.now, language, yellow=work.house.settings.yellow)


def in_words(
    code: Any, policy: Policy, now: datetime, language: Language, token: str | None = None, *, yellow: YellowName
) -> CodeShown:
    """A code as people read it: the colour by the reader's clock, and each reason in words."""
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


async def count_codes(work: Work, low: str, high: str) -> CodeCounts:
    rows = await work.rows(COUNTS, now=work.now, low=low, high=high)
    counts = {LABELS[row["colour"]]: row["people"] for row in rows}
    return CodeCounts(green=counts.get("green", 0), yellow=counts.get("yellow", 0), red=counts.get("red", 0))


async def snapshot_of_codes(work: Work, after: UUID | None, limit: int) -> Sequence[Code]:
    """All codes in the order of their people, for who rebuilds."""
    rows = (await work.session.execute(SNAPSHOT, {"after": after or NOBODY, "limit": limit})).all()
    return [say(row) for row in rows]


async def policy_now(work: Work) -> Policy:
    """The published policy."""
    (row,) = await work.rows(POLICY)
    return policy_of_document(row["version"], row["document"])


async def _policy_of(work: Work, version: int) -> Policy:
    (row,) = await work.rows(POLICY_OF, version=version)
    return policy_of_document(row["version"], row["document"])


async def _read(work: Work, ids: Sequence[UUID]) -> Sequence[Any]:
    return (await work.session.execute(READ, {"ids": in_order(ids)})).all()


@lru_cache(maxsize=8)
def policy_of_document(version: int, document: str) -> Policy:
    """A published policy, read once."""
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
    held = (code["colour"], code["until"], code["colour_after"], code["green_from"])
    found = (decision.colour, decision.until, decision.colour_after, decision.green_from)
    return held != found or bool(code["reasons"] != _stored(decision.reasons))


def _stored(reasons: Iterable[Reason]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.to_builtins(list(reasons))
    return found


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
