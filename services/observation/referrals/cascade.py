"""Updates referrals from facts: positives of single tubes open, change and withdraw them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text

from services.observation.people import rules as facts
from services.observation.people.rules import Episode, Finding
from services.observation.protocols.rules import Protocol
from services.observation.protocols.use_cases import protocol_in_force
from services.observation.referrals import rules
from services.observation.referrals.tables import ReferralRow
from shared.contracts.testing import Tube
from shared.core.ids import in_order, new_id
from shared.database.unit_of_work import UnitOfWork

DESK = "desk_120"
"""The party of the 120 desk, to which every referral is assigned."""

TAKEN_BACK = "所依据的检测结果已更正 / The test result behind the referral was corrected"

# A person has one open referral (index `referral_open`), so a second insert is skipped.
OPEN_REFERRALS = text("""
    INSERT INTO referrals (
        id, region, resident_id, reason, state, evidence_type, evidence_id, protocol, reporter, desk,
        reported_at, since, due_at, overdue_at
    )
    SELECT id, region, resident_id, :reason, 'reported', :evidence_type, evidence_id, :protocol, reporter, :desk,
        :now, :now, :due_at, :overdue_at
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:regions AS text[]), CAST(:residents AS uuid[]), CAST(:evidence AS uuid[]),
        CAST(:reporters AS text[])
    ) AS new (id, region, resident_id, evidence_id, reporter)
    ORDER BY resident_id
    ON CONFLICT DO NOTHING
""")


async def open_referrals(
    uow: UnitOfWork,
    protocol: Protocol,
    wanted: Sequence[tuple[UUID, str]],
    evidence: Sequence[UUID | None],
    reporters: Sequence[str] = (),
) -> int:
    """Open a referral for each (resident, region) without an open one. Returns how many were opened.

    `reporters` are the machines or service points that reported each. For staff and this service's worker it is "".
    """
    due = rules.due_at("reported", uow.now, protocol)
    positive = all(evidence)
    return await uow.run(
        OPEN_REFERRALS,
        ids=[new_id() for _ in wanted],
        residents=[resident for resident, _ in wanted],
        regions=[region for _, region in wanted],
        evidence=list(evidence),
        evidence_type=Tube.type if positive else None,
        reason="positive" if positive else "fever",
        protocol=protocol.number,
        reporters=list(reporters) or [""] * len(wanted),
        desk=DESK,
        now=uow.now,
        due_at=due,
        overdue_at=rules.overdue_at(due, uow.now),
    )


async def follow_referrals(uow: UnitOfWork, residents: Sequence[UUID], positives: Mapping[UUID, list[Finding]]) -> None:
    """Open, change or withdraw the referrals of these people as their positives require. Reported fevers are kept.

    `positives` are those in force, by person.
    """
    episodes = await episodes_of(uow, residents)
    called = {
        resident: positive
        for resident in residents
        if (positive := facts.positive_to_refer(positives.get(resident, []), episodes.get(resident, [])))
    }
    await _open_missing(uow, called, episodes)
    rows = await lock_open(uow, residents)
    with_fever = await _with_fever(uow, [row.id for row in rows])
    changed = [row for row in rows if _follow(row, called.get(row.resident_id), row.id in with_fever, uow.now)]
    await uow.session.flush()
    uow.publish_all([row.public() for row in changed], change="followed", urgent=True)


async def _open_missing(
    uow: UnitOfWork, called: Mapping[UUID, Finding], episodes: Mapping[UUID, Sequence[Episode]]
) -> None:
    missing = sorted(r for r in called if not any(one.closed_at is None for one in episodes.get(r, ())))
    if missing:
        protocol = await protocol_in_force(uow)
        wanted = [(resident, called[resident].region) for resident in missing]
        await open_referrals(uow, protocol, wanted, [called[resident].tube for resident in missing])


def _follow(row: ReferralRow, called: Finding | None, fever: bool, now: datetime) -> bool:
    """Update the ground of an open referral. Returns whether that changed it, or it was opened just now."""
    before = row.public()
    if called is not None:
        row.reason, row.evidence_type, row.evidence_id = "positive", Tube.type, called.tube
    elif row.evidence_id is not None and fever:
        row.reason, row.evidence_type, row.evidence_id = "fever", None, None
    elif row.evidence_id is not None and row.state in rules.BEFORE_TRANSPORT:
        withdraw(row, now)
    return row.public() != before or (row.version == 1 and row.reported_at == now)


def withdraw(row: ReferralRow, now: datetime) -> None:
    """Cancel a referral whose ground was revoked before the transport. Afterwards only the hospital decides."""
    cancel(row, now, TAKEN_BACK)
    row.withdrawn = True


def cancel(row: ReferralRow, now: datetime, reason: str) -> None:
    """Cancel a referral."""
    row.state, row.since, row.closed_at = "cancelled", now, now
    row.cancelled_at, row.cancel_reason = now, reason
    row.due_at = row.overdue_at = None


async def episodes_of(uow: UnitOfWork, residents: Sequence[UUID]) -> dict[UUID, list[Episode]]:
    """Return all episodes of these people, by person."""
    statement = select(ReferralRow).where(ReferralRow.resident_id.in_(in_order(residents)))
    episodes: dict[UUID, list[Episode]] = {}
    await uow.session.flush()
    for row in await uow.session.scalars(statement.execution_options(populate_existing=True)):
        one = Episode(row.resident_id, row.state, row.evidence_id, row.closed_at, row.withdrawn)
        episodes.setdefault(row.resident_id, []).append(one)
    return episodes


async def lock_open(uow: UnitOfWork, residents: Sequence[UUID]) -> Sequence[ReferralRow]:
    """Lock and return the open referrals of these people, in the order of ids."""
    statement = (
        select(ReferralRow)
        .where(ReferralRow.resident_id.in_(in_order(residents)), ReferralRow.closed_at.is_(None))
        .order_by(ReferralRow.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return (await uow.session.scalars(statement)).all()


SELECT_WITH_FEVER = text("SELECT DISTINCT referral_id FROM fevers WHERE referral_id = ANY(CAST(:ids AS uuid[]))")


async def _with_fever(uow: UnitOfWork, ids: Sequence[UUID]) -> set[UUID]:
    return {row["referral_id"] for row in await uow.rows(SELECT_WITH_FEVER, ids=list(ids))}
