"""The caller's scope as a parameter for statements that run unscoped."""

from shared.core.actors import Actor
from shared.core.regions import OUTSIDE, Range, range_of


def within(actor: Actor, region: str | None) -> Range:
    """Return the part of a region that lies within the caller's scope, for statements that run unscoped."""
    low, high = range_of(region or "")
    return max(low, actor.range[0]), min(high, actor.range[1])


def own_region(actor: Actor) -> str:
    """Return the caller's own region, for a record without a known tube."""
    return actor.range[0] or OUTSIDE
