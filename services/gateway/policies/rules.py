"""Policies: what a trial finds. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.gateway.codes.policy import Colour
from services.gateway.codes.rules import Decision

COMMUNITY_DIGITS = 12

Before = tuple[str, Colour]
"""A person's region, and the colour they have."""


def tally(found: Mapping[str, Any], people: Iterable[tuple[Before, Decision]]) -> dict[str, Any]:
    """Add people to what a trial has found: how many have which colour then, and of those who change from what to what.

    `changes` counts `green>yellow`, `regions` the same per community, `rules` why the new colour is not green.
    """
    counts: dict[str, Any] = {name: dict(found.get(name, {})) for name in ("colours", "changes", "rules")}
    regions = {code: dict(changes) for code, changes in found.get("regions", {}).items()}
    for (region, before), decision in people:
        after = decision.colour
        _count(counts["colours"], after.label)
        if after == before:
            continue
        change = f"{before.label}>{after.label}"
        _count(counts["changes"], change)
        _count(regions.setdefault(region[:COMMUNITY_DIGITS], {}), change)
        for rule in {reason.rule for reason in decision.reasons if reason.colour == after}:
            _count(counts["rules"], rule)
    return {**counts, "regions": regions}


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
