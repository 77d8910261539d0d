"""Reveals a person's data unmasked for a stated purpose. The same transaction reads, counts and audits."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from services.registry.residents.problems import RevealLimit
from services.registry.residents.schemas import ReferralReveal, Reveal, Revealed
from services.registry.residents.tables import ResidentRow
from shared.audit.kinds import Kind
from shared.core.actors import Actor, Role
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Fault, Forbidden, InvalidInput, LocalizedText

HOUR = timedelta(hours=1)

# One row has the times of one member of staff in the last hour, so concurrent requests wait and each is counted.
COUNT_REVEAL = text("""
    INSERT INTO reveals AS held (actor, times) VALUES (:actor, ARRAY[CAST(:now AS timestamptz)])
    ON CONFLICT (actor) DO UPDATE
        SET times = ARRAY(SELECT at FROM unnest(held.times) AS at WHERE at > :since ORDER BY at)
            || CAST(:now AS timestamptz)
        WHERE (SELECT count(*) FROM unnest(held.times) AS at WHERE at > :since) < :limit
    RETURNING actor
""")
SELECT_OLDEST_REVEAL = text(
    "SELECT min(at) AS at FROM reveals, unnest(times) AS at WHERE actor = :actor AND at > :since"
)

_REPEATED = LocalizedText(zh="理由中不得填写所查看的信息", en="The reason must not repeat the data")


async def reveal_resident(uow: UnitOfWork, resident_id: UUID, query: Reveal) -> Revealed:
    """Return the requested fields unmasked."""
    row = await uow.get(ResidentRow, resident_id)
    await _count(uow)
    values = {name: getattr(row, name) for name in query.fields}
    # Many people read the audit log, and it is kept for years.
    known = (row.name, row.document_number, row.phone, row.address)
    if any(value and value in query.reason for value in known):
        raise InvalidInput(errors=[Fault("reason_repeats_data", _REPEATED, at="/reason")])
    uow.audit(kind=Kind.REVEAL, subjects=[row.id], purpose=query.purpose, reason=query.reason)
    return Revealed(id=row.id, **values)


async def reveal_for_referral(uow: UnitOfWork, query: ReferralReveal) -> Revealed:
    """Return the data with which the 120 desk or a hospital reaches a person.

    Observation has checked that the open referral belongs to the caller. The audit entry names that caller, not the
    service that forwards the request, so that the person can read who viewed the data.
    """
    row = await uow.get(ResidentRow, query.resident_id)
    caller = replace(Actor.claimed(query.actor), request_id=uow.actor.request_id)
    if caller.role not in Role.DESK_120 | Role.HOSPITAL:
        raise Forbidden()
    uow.operation = query.operation
    reason = f"referral {query.referral_id}"
    uow.audit(kind=Kind.REVEAL, subjects=[row.id], purpose=query.purpose, reason=reason, actor=caller)
    return Revealed(id=row.id, name=row.name, phone=row.phone, address=row.address)


async def _count(uow: UnitOfWork) -> None:
    limit, since = uow.context.settings.reveals_per_hour, uow.now - HOUR
    window = {"actor": uow.actor.subject, "since": since}
    if limit and await uow.rows(COUNT_REVEAL, now=uow.now, limit=limit, **window):
        return
    oldest = (await uow.rows(SELECT_OLDEST_REVEAL, **window))[0]["at"]
    wait = (oldest - since).total_seconds() if oldest else HOUR.total_seconds()
    raise RevealLimit(limit=limit, retry_after=max(1, int(wait) + 1))
