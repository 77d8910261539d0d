"""Boxes: which step may follow which, and what a receipt finds. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from services.testing.tubes.rules import move as move_tube
from shared.contracts.testing import TubeState
from shared.regions import LEVELS

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
"""Every pair that is not here is forbidden. A step that nobody scanned is passed over; a box may be received again,
when a tube turns up at the bottom of it."""


def move(state: BoxState, by: BoxMove) -> BoxState | None:
    """The state after a step, or None if the step is forbidden."""
    return BOX_MOVES.get((state, by))


def smallest_region(regions: Iterable[str], scope: str) -> str:
    """The smallest region that holds all of these; at the widest, the scope they were found in."""
    places = list(regions)
    above = (places[0][:length] for length in sorted(LEVELS, reverse=True) if length <= len(places[0]))
    return next((region for region in above if all(place.startswith(region) for place in places)), scope)


@dataclass(frozen=True, slots=True)
class Found:
    """What a laboratory found: tubes that are here now, and numbers that do not belong."""

    received: tuple[str, ...]
    unexpected: tuple[str, ...]


def reconcile(found: Sequence[str], declared: Iterable[str], states: Mapping[str, TubeState]) -> Found:
    """Compare what is there with what was declared. A missing tube holds up no other; a foreign one that is this
    laboratory's is received all the same. `states` holds the laboratory's own tubes among those found."""
    packed = set(declared)
    return Found(
        received=tuple(
            number for number in found if number in states and move_tube(states[number], "receive") is not None
        ),
        unexpected=tuple(sorted(number for number in found if number not in packed)),
    )
