"""Pure rules of regions: the parent and the level of a new region, and the levels that only command can add."""

from shared.core.regions import Level, level_of, parent_of

OF_COMMAND: frozenset[Level] = frozenset({"township", "community"})
"""Levels of the official list, to which only command can add."""


def parent_needed(code: str) -> str:
    """Return the region that must exist before this one."""
    parent = parent_of(code)
    assert parent is not None, "every region that callers can add has a parent"
    return parent


def level_needed(code: str) -> Level:
    """Return the level of a code that callers can add."""
    level = level_of(code)
    assert level is not None, "the pattern of the code allows only the lengths of levels"
    return level
