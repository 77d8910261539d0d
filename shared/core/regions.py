"""Region codes, and scopes as ranges over them. Pure functions.

A code is a prefix of all codes below it: 2 digits are a province, 4 a city, 6 a county (GB/T 2260), 9 a township, 12 a
community, 14 a patch 片, 16 a grid 网格 (article 13). `OUTSIDE` is the region of records outside the tree.
"""

from typing import Literal

Level = Literal["province", "city", "county", "township", "community", "patch", "grid"]

LEVELS: dict[int, Level] = {
    2: "province",
    4: "city",
    6: "county",
    9: "township",
    12: "community",
    14: "patch",
    16: "grid",
}

OUTSIDE = "outside"

Range = tuple[str, str]

EVERYTHING: Range = ("", "~")
"""The widest range: above every digit and every reserved word, in the order of bytes (COLLATE "C")."""

NOTHING: Range = ("~", "")


def level_of(code: str) -> Level | None:
    """Return the level of a well-formed code, or None."""
    return LEVELS.get(len(code)) if code.isascii() and code.isdigit() else None


def parent_of(code: str) -> str | None:
    """Return the code one level up, or None above a province."""
    shorter = [length for length in LEVELS if length < len(code)]
    return code[: max(shorter)] if shorter else None


def range_of(scope: str) -> Range:
    """Return the half-open range [low, high) of a scope and everything under it. `""` is everything.

    All codes that begin with `350582005` lie between `350582005` and `350582005~`.
    """
    return EVERYTHING if scope == "" else (scope, scope + "~")


def covers(wide: Range, scope: str) -> bool:
    """Whether a range contains a scope with everything under it."""
    low, high = range_of(scope)
    return wide[0] <= low and high <= wide[1]


def lies_under(code: str, scope: str) -> bool:
    """Whether a region is the scope or lies under it."""
    return covers(range_of(scope), code)
