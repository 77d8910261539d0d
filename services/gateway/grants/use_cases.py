"""Use cases of grants: give, decide and end. The caller's region must cover that of the grant."""

from uuid import UUID

from sqlalchemy import and_, or_, select

from services.gateway.accounts.tables import AccountRow, subject_of
from services.gateway.grants import rules
from services.gateway.grants.schemas import ENDS_BEFORE_START, Grant, GrantReason, NewGrant
from services.gateway.grants.tables import GrantRow
from services.gateway.issuer.ending import end_grant as end_sessions_of
from services.gateway.parties.use_cases import require_party
from shared.core.actors import Role
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Fault, InvalidInput, LocalizedText, NotFound, Problem


class GrantExists(Problem):
    """The account already has this grant, or it is waiting for approval."""

    status = 409
    code = "grant_exists"
    title = LocalizedText(zh="该授权已存在或待批准", en="This grant already exists or is waiting for approval")
    fix = LocalizedText(zh="如需更改期限，请先结束原授权", en="To change its period, end the existing grant first")


class GrantOwn(Problem):
    """The caller tries to grant a role to themselves."""

    status = 403
    code = "grant_own"
    title = LocalizedText(zh="不能给自己授权", en="You cannot grant a role to yourself")
    fix = LocalizedText(zh="请由另一名指挥人员授权", en="Ask another commander to grant it")


class SecondPersonNeeded(Problem):
    """The caller proposed or receives the grant, so they cannot decide it."""

    status = 403
    code = "second_person_needed"
    title = LocalizedText(zh="须由另一名指挥人员审批", en="Another commander must decide this")
    fix = LocalizedText(
        zh="请由提出者和被授权者以外的指挥人员审批", en="Ask a commander who neither proposed the grant nor receives it"
    )


class GrantDecided(Problem):
    """The grant is not in a state in which it can be decided or ended."""

    status = 409
    code = "grant_decided"
    title = LocalizedText(zh="该授权已审批或已结束", en="This grant was already decided or has ended")
    fix = LocalizedText(zh="请刷新后查看最新状态", en="Fetch the grant again to see its state")


async def give_grant(uow: UnitOfWork, new: NewGrant) -> Grant:
    """Create a grant. A grant of command waits for a second person. Raises RegionOutside, GrantExists or GrantOwn."""
    role = Role.named(new.role)
    # Queried in its own transaction, because other commanders may be outside the caller's region.
    alone = role in rules.NEEDS_TWO and not await _somebody_else_commands(uow)
    uow.require_within(new.region)
    if new.valid_until and new.valid_until <= (new.valid_from or uow.now):
        raise InvalidInput(errors=[Fault("ends_before_start", ENDS_BEFORE_START, at="/valid_until")])
    await require_party(uow, role, new.party, new.region)
    account = await uow.get(AccountRow, new.account_id)
    if account.kind != "staff":
        raise NotFound()
    if account.subject == uow.actor.subject:
        raise GrantOwn()
    row = GrantRow(
        region=new.region,
        account_id=account.id,
        role=new.role,
        party=new.party,
        valid_from=new.valid_from or uow.now,
        valid_until=new.valid_until,
        why=new.why,
        state=rules.first_state(role, alone),
        given_by=uow.actor.subject,
    )
    uow.add(row)
    await uow.session.flush()
    uow.record_access([account.id])
    return row.public()


async def _somebody_else_commands(uow: UnitOfWork) -> bool:
    """Whether another person has a grant of command, or had one recently, in any region.

    Recently ended grants count too, so that nobody can become the only commander by ending the grants of the others.
    """
    lately = uow.now - rules.ALONE_AFTER
    commanded = (
        GrantRow.role == Role.COMMAND.label,
        or_(
            and_(GrantRow.state == "active", or_(GrantRow.valid_until.is_(None), GrantRow.valid_until > lately)),
            and_(GrantRow.state == "ended", GrantRow.updated_at > lately),
        ),
    )
    async with uow.context.system_unit_of_work("who commands") as anywhere:
        accounts = (
            await anywhere.session.scalars(select(GrantRow.account_id).where(*commanded).distinct().limit(2))
        ).all()
    return any(subject_of(account) != uow.actor.subject for account in accounts)


async def decide_grant(uow: UnitOfWork, grant_id: UUID, approved: bool, why: str | None = None) -> Grant:
    """Approve or refuse a proposed grant. Raises GrantDecided or SecondPersonNeeded."""
    row = await uow.lock(GrantRow, grant_id)
    if row.state != "proposed":
        raise GrantDecided()
    if not rules.may_decide(uow.actor.subject, row.given_by, subject_of(row.account_id)):
        raise SecondPersonNeeded()
    row.state, row.decided_by, row.ended_why = ("active" if approved else "refused"), uow.actor.subject, why
    await uow.session.flush()
    uow.record_access([row.account_id])
    return row.public()


async def end_grant(uow: UnitOfWork, grant_id: UUID, reason: GrantReason) -> Grant:
    """End a grant: no new tokens are issued, and existing ones stop working within a second. Raises GrantDecided."""
    row = await uow.lock(GrantRow, grant_id)
    if row.state not in ("proposed", "active"):
        raise GrantDecided()
    row.state, row.ended_by, row.ended_why = "ended", uow.actor.subject, reason.why
    await uow.session.flush()
    await end_sessions_of(uow, row.id, "grant")
    uow.record_access([row.account_id])
    return row.public()


async def list_grants(uow: UnitOfWork, account_id: UUID | None, page: Page) -> Listed[Grant]:
    """List the grants that the caller may see."""
    statement = select(GrantRow)
    if account_id is not None:
        statement = statement.where(GrantRow.account_id == account_id)
    return await uow.page(statement, page, GrantRow.public)


async def get_grant(uow: UnitOfWork, grant_id: UUID) -> Grant:
    """Return one grant. Raises NotFound."""
    return (await uow.get(GrantRow, grant_id)).public()


async def grants_of(uow: UnitOfWork, account_id: UUID) -> list[GrantRow]:
    """Return the grants in which a person can act now."""
    query = select(GrantRow).where(GrantRow.account_id == account_id, GrantRow.state == "active").order_by(GrantRow.seq)
    return [row for row in await uow.session.scalars(query) if row.holds(uow.now)]
