"""Grants: who may act as what, where, from when to when. Pure.

A grant is (person, role, region, from, to, by whom, why). One acts in one grant at a time. Nobody gives more than they
have; a grant of command takes effect when a second person has approved it.
"""

from datetime import datetime, timedelta
from typing import Literal

from shared.actors import Role

State = Literal["proposed", "active", "refused", "ended"]

GIVEN = Role.STAFF | Role.DOOR
"""What people can be. Residents need no grant, machines are registered."""

NEEDS_TWO = Role.COMMAND

ALONE_AFTER = timedelta(days=30)
"""How long after the last of the others has ended somebody counts as the only one who commands."""


def first_state(role: Role, is_first_of_all: bool) -> State:
    """How a grant begins. Where nobody else holds command, nobody could approve: then the one there is decides."""
    return "proposed" if role in NEEDS_TWO and not is_first_of_all else "active"


def may_decide(decider: str, proposer: str, receiver: str) -> bool:
    """Whether somebody may approve or refuse: never who proposed it, and never who receives it."""
    return decider not in (proposer, receiver)


def holds(state: State, valid_from: datetime, valid_until: datetime | None, now: datetime) -> bool:
    """Whether one can act in a grant now."""
    return state == "active" and valid_from <= now and (valid_until is None or now < valid_until)
