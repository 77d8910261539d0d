"""Revealing: a person's data in clear, for a stated purpose, counted and audited in the transaction that reads them."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from services.registry.residents.problems import RevealLimit
from services.registry.residents.schemas import ReferralReveal, Reveal, Revealed
from services.registry.residents.tables import ResidentRow
from shared.actors import Actor, Role
from shared.audit.kinds import Kind
from shared.problems import Fault, Forbidden, InvalidInput, Text
from shared.work import Work

HOUR = timedelta(hours=1)

# The last hour's times of one person, in one row: two requests at once wait for each other, and none is uncounted.
COUNT = text("""
    INSERT INTO reveals AS held (actor, times) VALUES (:actor, ARRAY[CAST(:now AS timestamptz)])
    ON CONFLICT (actor) DO UPDATE
        SET times = ARRAY(SELECT at FROM unnest(held.times) AS at WHERE at > :since ORDER BY at)
            || CAST(:now AS timestamptz)
        WHERE (SELECT count(*) FROM unnest(held.times) AS at WHERE at > :since) < :limit
    RETURNING actor
""")
OLDEST = text("SELECT min(at) AS at FROM reveals, unnest(times) AS at WHERE actor = :actor AND at > :since")

_REPEATED = Text(zh="理由中不可写入所查看的信息本身", en="The reason must not repeat the data themselves")


async def reveal_resident(work: Work, resident_id: UUID, asked: Reveal) -> Revealed:
    """What is asked for, in clear."""
    row = await work.get(ResidentRow, resident_id)
    await _count(work)
    values = {name: getattr(row, name) for name in asked.fields}
    # The audit is read by many, and keeps what it is given for years.
    known = (row.name, row.document_number, row.phone, row.address)
    if any(value and value in asked.reason for value in known):
        raise InvalidInput(errors=[Fault("reason_repeats_data", _REPEATED, at="/reason")])
    work.audit(kind=Kind.REVEAL, subjects=[row.id], purpose=asked.purpose, reason=asked.reason)
    return Revealed(id=row.id, **values)


async def reveal_for_referral(work: Work, asked: ReferralReveal) -> Revealed:
    """What 120 or a hospital needs to reach a person. Observation has checked that the open referral is theirs.

    The entry is of who asked, not of the service that passes it on, so that the person reads it.
    """
    row = await work.get(ResidentRow, asked.resident_id)
    caller = replace(Actor.claimed(asked.actor), request_id=work.actor.request_id)
    if caller.role not in Role.DESK_120 | Role.HOSPITAL:
        raise Forbidden()
    work.operation = asked.operation
    reason = f"referral {asked.referral_id}"
    work.audit(kind=Kind.REVEAL, subjects=[row.id], purpose=asked.purpose, reason=reason, actor=caller)
    return Revealed(id=row.id, name=row.name, phone=row.phone, address=row.address)


async def _count(work: Work) -> None:
    limit, since = work.house.settings.reveals_per_hour, work.now - HOUR
    asked = {"actor": work.actor.subject, "since": since}
    if limit and await work.rows(COUNT, now=work.now, limit=limit, **asked):
        return
    oldest = (await work.rows(OLDEST, **asked))[0]["at"]
    wait = (oldest - since).total_seconds() if oldest else HOUR.total_seconds()
    raise RevealLimit(limit=limit, retry_after=max(1, int(wait) + 1))
