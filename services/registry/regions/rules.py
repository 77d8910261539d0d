"""Regions: what may lie under what, and who may add what. Pure."""

from shared.regions import Level, level_of, parent_of

OF_COMMAND: frozenset[Level] = frozenset({"township", "community"})
"""Levels of the bureau's list, which only command adds to."""


def parent_needed(code: str) -> str:
    """The region that must exist before this one."""
    parent = parent_of(code)
    assert parent is not None, "what callers may add has a parent"
    return parent


def level_needed(code: str) -> Level:
    """The level of a code that a caller may add."""
    level = level_of(code)
    assert level is not None, "the pattern of the code allows levels only"
    return level
