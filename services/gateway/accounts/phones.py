"""Phone codes: a person proves that a phone is theirs with a code sent to it."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert

from services.gateway.accounts import attempts, rules
from services.gateway.accounts.tables import AccountRow, ChallengeRow, PhoneCodeRow
from shared.core.ids import new_id
from shared.core.regions import OUTSIDE
from shared.database.unit_of_work import UnitOfWork

LOCK_PHONE = text("SELECT pg_advisory_xact_lock(hashtextextended(encode(:phone, 'hex'), 7))")


@dataclass(frozen=True)
class Message:
    """A code to send after the transaction that created it has committed."""

    phone: str
    code: str
    minutes: int


@dataclass(frozen=True)
class Opened:
    """A new challenge with its secret for the caller, the message to send, and the lifetime of the code in seconds."""

    id: UUID
    secret: str
    message: Message | None
    seconds: int


@dataclass(frozen=True)
class Tried:
    """The result of a try: the phone if the code was right; a longer code to send after too many wrong guesses."""

    phone: str | None = None
    is_over: bool = False
    message: Message | None = None


def index_of(uow: UnitOfWork, phone: str) -> bytes:
    """Return the blind index of a phone number."""
    return uow.context.keyring.index("phone", phone)


async def open_challenge(uow: UnitOfWork, phone: str, network: str) -> Opened | int:
    """Open a challenge for a phone. Returns the seconds to wait instead if there were too many requests."""
    index = index_of(uow, phone)
    if wait := await attempts.take(uow, rules.challenge_lanes(index, network)):
        return wait
    message, code_ends = await _code_for(uow, phone, index)
    secret = rules.new_secret()
    challenge = ChallengeRow(
        id=new_id(), secret=rules.digest(secret), phone_index=index, expires_at=uow.now + rules.LONG_CODE_LIFETIME
    )
    challenge.phone = phone
    uow.session.add(challenge)
    await uow.session.flush()
    return Opened(challenge.id, secret, message, max(1, int((code_ends - uow.now).total_seconds())))


async def _code_for(uow: UnitOfWork, phone: str, index: bytes) -> tuple[Message | None, datetime]:
    """Return the code to send (the valid one or a new one) and its expiry. No message if it was sent just now."""
    await uow.session.execute(LOCK_PHONE, {"phone": index})
    kept = (await uow.session.scalars(select(PhoneCodeRow).filter_by(phone_index=index))).one_or_none()
    if kept is None or uow.now >= kept.expires_at:
        message = await _new_code(uow, phone, index, kept)
        return message, uow.now + rules.lifetime_of(len(message.code))
    if not rules.may_send_again(kept.sent_at, kept.sends, uow.now):
        return None, kept.expires_at
    kept.sent_at, kept.sends = uow.now, kept.sends + 1
    return _message(phone, kept, uow), kept.expires_at


async def _new_code(uow: UnitOfWork, phone: str, index: bytes, kept: PhoneCodeRow | None) -> Message:
    guesses = 0 if kept is None else rules.guesses_kept(kept.guesses, kept.sent_at, uow.now)
    longer_since = None if kept is None else kept.longer_since
    many_guess = await attempts.wait_of(uow, rules.WRONG_CODES) > 0
    digits = rules.code_digits(guesses, longer_since, uow.now, many_guess=many_guess)
    row = kept or PhoneCodeRow(id=new_id(), phone_index=index)
    row.code = rules.new_code(digits)
    row.digits, row.sent_at, row.sends, row.guesses = digits, uow.now, 1, guesses
    row.expires_at = uow.now + rules.lifetime_of(digits)
    if digits == rules.LONG_DIGITS and guesses >= rules.GUESSES_BEFORE_LONGER:
        row.longer_since = uow.now
    uow.session.add(row)
    await uow.session.flush()
    return _message(phone, row, uow)


def _message(phone: str, row: PhoneCodeRow, uow: UnitOfWork) -> Message:
    return Message(phone, row.code or "", max(1, int((row.expires_at - uow.now).total_seconds()) // 60))


async def try_code(uow: UnitOfWork, challenge_id: UUID, secret: str | None, code: str) -> Tried:
    """Check a code against a challenge and count the try. `secret` is None if a browser cookie proves the challenge."""
    challenge = await uow.session.get(ChallengeRow, challenge_id, with_for_update=True, populate_existing=True)
    if challenge is None or (secret is not None and not hmac.compare_digest(challenge.secret, rules.digest(secret))):
        return Tried(is_over=True)
    if uow.now >= challenge.expires_at or challenge.tries >= rules.TRIES:
        return Tried(is_over=True)
    challenge.tries += 1
    index, phone = challenge.phone_index, challenge.phone or ""
    await uow.session.execute(LOCK_PHONE, {"phone": index})
    query = select(PhoneCodeRow).filter_by(phone_index=index).execution_options(populate_existing=True)
    kept = (await uow.session.scalars(query)).one_or_none()
    if kept is None or uow.now >= kept.expires_at:
        return Tried(is_over=True)
    given = "".join(code.split())
    if hmac.compare_digest((kept.code or "").encode(), given.encode("utf-8", "surrogatepass")):
        await attempts.give_back(uow, [rules.WRONG_CODES], challenge.tries - 1)  # the owner's own mistakes
        kept.expires_at, kept.guesses = uow.now, 0  # a code is valid only once
        await uow.session.delete(challenge)
        return Tried(phone=phone)
    kept.guesses += 1
    message = None
    many_guess = await attempts.take(uow, [rules.WRONG_CODES]) > 0
    if kept.digits == rules.SHORT_DIGITS and (many_guess or kept.guesses >= rules.GUESSES_BEFORE_LONGER):
        message = await _new_code(uow, phone, index, kept)
    return Tried(is_over=challenge.tries >= rules.TRIES, message=message)


async def account_with(uow: UnitOfWork, phone: str) -> AccountRow:
    """Return the account of a verified phone. Creates it if there is none."""
    index = index_of(uow, phone)
    row = AccountRow(region=OUTSIDE, kind="resident", phone_index=index)
    row.phone = phone
    values = {
        "id": row.id,
        "region": OUTSIDE,
        "kind": "resident",
        "phone_index": index,
        "phone_sealed": row.phone_sealed,
    }
    await uow.run(insert(AccountRow).values(values).on_conflict_do_nothing(constraint="phone_taken"))
    return (await uow.session.scalars(select(AccountRow).filter_by(phone_index=index))).one()
