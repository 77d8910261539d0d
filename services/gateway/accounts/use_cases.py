"""Accounts of staff: made by command within its range, opened by their owners through a one-time link."""

from uuid import UUID

from sqlalchemy import select, text

from services.gateway.accounts import rules
from services.gateway.accounts.schemas import Account, AccountChange, AccountMade, NewAccount
from services.gateway.accounts.tables import AccountRow, LinkRow
from services.gateway.issuer.ending import end_account
from shared.house import House
from shared.problems import Problem, Text
from shared.regions import covers
from shared.work import Listed, Page, RegionOutside, Work


class LoginTaken(Problem):
    """Somebody signs in by this name already."""

    status = 409
    code = "login_taken"
    title = Text(zh="该用户名已被使用", en="This user name is taken")
    fix = Text(zh="请换一个用户名", en="Choose another user name")


class OwnAccount(Problem):
    """Nobody resets or closes their own account this way."""

    status = 409
    code = "own_account"
    title = Text(zh="不能对自己的账号进行此操作", en="You cannot do this to your own account")
    fix = Text(zh="请由另一名指挥人员操作", en="Ask another commander")


async def add_account(work: Work, new: NewAccount) -> AccountMade:
    work.require_within(new.region)
    row = AccountRow(region=new.region, kind="staff", login=new.login)
    row.name = new.name
    work.add(row)
    await work.session.flush()
    work.saw([row.id])
    return AccountMade(**row.public().model_dump(), link=await _link_for(work, row.id))


async def list_accounts(work: Work, page: Page) -> Listed[Account]:
    return await work.page(select(AccountRow).where(AccountRow.kind == "staff"), page, AccountRow.public)


async def get_account(work: Work, account_id: UUID) -> Account:
    return (await work.get(AccountRow, account_id)).public()


async def change_account(work: Work, account_id: UUID, change: AccountChange) -> Account:
    row = await _others(work, account_id)
    row.state = change.state
    if change.state == "closed":
        await end_account(work, row.id)
    await work.session.flush()
    return row.public()


async def reset_account(work: Work, account_id: UUID) -> AccountMade:
    """Whatever proved the owner proves nothing any more; a new link lets them begin again.

    Who resets could become the owner: so only whose range holds all the owner may do, and without what needs two.
    """
    row = await _others(work, account_id)
    await end_command(work, row.id)
    row.password_hash, row.authenticator, row.authenticator_step = None, None, 0
    await work.session.flush()
    await end_account(work, row.id)
    return AccountMade(**row.public().model_dump(), link=await _link_for(work, row.id))


async def end_command(work: Work, account_id: UUID) -> None:
    """End the grants of command of an account; a second person may give them anew. Raises RegionOutside."""
    async with work.everywhere():
        regions = await work.rows(OPEN_GRANTS, account=account_id)
        if not all(covers(work.actor.range, row["region"]) for row in regions):
            raise RegionOutside()
        await work.run(END_COMMAND, account=account_id, by=work.actor.subject)


OPEN_GRANTS = text("SELECT region FROM grants WHERE account_id = :account AND state IN ('proposed', 'active')")
END_COMMAND = text("""
    UPDATE grants
    SET state = 'ended', ended_by = :by, ended_why = 'account reset', version = version + 1, updated_at = now()
    WHERE account_id = :account AND role = 'command' AND state IN ('proposed', 'active')
""")


async def _others(work: Work, account_id: UUID) -> AccountRow:
    row = await work.lock(AccountRow, account_id)
    if row.subject == work.actor.subject:
        raise OwnAccount()
    work.saw([row.id])
    return row


async def _link_for(work: Work, account_id: UUID) -> str:
    secret = rules.new_secret()
    work.session.add(
        LinkRow(hash=rules.digest(secret), account_id=account_id, expires_at=work.now + rules.LINK_LIFETIME)
    )
    await work.session.flush()
    return f"{work.house.settings.issuer_url}/sign-in/link/{secret}"


async def forget_what_is_over(house: House) -> None:
    """Drop what can prove nothing any more."""
    async with house.system_work("forget sign-ins") as work:
        for statement in OVER:
            await work.run(statement, now=work.now)


OVER = tuple(
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
