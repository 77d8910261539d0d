"""Pure rules of messages: what they mean for a referral, and which senders may report it."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from services.observation.referrals.rules import Move
from shared.contracts.gateway import Message
from shared.contracts.observation import ReferralReason

Fault = Literal["kind_unknown", "wrong_sender", "clock_ahead", "referral_missing"]

PREFIX = "referral."
SENDERS: Mapping[Move, tuple[str, ...]] = {
    "dispatched": ("desk_120",),
    "on_board": ("desk_120",),
    "handed_over": ("desk_120", "hospital"),
    "left": ("desk_120",),
    "ruled_out": ("hospital",),
    "admitted": ("hospital",),
    "confirmed": ("hospital",),
}
"""The senders of each move: the 120 desk reports the transport, the hospital the outcome, both the handover."""

NOT_THEIRS = "not_their_patient"


def may_report(source: str, party: str, reason: ReferralReason, given_to: Set[str]) -> bool:
    """Return whether a sender may report on a person. A hospital may if the 120 desk has named it.

    If the desk has named no hospital, any hospital may report on a person with a fever, because the person may have
    come alone. A person with a positive result comes only by transport.
    """
    if source != "hospital":
        return True
    return party in given_to if given_to else reason == "fever"


CLOCK_AHEAD = timedelta(minutes=5)
MOST_CHARACTERS = 100


@dataclass(frozen=True)
class Reading:
    """The content of a message, or its own fault."""

    referral_id: UUID | None
    move: Move | None
    hospital: str | None
    fault: Fault | None


def is_ours(message: Message) -> bool:
    """Return whether a message is about a referral. Other services read the others."""
    return message.kind.startswith(PREFIX)


def read(message: Message) -> Reading:
    """Read a message. Any content is accepted, and errors become a fault."""
    move = next((move for move in SENDERS if PREFIX + move == message.kind), None)
    referral_id = _uuid(message.data.get("referral_id"))
    hospital = message.data.get("hospital")
    name = hospital[:MOST_CHARACTERS] if isinstance(hospital, str) and hospital.strip() else None
    return Reading(referral_id, move, name, _fault(message, move, referral_id))


def _fault(message: Message, move: Move | None, referral_id: UUID | None) -> Fault | None:
    if move is None:
        return "kind_unknown"
    if message.source not in SENDERS[move]:
        return "wrong_sender"
    if message.occurred_at > message.received_at + CLOCK_AHEAD:
        return "clock_ahead"
    return "referral_missing" if referral_id is None else None


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
