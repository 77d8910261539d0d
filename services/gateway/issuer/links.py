"""One-time links. One creates the first administrator; with the others staff set their passwords."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import exists, select, text

from services.gateway.accounts import passwords, rules
from services.gateway.accounts.rules import digest
from services.gateway.accounts.tables import AccountRow, LinkRow
from services.gateway.accounts.traces import trace
from services.gateway.grants.tables import GrantRow
from shared.core.actors import Role
from shared.database.unit_of_work import UnitOfWork
from shared.runtime.context import ServiceContext

INSTALLATION = "installation"
"""Giver of the first grant: the person with a shell on the machine."""

MOST_NAME, MOST_PARTY = 60, 100
LOCK_FIRST_ADMINISTRATOR = text("SELECT pg_advisory_xact_lock(hashtext('gateway.first_administrator'))")

Faults = Mapping[str, str]
"""The faults by field. The empty field name means that the link is no longer valid."""


@dataclass(frozen=True)
class Opened:
    """The purpose of a link: the first administrator, or the account with a user name."""

    is_first: bool
    login: str = ""
    name: str = ""


@dataclass(frozen=True)
class Filled:
    """The posted form. Only the first administrator enters name, user name and organisation."""

    password: str
    again: str
    login: str = ""
    name: str = ""
    party: str = ""


async def opened(context: ServiceContext, secret: str) -> Opened | None:
    """Return the purpose of a link; None if it is no longer valid."""
    async with context.system_unit_of_work("link") as uow:
        link = await _open_link(uow, secret)
        if link is None or link.account_id is None:
            return None if link is None else Opened(is_first=True)
        account = await uow.get(AccountRow, link.account_id)
        return Opened(False, account.login or "", account.name or "")


async def use(context: ServiceContext, secret: str, link: Opened, filled: Filled) -> Faults:
    """Set name and password. Returns the faults. If a link is used twice at once, one caller gets `link_gone`."""
    login = filled.login.strip().lower() if link.is_first else link.login
    name = filled.name.strip()[:MOST_NAME] if link.is_first else link.name
    party = filled.party.strip()[:MOST_PARTY]
    if faults := _faults(link, filled, login, name, party):
        return faults
    hash_ = await passwords.hash_of(filled.password, login)
    async with context.system_unit_of_work("link") as uow:
        await uow.session.execute(LOCK_FIRST_ADMINISTRATOR)
        row = await _open_link(uow, secret, lock=True)
        if row is None:
            return {"": "link_gone"}
        if row.account_id is None:
            if (await uow.session.scalars(select(AccountRow.id).filter_by(login=login))).one_or_none():
                return {"login": "login_taken"}
            account = await _first_administrator(uow, login, name, party)
        else:
            account = await uow.lock(AccountRow, row.account_id)
        account.password_hash = hash_
        row.used_at = uow.now
        trace(uow, "password_set", account.id)
    return {}


def _faults(link: Opened, filled: Filled, login: str, name: str, party: str) -> Faults:
    faults: dict[str, str] = {}
    if link.is_first:
        faults |= {} if rules.is_login(login) else {"login": "login_form"}
        faults |= {} if name else {"name": "name_missing"}
        faults |= {} if party else {"party": "party_missing"}
    if fault := rules.password_fault(filled.password, login, name):
        faults["password"] = fault
    elif filled.password != filled.again:
        faults["again"] = "differs"
    return faults


async def _open_link(uow: UnitOfWork, secret: str, lock: bool = False) -> LinkRow | None:
    query = select(LinkRow).where(LinkRow.hash == digest(secret), LinkRow.used_at.is_(None))
    link = (await uow.session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if link is None or uow.now >= link.expires_at:
        return None
    return None if link.account_id is None and await has_administrator(uow) else link


async def has_administrator(uow: UnitOfWork) -> bool:
    """Whether there is an active grant of command. Then the link of the first administrator is no longer valid."""
    query = select(exists().where(GrantRow.role == Role.COMMAND.label, GrantRow.state == "active"))
    return bool((await uow.session.execute(query)).scalar_one())


async def _first_administrator(uow: UnitOfWork, login: str, name: str, party: str) -> AccountRow:
    account = AccountRow(region="", kind="staff", login=login)
    account.name = name
    uow.add(account)
    await uow.session.flush()
    grant = GrantRow(
        region="",
        account_id=account.id,
        role=Role.COMMAND.label,
        party=party,
        valid_from=uow.now,
        why="第一位管理员 first administrator",
        state="active",
        given_by=INSTALLATION,
    )
    uow.add(grant)
    await uow.session.flush()
    return account
