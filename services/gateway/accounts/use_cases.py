"""Use cases of staff accounts. Command creates accounts in its region; owners activate them with a one-time link."""

from uuid import UUID

from sqlalchemy import select, text

from services.gateway.accounts import rules
from services.gateway.accounts.schemas import Account, AccountChange, AccountMade, NewAccount
from services.gateway.accounts.tables import AccountRow, LinkRow
from services.gateway.issuer.ending import end_account
from shared.core.regions import covers
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import RegionOutside, UnitOfWork
from shared.problems import LocalizedText, Problem
from shared.runtime.context import ServiceContext


class LoginTaken(Problem):
    """Another account has this sign-in name."""

    status = 409
    code = "login_taken"
    title = LocalizedText(zh="该用户名已被使用", en="This user name is taken")
    fix = LocalizedText(zh="请换一个用户名", en="Choose another user name")


class OwnAccount(Problem):
    """The account is the caller's own, which they cannot reset or close."""

    status = 409
    code = "own_account"
    title = LocalizedText(zh="不能对自己的账号进行此操作", en="You cannot do this to your own account")
    fix = LocalizedText(zh="请由另一名指挥人员操作", en="Ask another commander to do this")


async def add_account(uow: UnitOfWork, new: NewAccount) -> AccountMade:
    """Create an account with a one-time link. Raises RegionOutside or LoginTaken."""
    uow.require_within(new.region)
    row = AccountRow(region=new.region, kind="staff", login=new.login)
    row.name = new.name
    uow.add(row)
    await uow.session.flush()
    uow.record_access([row.id])
    return AccountMade(**row.public().model_dump(), link=await _link_for(uow, row.id))


async def list_accounts(uow: UnitOfWork, page: Page) -> Listed[Account]:
    """List the staff accounts that the caller may see."""
    return await uow.page(select(AccountRow).where(AccountRow.kind == "staff"), page, AccountRow.public)


async def get_account(uow: UnitOfWork, account_id: UUID) -> Account:
    """Return one account. Raises NotFound."""
    return (await uow.get(AccountRow, account_id)).public()


async def change_account(uow: UnitOfWork, account_id: UUID, change: AccountChange) -> Account:
    """Close or reopen an account. Closing it ends its sessions. Raises OwnAccount."""
    row = await _others(uow, account_id)
    row.state = change.state
    if change.state == "closed":
        await end_account(uow, row.id)
    await uow.session.flush()
    return row.public()


async def reset_account(uow: UnitOfWork, account_id: UUID) -> AccountMade:
    """Remove all credentials of an account and create a new one-time link.

    The caller sees the link, and could use it to act as the owner. So the caller's region must cover all grants of the
    owner, and grants of command end, because they need two people.
    """
    row = await _others(uow, account_id)
    await end_command(uow, row.id)
    row.password_hash, row.authenticator, row.authenticator_step = None, None, 0
    await uow.session.flush()
    await end_account(uow, row.id)
    return AccountMade(**row.public().model_dump(), link=await _link_for(uow, row.id))


async def end_command(uow: UnitOfWork, account_id: UUID) -> None:
    """End an account's grants of command, so that two people must give them again. Raises RegionOutside."""
    async with uow.unscoped():
        regions = await uow.rows(SELECT_OPEN_GRANTS, account=account_id)
        if not all(covers(uow.actor.range, row["region"]) for row in regions):
            raise RegionOutside()
        await uow.run(END_COMMAND_GRANTS, account=account_id, by=uow.actor.subject)


SELECT_OPEN_GRANTS = text("SELECT region FROM grants WHERE account_id = :account AND state IN ('proposed', 'active')")
END_COMMAND_GRANTS = text("""
    UPDATE grants
    SET state = 'ended', ended_by = :by, ended_why = 'account reset', version = version + 1, updated_at = now()
    WHERE account_id = :account AND role = 'command' AND state IN ('proposed', 'active')
""")


async def _others(uow: UnitOfWork, account_id: UUID) -> AccountRow:
    row = await uow.lock(AccountRow, account_id)
    if row.subject == uow.actor.subject:
        raise OwnAccount()
    uow.record_access([row.id])
    return row


async def _link_for(uow: UnitOfWork, account_id: UUID) -> str:
    secret = rules.new_secret()
    uow.session.add(LinkRow(hash=rules.digest(secret), account_id=account_id, expires_at=uow.now + rules.LINK_LIFETIME))
    await uow.session.flush()
    return f"{uow.context.settings.issuer_url}/sign-in/link/{secret}"


async def forget_what_is_over(context: ServiceContext) -> None:
    """Delete expired codes, challenges, links, tokens and guess counters."""
    async with context.system_unit_of_work("forget sign-ins") as uow:
        for statement in DELETE_EXPIRED:
            await uow.run(statement, now=uow.now)


DELETE_EXPIRED = tuple(
    text(statement)
    for statement in (
        "DELETE FROM attempts WHERE since < CAST(:now AS timestamptz) - interval '2 days'",
        "DELETE FROM phone_codes WHERE expires_at < CAST(:now AS timestamptz) - interval '2 days'",
        "DELETE FROM challenges WHERE expires_at < :now",
        "DELETE FROM device_authorizations WHERE expires_at < CAST(:now AS timestamptz) - interval '1 hour'",
        "DELETE FROM interactions WHERE expires_at < :now",
        "DELETE FROM authorization_codes WHERE expires_at < CAST(:now AS timestamptz) - interval '1 day'",
        "DELETE FROM assertions WHERE expires_at < :now",
        "DELETE FROM links WHERE expires_at < :now",
        "DELETE FROM endings WHERE at < CAST(:now AS timestamptz) - interval '1 day'",
        "DELETE FROM devices WHERE seen_at < CAST(:now AS timestamptz) - interval '180 days'",
        """
        DELETE FROM refresh_tokens USING sessions
        WHERE sessions.id = session_id
          AND (sessions.ended_at IS NOT NULL OR sessions.expires_at < :now)
        """,
    )
)
