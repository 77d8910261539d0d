"""Rules of grants: which role a person has, in which region, from when to when. Pure functions.

A person acts in one grant at a time. Nobody can give a grant outside their own region. A grant of command takes effect
only after a second person approves it.
"""

from datetime import datetime, timedelta
from typing import Literal

from shared.core.actors import Role

State = Literal["proposed", "active", "refused", "ended"]

GIVEN = Role.STAFF | Role.DOOR
"""The roles that can be granted. Residents need no grant; machines are registered as clients."""

NEEDS_TWO = Role.COMMAND

ALONE_AFTER = timedelta(days=30)
"""A commander counts as the only one this long after the last other grant of command ended."""


def first_state(role: Role, is_first_of_all: bool) -> State:
    """Return the state of a new grant. It is active at once if there is no other commander who could approve it."""
    return "proposed" if role in NEEDS_TWO and not is_first_of_all else "active"


def may_decide(decider: str, proposer: str, receiver: str) -> bool:
    """Whether a person may approve or refuse a grant: neither its proposer nor its receiver may."""
    return decider not in (proposer, receiver)


def holds(state: State, valid_from: datetime, valid_until: datetime | None, now: datetime) -> bool:
    """Whether a person can act in a grant now."""
    return state == "active" and valid_from <= now and (valid_until is None or now < valid_until)
