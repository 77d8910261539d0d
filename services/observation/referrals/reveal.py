"""Reveals the person of an open referral to the 120 desk or the hospital.

Nothing of it is stored here. The registry is called outside a transaction, and writes the audit entry that the person
reads.
"""

from datetime import timedelta
from uuid import UUID

import httpx
from sqlalchemy import text

from services.observation.referrals import rules
from services.observation.referrals.schemas import ReferralPerson
from services.observation.referrals.tables import ReferralRow
from services.observation.referrals.use_cases import ReferralEnded
from shared.core.actors import Actor, Role, system
from shared.database.unit_of_work import UnitOfWork
from shared.problems import LocalizedText, Problem, UpstreamFailed
from shared.runtime.context import ServiceContext

PURPOSES = {Role.DESK_120: "transfer", Role.HOSPITAL: "treatment"}
"""The fixed purpose of each role."""

HOUR = timedelta(hours=1)
MOST_AN_HOUR = 60
"""Most reveals of one referral in an hour. Each referral has its own count, so that many referrals at once do not block
an ambulance. A crew needs one reveal."""

OPERATION = "POST /observation/v1/referrals/{referral_id}/reveal"


class ReferralRevealLimit(Problem):
    """The person of one referral was revealed more often than needed."""

    status = 429
    code = "referral_reveal_limit"
    title = LocalizedText(zh="查看过于频繁", en="This person's data were viewed too often")
    what = LocalizedText(
        zh="同一转诊一小时内最多查看 {limit} 次",
        en="The data of one referral can be viewed at most {limit} times an hour",
    )
    fix = LocalizedText(zh="请稍后再试，或致电报告单位", en="Try again later, or call the reporting office")


class NotDesignated(Problem):
    """A hospital can reveal a person only if the 120 desk has named it, not because it reported the fever."""

    status = 403
    code = "not_designated"
    title = LocalizedText(zh="该患者未指定送往贵院", en="The 120 desk has not named your hospital for this patient")
    fix = LocalizedText(
        zh="请联系 120 指挥中心在转诊消息中注明贵院",
        en="Ask the 120 desk to name your hospital in a message about this referral",
    )


class PersonNotOnRecord(Problem):
    """The registry has no record of the person."""

    status = 404
    code = "person_not_on_record"
    title = LocalizedText(zh="未找到该人员的登记信息", en="This person is not on record")
    fix = LocalizedText(
        zh="请联系报告地点的社区或验码点核实住址", en="Ask the community or the service point that reported the fever"
    )


# Only a message of the 120 desk designates a hospital. The hospital's own messages do not.
SELECT_DESIGNATED = text("""
    SELECT 1 FROM messages
    WHERE referral_id = :id AND source = 'desk_120' AND state = 'applied' AND hospital = :party LIMIT 1
""")
COUNT_REVEAL = text("""
    UPDATE referrals
    SET reveals = ARRAY(SELECT at FROM unnest(reveals) AS at WHERE at > :since ORDER BY at) || CAST(:now AS timestamptz)
    WHERE id = :id AND (SELECT count(*) FROM unnest(reveals) AS at WHERE at > :since) < :most
""")
SELECT_OLDEST_REVEAL = text("SELECT min(at) AS at FROM referrals, unnest(reveals) AS at WHERE id = :id AND at > :since")


async def reveal_referral(context: ServiceContext, caller: Actor, referral_id: UUID) -> ReferralPerson:
    """Return name, phone and address of the person of the caller's open referral."""
    async with context.unit_of_work(caller, OPERATION) as uow:
        row = await uow.get(ReferralRow, referral_id)
        if row.state in rules.CLOSED:
            raise ReferralEnded()
        async with uow.unscoped():
            if caller.role is Role.HOSPITAL:
                await _require_designated(uow, row, caller.party)
            await _count(uow, row)
    person = await _ask(context, caller, row)
    return ReferralPerson(referral_id=row.id, region=row.region, **person)


async def _require_designated(uow: UnitOfWork, row: ReferralRow, party: str) -> None:
    if row.hospital != party or not await uow.rows(SELECT_DESIGNATED, id=row.id, party=party):
        raise NotDesignated()


async def _count(uow: UnitOfWork, row: ReferralRow) -> None:
    """Count a reveal in the referral's row. Concurrent requests wait for the row, so each is counted."""
    since = uow.now - HOUR
    if await uow.run(COUNT_REVEAL, id=row.id, now=uow.now, since=since, most=MOST_AN_HOUR):
        return
    (oldest,) = await uow.rows(SELECT_OLDEST_REVEAL, id=row.id, since=since)
    raise ReferralRevealLimit(limit=MOST_AN_HOUR, retry_after=max(1, int((oldest["at"] - since).total_seconds()) + 1))


async def _ask(context: ServiceContext, caller: Actor, row: ReferralRow) -> dict[str, str | None]:
    query = {
        "resident_id": str(row.resident_id),
        "referral_id": str(row.id),
        "purpose": PURPOSES[caller.role],
        "operation": OPERATION,
        "actor": caller.claims(),
    }
    actor = system("observation").during(caller.request_id)
    answer = await context.service_clients.call("registry", "POST", "/internal/reveals", actor, json=query)
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise PersonNotOnRecord()
    if answer.status_code != httpx.codes.OK:
        raise UpstreamFailed()
    payload = answer.json()
    return {name: payload[name] for name in ("name", "phone", "address")}
