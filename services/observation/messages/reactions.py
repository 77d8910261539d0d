"""Reactions to messages of the 120 desk and hospitals."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select

from services.observation.messages import rules
from services.observation.messages.tables import MessageRow
from services.observation.people.cascade import TURN, TURN_KEY, cascade_people
from services.observation.protocols.rules import Protocol
from services.observation.protocols.use_cases import all_protocols
from services.observation.referrals.rules import BEFORE_TRANSPORT, Course, Event, course, due_at, overdue_at
from services.observation.referrals.tables import ReferralRow
from shared.contracts.gateway import Message
from shared.core.ids import in_order
from shared.database.unit_of_work import UnitOfWork
from shared.feed.reader import reacts_to


async def forget_messages(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Delete nothing: messages stay with their referral, independent of the sender's retention."""


@reacts_to(Message, forget=forget_messages)
async def follow_messages(uow: UnitOfWork, messages: Sequence[Message]) -> None:
    """Store messages about referrals, and recompute the course of each referral from all its messages.

    A message that does not fit, such as one with an unknown referral or a forbidden transition, is stored as rejected,
    so that staff see it.
    """
    readings = [(message, rules.read(message)) for message in messages if rules.is_ours(message)]
    if not readings:
        return
    await uow.upsert(MessageRow, [_values(message, reading) for message, reading in readings])
    await uow.run(TURN, key=TURN_KEY)
    referral_ids = in_order(reading.referral_id for _, reading in readings if reading.referral_id and not reading.fault)
    await _recompute(uow, referral_ids)


async def advance_from_messages(uow: UnitOfWork, row: ReferralRow) -> None:
    """Apply the earlier messages to a reopened referral if they say that the transport has begun meanwhile."""
    accepted = _accepted(row, (await _messages_of(uow, [row.id])).get(row.id, []))
    if course(row.since, map(_event, accepted)).state not in BEFORE_TRANSPORT:
        await _recompute(uow, [row.id])


async def _recompute(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    referrals = await _lock(uow, ids)
    messages_of = await _messages_of(uow, [row.id for row in referrals])
    protocols = await all_protocols(uow)
    changed = []
    for row in referrals:
        messages = messages_of.get(row.id, [])
        accepted = _accepted(row, messages)
        began = row.since if row.state == "reported" else row.reported_at  # `since` is later after a reopening
        current = course(began, map(_event, accepted), row.cancelled_at)
        for message in messages:
            _judge(message, row.region, current.rejected.get(message.id) if message in accepted else rules.NOT_THEIRS)
        before = row.public(), row.hospital
        _apply(uow, row, current, protocols[row.protocol])
        if (row.public(), row.hospital) != before:
            changed.append(row)
    await uow.session.flush()
    uow.publish_all([row.public() for row in changed], change="told", urgent=True)
    await cascade_people(
        uow, [row.resident_id for row in changed], [row.evidence_id for row in changed if row.evidence_id is not None]
    )


def _values(message: Message, reading: rules.Reading) -> dict[str, Any]:
    """Return the row of a message. It starts as rejected; `_recompute` decides if its referral exists."""
    return {
        "id": message.id,
        "region": message.region,
        "source": message.source,
        "party": message.party,
        "message_id": message.message_id,
        "kind": message.kind,
        "referral_id": reading.referral_id,
        "hospital": reading.hospital,
        "occurred_at": message.occurred_at,
        "received_at": message.received_at,
        "state": "rejected",
        "reason": reading.fault or "referral_unknown",
    }


async def _lock(uow: UnitOfWork, ids: Sequence[UUID]) -> Sequence[ReferralRow]:
    statement = (
        select(ReferralRow)
        .where(ReferralRow.id.in_(ids))
        .order_by(ReferralRow.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return (await uow.session.scalars(statement)).all()


FAULTS = ("kind_unknown", "wrong_sender", "clock_ahead", "referral_missing")


async def _messages_of(uow: UnitOfWork, ids: Sequence[UUID]) -> dict[UUID, list[MessageRow]]:
    """Return the messages of these referrals, without those that are faulty themselves."""
    statement = select(MessageRow).where(MessageRow.referral_id.in_(ids)).execution_options(populate_existing=True)
    messages: dict[UUID, list[MessageRow]] = {}
    for row in await uow.session.scalars(statement):
        if row.referral_id is not None and row.reason not in FAULTS:
            messages.setdefault(row.referral_id, []).append(row)
    return messages


def _accepted(referral: ReferralRow, messages: Sequence[MessageRow]) -> list[MessageRow]:
    """Return the messages of senders that may report on this person."""
    given_to = {message.hospital for message in messages if message.source == "desk_120" and message.hospital}
    return [one for one in messages if rules.may_report(one.source, one.party, referral.reason, given_to)]


def _event(message: MessageRow) -> Event:
    """Return the event of a message. The hospital of a hospital's message is always the sender."""
    move = next(move for move in rules.SENDERS if rules.PREFIX + move == message.kind)
    hospital = message.party if message.source == "hospital" else message.hospital
    return Event(message.id, move, message.occurred_at, hospital)


def _judge(message: MessageRow, region: str, reason: str | None) -> None:
    message.region = region
    message.reason = reason
    message.state = "rejected" if message.reason else "applied"


def _apply(uow: UnitOfWork, row: ReferralRow, current: Course, protocol: Protocol) -> None:
    entered = (current.state, current.since) != (row.state, row.since)
    row.state, row.since, row.closed_at = current.state, current.since, current.closed_at
    row.dispatched_at = current.times.get("dispatched")
    row.on_board_at = current.times.get("on_board")
    row.handed_over_at = current.times.get("handed_over")
    row.hospital = current.hospital
    if entered:
        row.due_at = due_at(current.state, current.since, protocol)
        row.overdue_at = overdue_at(row.due_at, uow.now)
