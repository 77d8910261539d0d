"""Use cases of hooks: receive messages from other systems, and register these systems."""

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
from shared.audit.kinds import Kind
from shared.contracts.gateway import Message
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.core.regions import level_of, lies_under
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.http import bodies
from shared.problems import LocalizedText, NotFound, Problem

MOST_SOURCES = 200
"""Maximum number of systems of one kind, because each message is checked against the secrets of all of them."""


CHALLENGE = {"WWW-Authenticate": 'Webhook-Signature realm="fangxian"'}
"""A 401 must name the authentication scheme (RFC 9110, 15.5.2): here a Standard Webhooks signature."""


class SignatureInvalid(Problem):
    """No registered source signed this message, or it was changed on the way."""

    status = 401
    code = "signature_invalid"
    headers = CHALLENGE
    title = LocalizedText(zh="签名无效", en="The signature is not valid")
    fix = LocalizedText(
        zh="请按 Standard Webhooks 规范，使用当前密钥对原始正文签名",
        en="Sign the raw body with the current secret, as Standard Webhooks specifies",
    )


class SignatureExpired(Problem):
    """The signature is valid but too old: a replay, or the sender's clock is slow."""

    status = 401
    code = "signature_expired"
    headers = CHALLENGE
    title = LocalizedText(zh="签名已过期", en="The signature is too old")
    fix = LocalizedText(
        zh="请在签名后 5 分钟内发送；如仍出现此提示，请校准发送方时钟",
        en="Send the message within 5 minutes after signing. If you did, correct the sender's clock",
    )


class SignatureAhead(Problem):
    """The signature is valid but its time is in the future: the sender's clock is fast."""

    status = 401
    code = "signature_ahead"
    headers = CHALLENGE
    title = LocalizedText(zh="签名时间超前", en="The time of the signature is in the future")
    fix = LocalizedText(
        zh="发送方时钟快了 5 分钟以上，请校准后重新签名并发送",
        en="The sender's clock is more than 5 minutes fast. Correct it, then sign and send the message again",
    )


TIME_FAULTS: Mapping[rules.TimeFault, type[Problem]] = {"expired": SignatureExpired, "ahead": SignatureAhead}


class MessageIdReused(Problem):
    """The webhook-id belongs to a message with another body."""

    status = 409
    code = "message_id_reused"
    title = LocalizedText(zh="该 webhook-id 已用于另一消息", en="This webhook-id was already used for another message")
    fix = LocalizedText(zh="新的消息请用新的 webhook-id", en="Use a new webhook-id for each new message")


class HookSourceTaken(Problem):
    """A source with this kind and party is already registered."""

    status = 409
    code = "hook_source_taken"
    title = LocalizedText(zh="该来源已登记", en="This source is already registered")
    fix = LocalizedText(zh="如需新密钥，请使用更换密钥功能（rotate）", en="If you need a new secret, use rotate")


class HookSourcesFull(Problem):
    """The maximum number of sources of this kind is reached."""

    status = 409
    code = "hook_sources_full"
    title = LocalizedText(zh="该类消息来源数量已达上限", en="The limit for sources of this kind is reached")
    fix = LocalizedText(zh="请删除不再使用的来源", en="Remove sources that are no longer used")


async def receive_message(
    uow: UnitOfWork, source: Source, headers: Mapping[str, str], body: bytes
) -> tuple[Message, bool]:
    """Verify a message, store it once and publish it. Returns whether it is new.

    The body is not parsed before the signature is verified.
    """
    sender = await _sender(uow, source, headers, body)
    message_id = headers["webhook-id"]
    fingerprint = hashlib.sha256(body).digest()
    posted = bodies.parsed(Posted, body)
    uow.audit(kind=Kind.CHANGE, reason=posted.type, actor=_as_actor(sender, uow.actor.request_id))
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
        "received_at": uow.now,
        "data": travels,
        "rest_sealed": uow.context.keyring.encrypt(MessageRow.rest.qualified_name(MessageRow), id_, rest),
        "fingerprint": fingerprint,
    }
    statement = insert(MessageRow).values(values).on_conflict_do_nothing(constraint="message_id_reused")
    row = (await uow.session.scalars(statement.returning(MessageRow))).one_or_none()
    if row is not None:
        sender.last_message_at = uow.now
        return await uow.publish(row, change="received"), True
    query = select(MessageRow).filter_by(source=source, party=sender.party, message_id=message_id)
    stored = (await uow.session.scalars(query)).one()
    if stored.fingerprint != fingerprint:
        raise MessageIdReused()
    return stored.public(), False


async def _sender(uow: UnitOfWork, source: Source, headers: Mapping[str, str], body: bytes) -> HookSourceRow:
    signed = rules.headers_of(headers)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise SignatureInvalid() from None
    if signed is None:
        raise SignatureInvalid()
    statement = select(HookSourceRow).where(HookSourceRow.source == source).order_by(HookSourceRow.seq)
    for row in await uow.session.scalars(statement.limit(MOST_SOURCES)):
        secrets = rules.valid_secrets(row.secrets or "[]", uow.now)
        if any(rules.is_signed(signed, text, secret) for secret in secrets):
            if (fault := rules.time_fault(signed, uow.now)) is not None:
                raise TIME_FAULTS[fault]()
            return row
    raise SignatureInvalid()


def _as_actor(sender: HookSourceRow, request_id: str) -> Actor:
    subject = f"hook:{sender.source}:{sender.party}"
    return Actor(subject, Role.named(sender.source), party=sender.party, request_id=request_id)


def _region_of(posted: Posted, sender: HookSourceRow) -> str:
    """Return the region in the message if it lies in the sender's region, else the sender's region."""
    region = posted.data.get("region")
    is_inside = isinstance(region, str) and level_of(region) is not None and lies_under(region, sender.region)
    return str(region) if is_inside else sender.region


# Registration of sources --------------------------------------------------------------------------------------------


async def add_hook_source(uow: UnitOfWork, new: NewHookSource) -> HookSourceMade:
    """Register a source with a new secret. Raises RegionOutside, PartyEverywhere, HookSourceTaken, HookSourcesFull."""
    uow.require_within(new.region)
    require_whole(uow)
    secret, kept = rules.with_new_secret(None, uow.now)
    query = select(HookSourceRow.id).where(HookSourceRow.source == new.source).limit(MOST_SOURCES)
    if len((await uow.session.scalars(query)).all()) == MOST_SOURCES:
        raise HookSourcesFull()
    row = uow.add(HookSourceRow(source=new.source, party=new.party, region=new.region, secrets=kept))
    await uow.session.flush()
    return HookSourceMade(**row.public().model_dump(), secret=secret)


async def list_hook_sources(uow: UnitOfWork, page: Page) -> Listed[HookSource]:
    """List the sources that the caller may see."""
    return await uow.page(select(HookSourceRow), page, HookSourceRow.public)


async def get_hook_source(uow: UnitOfWork, source_id: UUID) -> HookSource:
    """Return one source. Raises NotFound."""
    return (await uow.get(HookSourceRow, source_id)).public()


async def rotate_hook_source(uow: UnitOfWork, source_id: UUID) -> HookSourceMade:
    """Create a new secret for a source. The old one stays valid for a day."""
    row = await uow.lock(HookSourceRow, source_id)
    secret, row.secrets = rules.with_new_secret(row.secrets, uow.now)
    await uow.session.flush()
    return HookSourceMade(**row.public().model_dump(), secret=secret)


async def remove_hook_source(uow: UnitOfWork, source_id: UUID) -> None:
    """Delete a source. Raises NotFound."""
    row = await uow.lock(HookSourceRow, source_id)
    await uow.session.delete(row)


READ_THE_REST = Role.COMMAND | Role.COMMUNITY_OFFICER | Role.MACHINE
"""The roles that may read the unpublished fields, which may name people: officers of the region and the sender."""


async def list_messages(uow: UnitOfWork, page: Page) -> Listed[MessageShown]:
    """List the messages that the caller may see."""
    statement = select(MessageRow)
    if uow.actor.role in Role.MACHINE:
        statement = statement.where(MessageRow.source == uow.actor.role.label)
    # In a list staff see only published fields. To read the others they open one message, and that access is recorded.
    return await uow.page(statement, page, partial(MessageRow.shown, with_rest=uow.actor.role in Role.MACHINE))


async def get_message(uow: UnitOfWork, message_id: UUID) -> MessageShown:
    """Return one message. Raises NotFound, also if another system sent it."""
    row = await uow.get(MessageRow, message_id)
    if uow.actor.role in Role.MACHINE and row.source != uow.actor.role.label:
        raise NotFound()
    return row.shown(with_rest=uow.actor.role in READ_THE_REST)
