"""A referral's states, and its course as a function of all that was told of it (article 2). Pure.

The 120 desk and hospitals tell what happened at least once, in any order. So the course is never moved by the message
that came last: it is computed anew from all of them, in the order of the senders' own clocks.
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
"""From a state, by which moves. What is neither here nor implied is forbidden."""

IMPLIES: Mapping[ReferralState, tuple[Move, ...]] = {
    "dispatched": ("dispatched",),
    "on_board": ("dispatched", "on_board"),
    "handed_over": TRANSPORT,
    "left": ("left",),
    "admitted": (*TRANSPORT, "admitted"),
    "ruled_out": (*TRANSPORT, "ruled_out"),
    "confirmed": (*TRANSPORT, "confirmed"),
}
"""What must have happened when a state is reached. Told afterwards, it changes no state and only fills its time."""

CLOSED: tuple[ReferralState, ...] = ("ruled_out", "admitted", "confirmed", "cancelled")

BEFORE_TRANSPORT: tuple[ReferralState, ...] = ("reported", "dispatched", "left")
"""The states in which nobody has the person yet, so that a referral without ground can end by itself."""

RANK: Mapping[Move, int] = {"dispatched": 0, "on_board": 1, "handed_over": 2, "left": 3}
"""The order of moves that have the same time; the outcomes come last."""


@dataclass(frozen=True)
class Event:
    """What a message tells of a referral."""

    id: UUID
    move: Move
    at: datetime
    hospital: str | None = None


@dataclass(frozen=True)
class Course:
    """Where a referral stands, since when, and which messages had no place in it."""

    state: ReferralState
    since: datetime
    times: Mapping[str, datetime] = field(default_factory=dict)
    hospital: str | None = None
    rejected: Mapping[UUID, Rejection] = field(default_factory=dict)

    @property
    def closed_at(self) -> datetime | None:
        """When it was closed, if it is."""
        return self.since if self.state in CLOSED else None


def move(state: ReferralState, by: Move) -> ReferralState | None:
    """The state after a move; the same state if the move is implied by it already; None if it is forbidden."""
    if by in IMPLIES.get(state, ()):
        return state
    if by not in MOVES[state]:
        return None
    return "cancelled" if by == "cancel" else by


def course(reported_at: datetime, events: Iterable[Event], cancelled_at: datetime | None = None) -> Course:
    """The course of a referral, from all that was told of it and perhaps our own cancellation.

    A cancellation was allowed when it was made, and only people take it back: of what becomes known later, transport
    that happened before it fills its time, and everything else is rejected, for people to look at.
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
    """Whether people may take a referral up again: only what people cancelled. It begins anew as reported."""
    return state == "cancelled" and not withdrawn


def due_at(state: ReferralState, since: datetime, protocol: Protocol) -> datetime | None:
    """When the next stage must have been reached, by the protocol's minutes; None once it is closed."""
    minutes = {name: figure.value for name, figure in protocol.stage_minutes.items()}
    return None if state in CLOSED else since + timedelta(minutes=next(m for s, m in minutes.items() if s == state))


def overdue_at(due: datetime | None, now: datetime) -> datetime | None:
    """Since when the alarm is on."""
    return due if due is not None and due <= now else None


def is_recent(measured_at: datetime, now: datetime, protocol: Protocol) -> bool:
    """Whether a fever that was read at a door still calls for 120 (24 hours by default)."""
    return measured_at >= now - timedelta(hours=protocol.door_hours.value)


def is_fever(celsius: float, protocol: Protocol) -> bool:
    """Whether a temperature in °C is a fever under the protocol (37.3 by default)."""
    return celsius >= protocol.fever_celsius.value
