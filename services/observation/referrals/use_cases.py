"""Use cases of referrals: report a fever, show, cancel and reopen referrals, and mark overdue ones."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, text

from services.observation.messages.reactions import advance_from_messages
from services.observation.people.cascade import TURN, TURN_KEY, cascade_people
from services.observation.protocols.rules import Protocol
from services.observation.protocols.use_cases import get_protocol, protocol_in_force
from services.observation.referrals import cascade, rules
from services.observation.referrals.scans import ScanFound
from services.observation.referrals.schemas import Cancellation, Fever, NewFever, Standing
from services.observation.referrals.tables import FeverRow, ReferralRow, to_public
from shared.contracts.observation import Referral, ReferralReason, ReferralState
from shared.core.actors import Role
from shared.core.ids import new_id
from shared.core.regions import covers, range_of
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.problems import ClockAhead, Conflict, LocalizedText, Problem
from shared.runtime.context import ServiceContext

CLOCK_AHEAD_MINUTES = 5
MOST_PER_TICK = 500


class NoFever(Problem):
    """The temperature is below the protocol's limit, so no referral is needed."""

    status = 422
    code = "no_fever"
    title = LocalizedText(zh="体温未达到发热标准", en="The temperature is below the fever limit")
    what = LocalizedText(zh="体温低于发热标准 {limit} ℃", en="The temperature is below the fever limit of {limit} °C")
    fix = LocalizedText(
        zh="请核对体温；如有其他症状，请按可疑病例处理",
        en="Check the reading. If there are other symptoms, treat the person as a suspected case",
    )


class OutsideScope(Problem):
    """The place is outside the caller's region."""

    status = 422
    code = "outside_scope"
    title = LocalizedText(zh="地点不在您的辖区内", en="The place is outside your region")
    what = LocalizedText(zh="{region} 不在您的辖区内", en="{region} is outside your region")
    fix = LocalizedText(
        zh="请填写您辖区内的发现地点", en="Enter the place in your region where the temperature was measured"
    )


class ScanUnknown(Problem):
    """A door can report only its own scans."""

    status = 422
    code = "scan_unknown"
    title = LocalizedText(zh="本验码点没有该扫码记录", en="Scan not found at this service point")
    fix = LocalizedText(
        zh="请使用本验码点的扫码编号上报；未扫码的，请填写 resident_id",
        en="Use a scan id of your own service point. If there was no scan, send resident_id",
    )


class ScanTooOld(Problem):
    """The scan is too old to report a fever by it. The person can be reported by `resident_id`."""

    status = 422
    code = "scan_too_old"
    title = LocalizedText(zh="扫码时间距今过久", en="The scan was made too long ago")
    what = LocalizedText(zh="扫码已超过 {hours} 小时", en="The scan is more than {hours} hours old")
    fix = LocalizedText(zh="请由社区人员按人员信息上报", en="Ask the community to report the person")


class ReferralUnderWay(Problem):
    """The transport has begun, so only the hospital decides."""

    status = 409
    code = "referral_under_way"
    title = LocalizedText(zh="转运已开始，不能取消", en="The transport has begun, so the referral cannot be cancelled")
    fix = LocalizedText(zh="请由定点医院给出结论", en="Ask the hospital to report the outcome")


class ReferralEnded(Problem):
    """The referral is closed."""

    status = 409
    code = "referral_ended"
    title = LocalizedText(zh="该转诊已结束", en="The referral has ended")
    fix = LocalizedText(
        zh="请刷新后查看；如再次发热，请另行上报", en="Reload the referral. Report a new fever as a new referral"
    )


class ReferralNotCancelled(Problem):
    """Only a referral that people cancelled can be reopened."""

    status = 409
    code = "referral_not_cancelled"
    title = LocalizedText(zh="该转诊不是人工取消的", en="The referral was not cancelled by staff")
    fix = LocalizedText(
        zh="请刷新后查看；如再次发热，请另行上报", en="Reload the referral. Report a new fever as a new referral"
    )


class ReferralGroundGone(Problem):
    """The positive was corrected, or a hospital has answered it, while the referral was cancelled."""

    status = 409
    code = "referral_ground_gone"
    title = LocalizedText(
        zh="该转诊所依据的检测结果已不成立", en="The test result behind this referral is no longer valid"
    )
    fix = LocalizedText(
        zh="请重新核对其检测结果；如有发热，请另行上报",
        en="Check the person's test results. Report a fever as a new referral",
    )


class ReferralOpen(Problem):
    """The person has another open referral."""

    status = 409
    code = "referral_open"
    title = LocalizedText(zh="该人员已有进行中的转诊", en="The person already has an open referral")
    fix = LocalizedText(zh="请在该转诊中继续处理", en="Continue with the open referral")


class Reading(NamedTuple):
    """The person and the region of a measured fever."""

    resident_id: UUID
    region: str


@dataclass(frozen=True)
class ReferralFilter:
    """The filter of a list of referrals."""

    region: str | None = None
    state: ReferralState | None = None
    reason: ReferralReason | None = None
    resident_id: UUID | None = None
    overdue: bool | None = None

    def clauses(self) -> list[Any]:
        """Return the filter as SQL conditions."""
        conditions: list[Any] = []
        if self.region is not None:
            low, high = range_of(self.region)
            conditions += [ReferralRow.region >= low, ReferralRow.region < high]
        if self.overdue is not None:
            conditions.append(ReferralRow.overdue_at.is_not(None) if self.overdue else ReferralRow.overdue_at.is_(None))
        for column in ("state", "reason", "resident_id"):
            value = getattr(self, column)
            if value is not None:
                conditions.append(getattr(ReferralRow, column) == value)
        return conditions


# This ignores the caller's scope, because a reporter must learn of the person's open episode in any region, but nothing
# more. It locks the episode, so that the reading cannot join an episode that ends meanwhile.
LOCK_OPEN_EPISODE = text("SELECT * FROM open_referral_of(:resident)")

SELECT_VISIBLE = text("SELECT 1 FROM referrals WHERE id = :id")

ADD_FEVER = text("""
    INSERT INTO fevers (id, region, referral_id, resident_id, party, role, celsius, symptoms, measured_at)
    VALUES (:id, :region, :referral_id, :resident_id, :party, :role, :celsius, CAST(:symptoms AS text[]), :measured_at)
""")


async def report_fever(uow: UnitOfWork, new: NewFever, scan: ScanFound | None = None) -> Referral:
    """Report a fever, for any colour, and also for people not on record. `scan` is the scan of a door."""
    protocol = await protocol_in_force(uow)
    if new.measured_at > uow.now + timedelta(minutes=CLOCK_AHEAD_MINUTES):
        raise ClockAhead(at="/measured_at")
    if not rules.is_fever(new.celsius, protocol):
        raise NoFever(limit=protocol.fever_celsius.value, at="/celsius")
    read = _reading_of(new, scan, uow, protocol)
    if uow.actor.role.database_role != "machine" and not covers(uow.actor.range, read.region):
        raise OutsideScope(region=read.region, at="/region")
    referral, opened = await _episode(uow, protocol, read)
    await uow.run(
        ADD_FEVER,
        id=new_id(),
        region=read.region,
        referral_id=referral.id,
        resident_id=read.resident_id,
        party=_reporter(uow),
        role=uow.actor.role.label,
        celsius=new.celsius,
        symptoms=sorted(set(new.symptoms)),
        measured_at=new.measured_at,
    )
    uow.record_access([read.resident_id])
    if opened:
        uow.publish_all([referral], change="reported", urgent=True)
        return referral
    return referral if await _may_see(uow, referral) else redacted(referral, read.region)


async def _may_see(uow: UnitOfWork, referral: Referral) -> bool:
    if uow.actor.role.database_role == "door":
        return False
    return bool(await uow.rows(SELECT_VISIBLE, id=referral.id))


def _reading_of(new: NewFever, scan: ScanFound | None, uow: UnitOfWork, protocol: Protocol) -> Reading:
    """Return the person and the region of a reading."""
    if new.resident_id is not None and new.region is not None:
        return Reading(new.resident_id, new.region)
    if scan is None:
        raise ScanUnknown(at="/scan_id")
    if not rules.is_recent(scan.at, uow.now, protocol):
        raise ScanTooOld(hours=protocol.door_hours.value, at="/scan_id")
    return Reading(scan.resident_id, new.region or scan.region)


def _reporter(uow: UnitOfWork) -> str:
    """Return the machine or service point that reports, or "" for staff."""
    return uow.actor.party if uow.actor.role in Role.DOOR | Role.MACHINE else ""


def redacted(referral: Referral, region: str) -> Referral:
    """Return an episode for a caller without access to it: without its reason, evidence and region."""
    return referral.model_copy(update={"region": region, "reason": "fever", "evidence_type": None, "evidence_id": None})


async def _episode(uow: UnitOfWork, protocol: Protocol, read: Reading) -> tuple[Referral, bool]:
    """Return the person's open episode, and whether this call opened it. Concurrent reports open only one."""
    for _ in range(3):
        opened = await cascade.open_referrals(uow, protocol, [read], [None], [_reporter(uow)])
        episodes = await uow.rows(LOCK_OPEN_EPISODE, resident=read.resident_id)
        if episodes:
            return to_public(dict(episodes[0])), opened == 1
    raise Conflict()  # the episode ended between the two statements three times


async def get_referral(uow: UnitOfWork, referral_id: UUID) -> Referral:
    """Return one referral."""
    row = await uow.get(ReferralRow, referral_id)
    uow.record_access([row.resident_id])
    return row.public()


async def list_referrals(uow: UnitOfWork, where: ReferralFilter, page: Page) -> Listed[Referral]:
    """Return one page of referrals."""
    listed = await uow.page(select(ReferralRow).where(*where.clauses()), page, ReferralRow.public)
    uow.record_access(referral.resident_id for referral in listed.items)
    return listed


async def standing_of_referral(uow: UnitOfWork, referral_id: UUID) -> Standing:
    """Return the current stage of a referral."""
    row = await uow.get(ReferralRow, referral_id)
    uow.record_access([row.resident_id])
    return Standing(
        referral_id=row.id,
        state=row.state,
        since=row.since,
        due_at=row.due_at,
        hospital=row.hospital,
        cancel_reason=row.cancel_reason,
    )


async def list_fevers(uow: UnitOfWork, referral_id: UUID, page: Page) -> Listed[Fever]:
    """Return one page of the readings of a referral."""
    referral = await uow.get(ReferralRow, referral_id)
    uow.record_access([referral.resident_id])
    return await uow.page(select(FeverRow).where(FeverRow.referral_id == referral_id), page, _to_public_fever)


def _to_public_fever(row: FeverRow) -> Fever:
    return Fever.model_validate({name: getattr(row, name) for name in Fever.model_fields})


async def cancel_referral(uow: UnitOfWork, referral_id: UUID, why: Cancellation) -> Referral:
    """Cancel a referral before the transport."""
    row = await uow.lock(ReferralRow, referral_id)
    if row.state in rules.CLOSED:
        raise ReferralEnded()
    if rules.move(row.state, "cancel") is None:
        raise ReferralUnderWay()
    cascade.cancel(row, uow.now, why.reason)
    uow.record_access([row.resident_id])
    return await uow.publish(row, change="cancelled", urgent=True)


async def reopen_referral(uow: UnitOfWork, referral_id: UUID) -> Referral:
    """Reopen a referral as reported now. Messages received meanwhile count again with the next message.

    If they say that the transport has begun meanwhile, they are applied at once, and 120 is not requested again.
    """
    await uow.run(TURN, key=TURN_KEY)  # before the row lock, in the same order as `cascade_people`
    row = await uow.lock(ReferralRow, referral_id)
    if not rules.may_reopen(row.state, withdrawn=row.withdrawn):
        raise ReferralNotCancelled()
    protocol = await get_protocol(uow, row.protocol)
    row.state, row.since, row.closed_at = "reported", uow.now, None
    row.cancelled_at = row.cancel_reason = None
    row.due_at = rules.due_at(row.state, uow.now, protocol)
    uow.record_access([row.resident_id])
    await uow.session.flush()
    async with uow.unscoped():
        await advance_from_messages(uow, row)
        await cascade_people(uow, [row.resident_id])
    if row.withdrawn:
        raise ReferralGroundGone()
    return await uow.publish(row, change="reopened", urgent=True)


async def mark_overdue(context: ServiceContext) -> int:
    """Mark every referral whose stage is past its deadline as overdue. Idempotent. Returns how many were marked."""
    async with context.system_unit_of_work("overdue referrals") as uow:
        statement = (
            select(ReferralRow)
            .where(ReferralRow.closed_at.is_(None), ReferralRow.overdue_at.is_(None), ReferralRow.due_at <= uow.now)
            .order_by(ReferralRow.id)
            .limit(MOST_PER_TICK)
            .with_for_update(skip_locked=True)
        )
        rows = (await uow.session.scalars(statement)).all()
        for row in rows:
            row.overdue_at = rules.overdue_at(row.due_at, uow.now)
        await uow.session.flush()
        uow.publish_all([row.public() for row in rows], change="overdue", urgent=True)
    return len(rows)
