"""One-time links: by one the first administrator comes to be, by others staff set their passwords."""

from typing import Literal

from sqlalchemy import exists, select, text

from services.gateway.accounts import passwords, rules
from services.gateway.accounts.rules import digest
from services.gateway.accounts.tables import AccountRow, LinkRow
from services.gateway.accounts.traces import trace
from services.gateway.grants.tables import GrantRow
from shared.actors import Role
from shared.house import House
from shared.work import Work

INSTALLATION = "installation"
"""Who gave the first grant: whoever has a shell on the machine."""

ALONE = text("SELECT pg_advisory_xact_lock(hashtext('gateway.first_administrator'))")


async def state_of(house: House, secret: str) -> Literal["first", "set"] | None:
    """What a link is for; None if it is for nothing any more."""
    async with house.system_work("link") as work:
        link = await _open_link(work, secret)
        return None if link is None else "first" if link.account_id is None else "set"


async def use(house: House, secret: str, login: str, name: str, password: str) -> str | None:
    """Set name and password; what is wrong, or None. Of two at once one is told that the link is gone."""
    login = login.strip().lower()
    if fault := rules.password_fault(password, login):
        return fault
    hash_ = await passwords.hash_of(password)
    async with house.system_work("link") as work:
        await work.session.execute(ALONE)
        link = await _open_link(work, secret, lock=True)
        if link is None:
            return "gone"
        if link.account_id is None:
            account = await _first_administrator(work, login, name)
            if isinstance(account, str):
                return account
        else:
            account = await work.lock(AccountRow, link.account_id)
            if rules.password_fault(password, account.login or ""):
                return "login"
        account.password_hash = hash_
        link.used_at = work.now
        trace(work, "password_set", account.id)
    return None


async def _open_link(work: Work, secret: str, lock: bool = False) -> LinkRow | None:
    asked = select(LinkRow).where(LinkRow.hash == digest(secret), LinkRow.used_at.is_(None))
    link = (await work.session.scalars(asked.with_for_update() if lock else asked)).one_or_none()
    if link is None or work.now >= link.expires_at:
        return None
    return None if link.account_id is None and await has_administrator(work) else link


async def has_administrator(work: Work) -> bool:
    """Whether anybody commands: then there is no first administrator any more."""
    found = select(exists().where(GrantRow.role == Role.COMMAND.label, GrantRow.state == "active"))
    return bool((await work.session.execute(found)).scalar_one())


async def _first_administrator(work: Work, login: str, name: str) -> AccountRow | str:
    if not rules.is_login(login):
        return "login_form"
    if (await work.session.scalars(select(AccountRow.id).filter_by(login=login))).one_or_none():
        return "login_taken"
    account = AccountRow(region="", kind="staff", login=login)
    account.name = name.strip()[:60] or login
    work.add(account)
    await work.session.flush()
    grant = GrantRow(
        region="",
        account_id=account.id,
        role=Role.COMMAND.label,
        party="",
        valid_from=work.now,
        why="first administrator",
        state="active",
        given_by=INSTALLATION,
    )
    work.add(grant)
    await work.session.flush()
    return account
