"""Regions: what may lie under what. Pure."""

from shared.regions import level_of, parent_of


def may_be_added(code: str) -> bool:
    """Whether a district may add this code itself: patches and grids. Everything above is the bureau's (GB/T 2260)."""
    return level_of(code) in ("patch", "grid")


def parent_needed(code: str) -> str:
    """The region that must exist before this one."""
    parent = parent_of(code)
    assert parent is not None, "patches and grids have parents"
    return parent
