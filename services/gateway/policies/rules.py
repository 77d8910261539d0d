"""Rules of policies: the results of a trial. Pure functions."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.gateway.codes.policy import Colour
from services.gateway.codes.rules import Decision

COMMUNITY_DIGITS = 12

PolicyBefore = tuple[str, Colour]
"""A person's region and current colour."""


def tally(result: Mapping[str, Any], people: Iterable[tuple[PolicyBefore, Decision]]) -> dict[str, Any]:
    """Add people to the result of a trial and return the new result.

    `colours` counts the new colours, `changes` the changes such as `green>yellow`, `regions` the changes per
    community, and `rules` the rules that give a changed colour.
    """
    counts: dict[str, Any] = {name: dict(result.get(name, {})) for name in ("colours", "changes", "rules")}
    regions = {code: dict(changes) for code, changes in result.get("regions", {}).items()}
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
