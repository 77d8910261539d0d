"""O4: a referral's states, and its course as a function of all that was told."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.observation.referrals import rules
from services.observation.referrals.rules import Event, Move
from shared.contracts.observation import ReferralState
from shared.core.ids import named_id

STATES: tuple[ReferralState, ...] = get_args(ReferralState)
ALL_MOVES: tuple[Move, ...] = get_args(Move)
ALL_PAIRS = list(itertools.product(STATES, ALL_MOVES))
START = datetime(2021, 1, 21, 1, 0, tzinfo=UTC)

# Written out a second time, by another principle: what leads where from each state; a dot forbids.
#              dispatched  on_board    handed_over  left        ruled_out   admitted    confirmed   cancel
TABLE = """
reported       dispatched  on_board    handed_over  left        ruled_out   admitted    confirmed   cancelled
dispatched     =           on_board    handed_over  left        ruled_out   admitted    confirmed   cancelled
on_board       =           =           handed_over  left        ruled_out   admitted    confirmed   .
handed_over    =           =           =            .           ruled_out   admitted    confirmed   .
left           dispatched  on_board    handed_over  =           ruled_out   admitted    confirmed   cancelled
admitted       =           =           =            .           ruled_out   =           confirmed   .
ruled_out      =           =           =            .           =           .           .           .
confirmed      =           =           =            .           .           .           =           .
cancelled      .           .           .            .           .           .           .           .
"""
EXPECTED = {
    (state, move): {"=": state, ".": None}.get(cell, cell)
    for state, *cells in (line.split() for line in TABLE.strip().splitlines())
    for move, cell in zip(ALL_MOVES, cells, strict=True)
}


@pytest.mark.parametrize(("state", "move"), ALL_PAIRS)
def test_moves(state: ReferralState, move: Move) -> None:
    assert rules.move(state, move) == EXPECTED[state, move]


@pytest.mark.parametrize("withdrawn", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_only_what_people_cancelled_is_taken_up_again(state: ReferralState, withdrawn: bool) -> None:
    assert rules.may_reopen(state, withdrawn=withdrawn) == ((state, withdrawn) == ("cancelled", False))


def event(move: Move, minutes: int, name: str = "") -> Event:
    return Event(named_id("message", name or f"{move}{minutes}"), move, START + timedelta(minutes=minutes))


def test_a_later_stage_implies_the_earlier_and_a_late_message_only_fills_its_time() -> None:
    board, handed, dispatch = event("on_board", 20), event("handed_over", 40), event("dispatched", 5)
    alone = rules.course(START, [handed])
    assert (alone.state, dict(alone.times)) == ("handed_over", {"handed_over": handed.at})
    all_told = rules.course(START, [handed, board, dispatch])
    assert all_told.state == "handed_over"
    assert all_told.since == handed.at
    assert dict(all_told.times) == {"dispatched": dispatch.at, "on_board": board.at, "handed_over": handed.at}
    assert not all_told.rejected


def test_who_left_without_transfer_is_fetched_again() -> None:
    found = rules.course(
        START, [event("dispatched", 5), event("left", 20), event("dispatched", 30), event("on_board", 50)]
    )
    assert found.state == "on_board"
    assert found.times["dispatched"] == START + timedelta(minutes=30)


def test_the_same_time_is_read_in_the_order_of_the_stages() -> None:
    found = rules.course(START, [event("handed_over", 5), event("on_board", 5), event("dispatched", 5)])
    assert found.state == "handed_over"
    assert set(found.times) == {"dispatched", "on_board", "handed_over"}


def test_a_forbidden_move_is_rejected_and_moves_nothing() -> None:
    left = event("left", 50)
    found = rules.course(START, [event("handed_over", 40), left])
    assert found.state == "handed_over"
    assert found.rejected == {left.id: "transition_forbidden"}
    late = event("confirmed", 90)
    assert rules.course(START, [event("ruled_out", 60), late]).rejected == {late.id: "referral_closed"}


def test_a_cancellation_is_final() -> None:
    cancelled_at = START + timedelta(minutes=30)
    before, after, outcome = event("dispatched", 20), event("on_board", 40), event("admitted", 25)
    found = rules.course(START, [before, after, outcome], cancelled_at)
    assert (found.state, found.closed_at) == ("cancelled", cancelled_at)
    assert dict(found.times) == {"dispatched": before.at}
    assert found.rejected == {after.id: "referral_closed", outcome.id: "referral_closed"}


MESSAGES = st.lists(
    st.builds(
        Event,
        id=st.uuids(version=4),
        move=st.sampled_from([move for move in ALL_MOVES if move != "cancel"]),
        at=st.integers(0, 30).map(lambda minutes: START + timedelta(minutes=minutes)),
        hospital=st.sampled_from([None, "hospital-one"]),
    ),
    max_size=8,
    unique_by=lambda event: event.id,
)


@given(MESSAGES, st.randoms(use_true_random=False), st.none() | st.integers(0, 30))
def test_the_order_of_arrival_does_not_matter(
    events: list[Event], chance: random.Random, cancelled: int | None
) -> None:
    at = None if cancelled is None else START + timedelta(minutes=cancelled)
    found = rules.course(START, events, at)
    shuffled = events.copy()
    chance.shuffle(shuffled)
    assert rules.course(START, shuffled, at) == found
    accepted = [event for event in events if event.id not in found.rejected]
    if at is None:
        assert rules.course(START, accepted) == rules.Course(found.state, found.since, found.times, found.hospital, {})
    assert (found.closed_at is not None) == (found.state in rules.CLOSED)


def test_events_without_any_message_leave_it_reported() -> None:
    found = rules.course(START, [])
    assert (found.state, found.since, found.times, found.closed_at) == ("reported", START, {}, None)
    assert isinstance(named_id("message", ""), UUID)
