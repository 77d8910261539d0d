"""Pure rules of boxes: their transitions, their region, and the comparison at receipt."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from services.testing.tubes.rules import move as move_tube
from shared.contracts.testing import TubeState
from shared.core.regions import LEVELS

BoxState = Literal["packed", "picked_up", "in_transit", "received"]
BoxMove = Literal["pick_up", "depart", "receive"]

BOX_MOVES: dict[tuple[BoxState, BoxMove], BoxState] = {
    ("packed", "pick_up"): "picked_up",
    ("packed", "depart"): "in_transit",
    ("packed", "receive"): "received",
    ("picked_up", "depart"): "in_transit",
    ("picked_up", "receive"): "received",
    ("in_transit", "receive"): "received",
    ("received", "receive"): "received",
}
"""All allowed moves; every other pair is forbidden. A step that was not scanned can be left out. A box can be received
again, because a tube may be found in it later."""


def move(state: BoxState, by: BoxMove) -> BoxState | None:
    """Return the state after a move, or None if the move is forbidden."""
    return BOX_MOVES.get((state, by))


def smallest_region(regions: Iterable[str], scope: str) -> str:
    """Return the smallest region that contains all of these, or the scope if there is none."""
    codes = list(regions)
    above = (codes[0][:length] for length in sorted(LEVELS, reverse=True) if length <= len(codes[0]))
    return next((region for region in above if all(code.startswith(region) for code in codes)), scope)


@dataclass(frozen=True, slots=True)
class Found:
    """The comparison at receipt: tubes received now, and numbers that were not packed."""

    received: tuple[str, ...]
    unexpected: tuple[str, ...]


def reconcile(found: Sequence[str], declared: Iterable[str], states: Mapping[str, TubeState]) -> Found:
    """Compare the tubes found with those declared.

    A missing tube does not delay the others. A tube of this laboratory that was not packed here is received too.
    `states` holds the states of the laboratory's own tubes among those found.
    """
    packed = set(declared)
    return Found(
        received=tuple(
            number for number in found if number in states and move_tube(states[number], "receive") is not None
        ),
        unexpected=tuple(sorted(number for number in found if number not in packed)),
    )
