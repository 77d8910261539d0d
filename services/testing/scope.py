"""What of a caller's scope statements are told that see everything."""

from shared.actors import Actor
from shared.regions import OUTSIDE, Range, range_of


def within(actor: Actor, region: str | None) -> Range:
    """The part of a region that lies within the caller's scope, for statements that see everything."""
    low, high = range_of(region or "")
    return max(low, actor.range[0]), min(high, actor.range[1])


def own_region(actor: Actor) -> str:
    """The region of something that is bound to no known place: the caller's own."""
    return actor.range[0] or OUTSIDE
