"""Regions: what may lie under what. Pure."""

from shared.regions import parent_of


def parent_needed(code: str) -> str:
    """The region that must exist before this one."""
    parent = parent_of(code)
    assert parent is not None, "patches and grids have parents"
    return parent
