"""Finds the region of a cell by code or by name. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from services.registry.residents.rules import COMMUNITY_DIGITS
from services.registry.residents.spelling import drop_invisible

CANDIDATES = 5
_OFFICE = re.compile(r"(?:居民委员会|村民委员会|居委会|村委会)\Z")
_KIND = re.compile(r"(?:社区|村|网格|片区)\Z")
_SPACES = re.compile(r"\s+")


class NoHome(NamedTuple):
    """A cell without a unique region: the codes it may mean, and an example of a valid code."""

    codes: tuple[str, ...]
    example: str


class Homes:
    """The communities, patches and grids within a scope."""

    def __init__(self, regions: Iterable[tuple[str, str]]) -> None:
        """Index the regions, given as pairs of code and name."""
        names = dict(regions)
        self._codes = names.keys()
        self._example = min(names, default="")
        self._by_name: dict[str, set[str]] = defaultdict(set)
        for code, name in names.items():
            above = names.get(code[:COMMUNITY_DIGITS], "") if len(code) > COMMUNITY_DIGITS else ""
            for spelling in _spellings(name):
                self._by_name[spelling].add(code)
                for community in _spellings(above):
                    self._by_name[community + spelling].add(code)

    def find(self, cell: str) -> str | NoHome:
        """Return the code of the region that a cell names, or `NoHome`."""
        if cell in self._codes:
            return cell
        codes = self._by_name.get(_SPACES.sub("", drop_invisible(cell)), set())
        if len(codes) == 1:
            return next(iter(codes))
        return NoHome(tuple(sorted(codes)[:CANDIDATES]), self._example)


def _spellings(name: str) -> set[str]:
    """Return the accepted forms of a name: 沙塘社区居委会 is also 沙塘社区 and 沙塘."""
    if not name:
        return set()
    name = _SPACES.sub("", name)
    short = _OFFICE.sub("", name)
    return {name, short, _KIND.sub("", short) or short}
