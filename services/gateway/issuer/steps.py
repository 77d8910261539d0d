"""The steps of a sign-in. Each step processes one form in its own transactions and returns the result.

A failed step has counted and committed the failure. Passwords are verified between two transactions, so that no
connection waits for argon2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import pyotp
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert

from services.gateway.accounts import attempts, passwords, phones, rules
from services.gateway.accounts.rules import digest
from services.gateway.accounts.sending import can_send
from services.gateway.accounts.tables import AccountRow, ChallengeRow, DeviceRow, RecoveryCodeRow
from services.gateway.accounts.traces import trace
from services.gateway.accounts.turns import Turns
from services.gateway.clients.use_cases import client_named
from services.gateway.grants.tables import GrantRow
from services.gateway.grants.use_cases import grants_of
from services.gateway.issuer import devices
from services.gateway.issuer.tables import InteractionRow, Stage
from services.gateway.issuer.use_cases import new_authorization_code
from services.gateway.issuer.visiting import Visitor
from shared.database.unit_of_work import UnitOfWork
from shared.runtime.context import ServiceContext

LIFETIME = timedelta(minutes=30)

Fault = Literal["wrong", "wait", "over", "phone_form", "no_codes", "no_grant", "gone", "form"]


@dataclass(frozen=True)
class Went:
    """The result of a step: success, or a fault."""

    fault: Fault | None = None
    wait: int = 0
    message: phones.Message | None = None
    recovery_codes: tuple[str, ...] = ()


ON = Went()

_COUNTING = Turns(at_once=2, most=64)
"""Limits how many guesses are counted at once. Under a flood at most two wait for the row lock of a lane, because each
of them holds a database connection."""

MARK_RECOVERY_CODE_USED = text("""
    UPDATE recovery_codes SET used_at = :now WHERE account_id = :account AND hash = :hash AND used_at IS NULL
""")
DELETE_RECOVERY_CODES = text("DELETE FROM recovery_codes WHERE account_id = :account")


async def begin(uow: UnitOfWork, parameters: Mapping[str, Any], browser: str) -> UUID:
    """Start a sign-in. Returns its id."""
    row = InteractionRow(browser=digest(browser), asked=dict(parameters), amr=[], expires_at=uow.now + LIFETIME)
    uow.session.add(row)
    await uow.session.flush()
    return row.id


async def current(
    uow: UnitOfWork, interaction_id: UUID, visitor: Visitor, *stages: Stage, lock: bool = False
) -> InteractionRow | None:
    """Return a sign-in if it belongs to this browser, has not expired and is at one of these stages."""
    row = await uow.session.get(InteractionRow, interaction_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or row.browser != digest(visitor.browser) or uow.now >= row.expires_at:
        return None
    return row if not stages or row.stage in stages else None


async def give_password(
    context: ServiceContext, interaction_id: UUID, visitor: Visitor, login: str, password: str
) -> Went:
    """Check the name and password of staff."""
    login = login.strip().lower()
    async with context.system_unit_of_work("sign in") as uow:
        row = await current(uow, interaction_id, visitor, "start")
        if row is None or row.asked.get("people") == "residents":
            return Went("gone")
        account = (await uow.session.scalars(select(AccountRow).filter_by(login=login))).one_or_none()
        device = await _known_device(uow, account, visitor)
        lanes = rules.password_lanes(login, visitor.network, device)
        for lane in (one for one in lanes if one.sliding):
            if wait := await attempts.wait_of(uow, lane):
                return Went("wait", wait)

    async def count() -> int:
        async with context.system_unit_of_work("sign in") as uow:
            return await attempts.take(uow, lanes)

    if wait := await _COUNTING.take(device or visitor.network, device is not None, count):
        return Went("wait", wait)
    password_hash = account.password_hash if account is not None and account.state == "active" else None
    is_right = await passwords.is_right(password_hash, password, network=visitor.network, device=device)
    async with context.system_unit_of_work("sign in") as uow:
        row = await current(uow, interaction_id, visitor, "start", lock=True)
        if row is None or account is None or not is_right:
            if account is not None:
                trace(uow, "sign_in_failed", account.id)
            return Went("wrong" if row else "gone")
        await attempts.clear(uow, lanes)
        row.account_id, row.amr = account.id, ["pwd"]
        row.stage = "enrol" if account.authenticator_sealed is None else "authenticator"
        if row.stage == "enrol":
            row.authenticator = pyotp.random_base32()
    return ON


async def give_digits(context: ServiceContext, interaction_id: UUID, visitor: Visitor, code: str) -> Went:
    """Check the digits of an authenticator, or a recovery code instead."""
    async with context.system_unit_of_work("sign in") as uow:
        row = await current(uow, interaction_id, visitor, "authenticator", lock=True)
        if row is None or row.account_id is None:
            return Went("gone")
        account = await uow.lock(AccountRow, row.account_id)
        device = await _known_device(uow, account, visitor)
        by_recovery = rules.is_recovery_code(code)
        lanes = (
            rules.recovery_lanes(account.id, visitor.network)
            if by_recovery
            else rules.authenticator_lanes(account.id, visitor.network, device)
        )
        if wait := await attempts.take(uow, lanes):
            return Went("wait", wait)
        if not await (_use_recovery_code(uow, account, code) if by_recovery else _use_digits(uow, account, code)):
            trace(uow, "sign_in_failed", account.id)
            return Went("wrong")
        await attempts.clear(uow, lanes)
        row.stage, row.amr = "grant", [*row.amr, "otp"]
        await remember_device(uow, account.id, visitor)
    return ON


async def _use_digits(uow: UnitOfWork, account: AccountRow, code: str) -> bool:
    step = rules.authenticator_step(account.authenticator or "", code, uow.now, account.authenticator_step)
    if step is None:
        return False
    account.authenticator_step = step
    return True


async def _use_recovery_code(uow: UnitOfWork, account: AccountRow, code: str) -> bool:
    hash_ = digest(rules.plain_recovery_code(code))
    return await uow.run(MARK_RECOVERY_CODE_USED, account=account.id, hash=hash_, now=uow.now) == 1


async def enrol(context: ServiceContext, interaction_id: UUID, visitor: Visitor, code: str) -> Went:
    """Check the first digits of a new authenticator. Returns recovery codes, which are shown only once."""
    async with context.system_unit_of_work("sign in") as uow:
        row = await current(uow, interaction_id, visitor, "enrol", lock=True)
        if row is None or row.account_id is None:
            return Went("gone")
        account = await uow.lock(AccountRow, row.account_id)
        if account.authenticator_sealed is not None:
            return Went("gone")
        lanes = rules.authenticator_lanes(account.id, visitor.network, None)[:1]
        if wait := await attempts.take(uow, lanes):
            return Went("wait", wait)
        step = rules.authenticator_step(row.authenticator or "", code, uow.now, 0)
        if step is None:
            return Went("wrong")
        await attempts.clear(uow, lanes)
        account.authenticator, account.authenticator_step, row.authenticator = row.authenticator, step, None
        codes = tuple(rules.new_recovery_codes())
        await uow.run(DELETE_RECOVERY_CODES, account=account.id)
        hashes = [digest(rules.plain_recovery_code(one)) for one in codes]
        await uow.insert_all(RecoveryCodeRow, [{"account_id": account.id, "hash": one} for one in hashes])
        row.stage, row.amr = "grant", [*row.amr, "otp"]
        await remember_device(uow, account.id, visitor)
        trace(uow, "authenticator_set", account.id)
    return Went(recovery_codes=codes)


async def give_phone(context: ServiceContext, interaction_id: UUID, visitor: Visitor, phone: str) -> Went:
    """Send a code to a resident's phone."""
    number = rules.mobile_number(phone)
    if number is None:
        return Went("phone_form")
    if not can_send(context.settings):
        return Went("no_codes")
    async with context.system_unit_of_work("sign in") as uow:
        row = await current(uow, interaction_id, visitor, "start", "phone", lock=True)
        if row is None or row.asked.get("people") == "staff":
            return Went("gone")
        return await _challenge(uow, row, number, visitor)


async def send_again(context: ServiceContext, interaction_id: UUID, visitor: Visitor) -> Went:
    """Send the code again to the same phone."""
    async with context.system_unit_of_work("sign in") as uow:
        row = await current(uow, interaction_id, visitor, "phone", lock=True)
        previous = None if row is None else await uow.session.get(ChallengeRow, row.challenge_id)
        if row is None or previous is None:
            return Went("gone")
        return await _challenge(uow, row, previous.phone or "", visitor)


async def _challenge(uow: UnitOfWork, row: InteractionRow, number: str, visitor: Visitor) -> Went:
    opened = await phones.open_challenge(uow, number, visitor.network)
    if isinstance(opened, int):
        return Went("wait", opened)
    row.stage, row.challenge_id = "phone", opened.id
    return Went(message=opened.message)


async def give_phone_code(context: ServiceContext, interaction_id: UUID, visitor: Visitor, code: str) -> Went:
    """Check the code that was sent to a resident's phone."""
    async with context.system_unit_of_work("sign in") as uow:
        row = await current(uow, interaction_id, visitor, "phone", lock=True)
        if row is None or row.challenge_id is None:
            return Went("gone")
        tried = await phones.try_code(uow, row.challenge_id, None, code)
        if tried.phone is None:
            if tried.is_over:
                row.stage, row.challenge_id = "start", None
            return Went("over" if tried.is_over else "wrong", message=tried.message)
        account = await phones.account_with(uow, tried.phone)
        row.stage, row.account_id, row.amr = "grant", account.id, ["sms"]
        trace(uow, "phone_proven", account.id)
    return ON


async def choices(uow: UnitOfWork, row: InteractionRow) -> list[GrantRow]:
    """Return the grants that the person can use with this client. If the client requested one, only that grant."""
    assert row.account_id is not None
    client = await client_named(uow, row.asked["client_id"])
    grants = await grants_of(uow, row.account_id)
    wanted = row.asked.get("grant_id")
    return [
        grant
        for grant in grants
        if wanted in (None, str(grant.id)) and client is not None and client.serves(grant.region)
    ]


async def finish(
    context: ServiceContext, interaction_id: UUID, visitor: Visitor, chosen: str | None
) -> Went | tuple[Any, str]:
    """Finish a sign-in. Returns the authorization request and a code for the client, or the fault `no_grant`.

    A waiting device gets no code: it is approved, and fetches its tokens itself.
    """
    async with context.system_unit_of_work("sign in") as uow:
        row = await current(uow, interaction_id, visitor, "grant", lock=True)
        if row is None or row.account_id is None:
            return Went("gone")
        account = await uow.get(AccountRow, row.account_id)
        grant = None
        if account.kind == "staff":
            grants = await choices(uow, row)
            if not grants:
                return Went("no_grant")
            grant = next((one for one in grants if len(grants) == 1 or str(one.id) == chosen), None)
            if grant is None:
                return ON
        if account.state != "active" or await client_named(uow, row.asked["client_id"]) is None:
            return Went("gone")
        row.stage = "done"
        if "device" in row.asked:
            until = await devices.approve(uow, row.asked["device"], account, grant, list(row.amr))
            return (row.asked, "") if until is not None else Went("gone")
        code = await new_authorization_code(uow, row.asked, account, grant, list(row.amr), visitor.agent)
        return row.asked, code


async def _known_device(uow: UnitOfWork, account: AccountRow | None, visitor: Visitor) -> str | None:
    """Return the lane name of this browser if the person signed in on it before, else None."""
    if account is None or not visitor.device:
        return None
    hash_ = digest(visitor.device)
    return hash_.hex() if await uow.session.get(DeviceRow, (account.id, hash_)) else None


async def remember_device(uow: UnitOfWork, account_id: UUID, visitor: Visitor) -> None:
    """Store this browser as known, so that guesses from other devices do not delay it."""
    values = {"account_id": account_id, "hash": digest(visitor.device), "seen_at": uow.now}
    statement = insert(DeviceRow).values(values)
    await uow.run(statement.on_conflict_do_update(constraint="devices_pkey", set_={"seen_at": uow.now}))
