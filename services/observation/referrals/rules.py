"""Pure rules of referrals: their transitions, and their course as a function of all messages (article 2).

The 120 desk and hospitals send each message at least once, in any order. So the course is recomputed from all messages
in the order of the senders' clocks, and does not depend on the order of arrival.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from services.observation.protocols.rules import Protocol
from shared.contracts.observation import ReferralState

Move = Literal["dispatched", "on_board", "handed_over", "left", "ruled_out", "admitted", "confirmed", "cancel"]
Rejection = Literal["referral_closed", "transition_forbidden"]

OUTCOMES: tuple[Move, ...] = ("ruled_out", "admitted", "confirmed")
TRANSPORT: tuple[Move, ...] = ("dispatched", "on_board", "handed_over")

MOVES: Mapping[ReferralState, tuple[Move, ...]] = {
    "reported": (*TRANSPORT, "left", *OUTCOMES, "cancel"),
    "dispatched": ("on_board", "handed_over", "left", *OUTCOMES, "cancel"),
    "on_board": ("handed_over", "left", *OUTCOMES),
    "handed_over": OUTCOMES,
    "left": (*TRANSPORT, *OUTCOMES, "cancel"),
    "admitted": ("ruled_out", "confirmed"),
    "ruled_out": (),
    "confirmed": (),
    "cancelled": (),
}
"""The moves allowed in each state. A move that is neither here nor implied (`IMPLIES`) is forbidden."""

IMPLIES: Mapping[ReferralState, tuple[Move, ...]] = {
    "dispatched": ("dispatched",),
    "on_board": ("dispatched", "on_board"),
    "handed_over": TRANSPORT,
    "left": ("left",),
    "admitted": (*TRANSPORT, "admitted"),
    "ruled_out": (*TRANSPORT, "ruled_out"),
    "confirmed": (*TRANSPORT, "confirmed"),
}
"""The moves that must have happened when a state is reached. Such a message arriving late only fills in its time."""

CLOSED: tuple[ReferralState, ...] = ("ruled_out", "admitted", "confirmed", "cancelled")

BEFORE_TRANSPORT: tuple[ReferralState, ...] = ("reported", "dispatched", "left")
"""The states before the transport, in which a referral without ground is withdrawn automatically."""

RANK: Mapping[Move, int] = {"dispatched": 0, "on_board": 1, "handed_over": 2, "left": 3}
"""The order of moves with the same time. Outcomes come last."""


@dataclass(frozen=True)
class Event:
    """The content of a message about a referral."""

    id: UUID
    move: Move
    at: datetime
    hospital: str | None = None


@dataclass(frozen=True)
class Course:
    """The state of a referral, its start, and the messages that were rejected."""

    state: ReferralState
    since: datetime
    times: Mapping[str, datetime] = field(default_factory=dict)
    hospital: str | None = None
    rejected: Mapping[UUID, Rejection] = field(default_factory=dict)

    @property
    def closed_at(self) -> datetime | None:
        """When the referral was closed, or None."""
        return self.since if self.state in CLOSED else None


def move(state: ReferralState, by: Move) -> ReferralState | None:
    """Return the state after a move: the same state if it implies the move, None if the move is forbidden."""
    if by in IMPLIES.get(state, ()):
        return state
    if by not in MOVES[state]:
        return None
    return "cancelled" if by == "cancel" else by


def course(reported_at: datetime, events: Iterable[Event], cancelled_at: datetime | None = None) -> Course:
    """Compute the course of a referral from its messages and its cancellation, if any.

    Only people can reverse a cancellation. After it, a late message about earlier transport fills in its time, and all
    other messages are rejected, so that staff check them.
    """
    state: ReferralState = "reported"
    since, hospital = reported_at, None
    times: dict[str, datetime] = {}
    rejected: dict[UUID, Rejection] = {}
    for event in sorted(events, key=lambda one: (one.at, RANK.get(one.move, len(RANK)), one.id)):
        if cancelled_at and (event.at > cancelled_at or event.move in OUTCOMES):
            rejected[event.id] = "referral_closed"
            continue
        after = move(state, event.move)
        if after is None:
            rejected[event.id] = "referral_closed" if state in CLOSED else "transition_forbidden"
            continue
        hospital = event.hospital or hospital
        if after != state:
            state, since = after, event.at
            times[event.move] = event.at
        else:
            times.setdefault(event.move, event.at)
    if cancelled_at:
        state, since = "cancelled", cancelled_at
    return Course(state, since, {name: times[name] for name in TRANSPORT if name in times}, hospital, rejected)


def may_reopen(state: ReferralState, *, withdrawn: bool) -> bool:
    """Return whether staff may reopen a referral: only if people cancelled it. It then starts again as reported."""
    return state == "cancelled" and not withdrawn


def due_at(state: ReferralState, since: datetime, protocol: Protocol) -> datetime | None:
    """Return the deadline of the next stage by the protocol's minutes, or None if the referral is closed."""
    minutes = {name: figure.value for name, figure in protocol.stage_minutes.items()}
    return None if state in CLOSED else since + timedelta(minutes=next(m for s, m in minutes.items() if s == state))


def overdue_at(due: datetime | None, now: datetime) -> datetime | None:
    """Return since when the referral is overdue, or None."""
    return due if due is not None and due <= now else None


def is_recent(measured_at: datetime, now: datetime, protocol: Protocol) -> bool:
    """Return whether a fever measured at a door is recent enough for a referral (24 hours by default)."""
    return measured_at >= now - timedelta(hours=protocol.door_hours.value)


def is_fever(celsius: float, protocol: Protocol) -> bool:
    """Return whether a temperature in °C is a fever under the protocol (37.3 by default)."""
    return celsius >= protocol.fever_celsius.value
