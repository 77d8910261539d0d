"""Hooks: what happens when another system posts."""

import hashlib
from collections.abc import Mapping
from functools import partial
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from services.gateway.clients.use_cases import require_whole
from services.gateway.messages import rules
from services.gateway.messages.schemas import HookSource, HookSourceMade, MessageShown, NewHookSource, Posted
from services.gateway.messages.tables import HookSourceRow, MessageRow, Source
from shared.actors import Actor, Role
from shared.audit.kinds import Kind
from shared.contracts.gateway import Message
from shared.http import bodies
from shared.ids import new_id
from shared.problems import NotFound, Problem, Text
from shared.regions import level_of, lies_under
from shared.work import Listed, Page, Work

MOST_SOURCES = 200
"""Systems of one kind: each message is checked against the secrets of all of them."""


CHALLENGE = {"WWW-Authenticate": 'Webhook-Signature realm="fangxian"'}
"""A 401 names how to authenticate (RFC 9110, 15.5.2): here by the signature of Standard Webhooks."""


class SignatureInvalid(Problem):
    """Nobody we know has signed this, or it was changed on the way."""

    status = 401
    code = "signature_invalid"
    headers = CHALLENGE
    title = Text(zh="签名无效", en="The signature is not valid")
    fix = Text(
        zh="请按 Standard Webhooks 规范，用当前密钥对原始正文签名",
        en="Sign the raw body with the current secret, as Standard Webhooks specifies",
    )


class SignatureExpired(Problem):
    """The signature is genuine and too old: a recording, or a clock that is slow."""

    status = 401
    code = "signature_expired"
    headers = CHALLENGE
    title = Text(zh="签名已过期", en="The signature is too old")
    fix = Text(
        zh="请在签名后 5 分钟内发出；如仍出现，请校准发送方时钟",
        en="Send within 5 minutes after signing; if you did, correct the sender's clock",
    )


class SignatureAhead(Problem):
    """The signature is genuine and of a time that has not come: a clock that is fast."""

    status = 401
    code = "signature_ahead"
    headers = CHALLENGE
    title = Text(zh="签名时间超前", en="The time of the signature is in the future")
    fix = Text(
        zh="发送方时钟快 5 分钟以上，请校准后重新签名发出",
        en="The sender's clock is more than 5 minutes fast: correct it, then sign and send again",
    )


TIME_FAULTS: Mapping[rules.TimeFault, type[Problem]] = {"expired": SignatureExpired, "ahead": SignatureAhead}


class MessageIdReused(Problem):
    """The webhook-id belongs to a message with another body."""

    status = 409
    code = "message_id_reused"
    title = Text(zh="该 webhook-id 已用于另一消息", en="This webhook-id was already used for another message")
    fix = Text(zh="新的消息请用新的 webhook-id", en="Use a new webhook-id for each new message")


class HookSourceTaken(Problem):
    """This system may post already."""

    status = 409
    code = "hook_source_taken"
    title = Text(zh="该来源已登记", en="This source is already registered")
    fix = Text(zh="如需新密钥，请更换密钥", en="If you need a new secret, rotate it")


class HookSourcesFull(Problem):
    """There are as many systems of this kind as can be checked."""

    status = 409
    code = "hook_sources_full"
    title = Text(zh="该类消息来源数量已达上限", en="The limit for sources of this kind is reached")
    fix = Text(zh="请删除不再使用的来源", en="Remove sources that are no longer used")


async def receive_message(work: Work, source: Source, headers: Mapping[str, str], body: bytes) -> tuple[Message, bool]:
    """Keep a signed message once, and put it on the feed; whether it is new. Nothing of it is read before that."""
    sender = await _sender(work, source, headers, body)
    message_id = headers["webhook-id"]
    fingerprint = hashlib.sha256(body).digest()
    posted = bodies.parsed(Posted, body)
    work.audit(kind=Kind.CHANGE, reason=posted.type, actor=_as_actor(sender, work.actor.request_id))
    id_, travels = new_id(), rules.impersonal(posted.data)
    rest = msgspec.json.encode(rules.rest_of(posted.data, travels)).decode()
    values = {
        "id": id_,
        "region": _region_of(posted, sender),
        "source": source,
        "party": sender.party,
        "message_id": message_id,
        "kind": posted.type,
        "occurred_at": posted.timestamp,
        "received_at": work.now,
        "data": travels,
        "rest_sealed": work.house.keyring.seal(MessageRow.rest.place(MessageRow), id_, rest),
        "fingerprint": fingerprint,
    }
    kept = insert(MessageRow).values(values).on_conflict_do_nothing(constraint="message_id_reused")
    row = (await work.session.scalars(kept.returning(MessageRow))).one_or_none()
    if row is not None:
        sender.last_message_at = work.now
        return await work.publish(row, change="received"), True
    before = select(MessageRow).filter_by(source=source, party=sender.party, message_id=message_id)
    known = (await work.session.scalars(before)).one()
    if known.fingerprint != fingerprint:
        raise MessageIdReused()
    return known.public(), False


async def _sender(work: Work, source: Source, headers: Mapping[str, str], body: bytes) -> HookSourceRow:
    signed = rules.headers_of(headers)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise SignatureInvalid() from None
    if signed is None:
        raise SignatureInvalid()
    statement = select(HookSourceRow).where(HookSourceRow.source == source).order_by(HookSourceRow.seq)
    for row in await work.session.scalars(statement.limit(MOST_SOURCES)):
        secrets = rules.valid_secrets(row.secrets or "[]", work.now)
        if any(rules.is_signed(signed, text, secret) for secret in secrets):
            if (fault := rules.time_fault(signed, work.now)) is not None:
                raise TIME_FAULTS[fault]()
            return row
    raise SignatureInvalid()


def _as_actor(sender: HookSourceRow, request_id: str) -> Actor:
    subject = f"hook:{sender.source}:{sender.party}"
    return Actor(subject, Role.named(sender.source), party=sender.party, request_id=request_id)


def _region_of(posted: Posted, sender: HookSourceRow) -> str:
    """Where it happened, if the message says so and the sender serves that place; else the sender's own region."""
    said = posted.data.get("region")
    is_there = isinstance(said, str) and level_of(said) is not None and lies_under(said, sender.region)
    return str(said) if is_there else sender.region


# Who may post -------------------------------------------------------------------------------------------------------


async def add_hook_source(work: Work, new: NewHookSource) -> HookSourceMade:
    work.require_within(new.region)
    require_whole(work)
    secret, kept = rules.with_new_secret(None, work.now)
    known = select(HookSourceRow.id).where(HookSourceRow.source == new.source).limit(MOST_SOURCES)
    if len((await work.session.scalars(known)).all()) == MOST_SOURCES:
        raise HookSourcesFull()
    row = work.add(HookSourceRow(source=new.source, party=new.party, region=new.region, secrets=kept))
    await work.session.flush()
    return HookSourceMade(**row.public().model_dump(), secret=secret)


async def list_hook_sources(work: Work, page: Page) -> Listed[HookSource]:
    return await work.page(select(HookSourceRow), page, HookSourceRow.public)


async def get_hook_source(work: Work, source_id: UUID) -> HookSource:
    return (await work.get(HookSourceRow, source_id)).public()


async def rotate_hook_source(work: Work, source_id: UUID) -> HookSourceMade:
    row = await work.lock(HookSourceRow, source_id)
    secret, row.secrets = rules.with_new_secret(row.secrets, work.now)
    await work.session.flush()
    return HookSourceMade(**row.public().model_dump(), secret=secret)


async def remove_hook_source(work: Work, source_id: UUID) -> None:
    row = await work.lock(HookSourceRow, source_id)
    await work.session.delete(row)


READ_THE_REST = Role.COMMAND | Role.COMMUNITY_OFFICER | Role.MACHINE
"""Who reads the fields of a message that may name people: who answers for the region, and the sender itself."""


async def list_messages(work: Work, page: Page) -> Listed[MessageShown]:
    statement = select(MessageRow)
    if work.actor.role in Role.MACHINE:
        statement = statement.where(MessageRow.source == work.actor.role.label)
    # A list shows staff what travels; who needs the rest opens one message, which leaves an entry of its own.
    return await work.page(statement, page, partial(MessageRow.shown, with_rest=work.actor.role in Role.MACHINE))


async def get_message(work: Work, message_id: UUID) -> MessageShown:
    row = await work.get(MessageRow, message_id)
    if work.actor.role in Role.MACHINE and row.source != work.actor.role.label:
        raise NotFound()
    return row.shown(with_rest=work.actor.role in READ_THE_REST)
