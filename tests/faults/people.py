"""Who lives through the faults: one community a journey, with a family in which somebody will be positive."""

import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.demo.plan import needs_home
from deploy.demo.population import TOWNSHIP, Person, Population
from shared.core import clock

POOL_SIZE = 10
PEOPLE = 42
"""Of each community, at least; whole households."""
SEED = 7


@dataclass(frozen=True)
class Community:
    """The people of one journey, as their file has them, and what will happen to them."""

    code: str
    population: Population
    """These people alone, in two grids."""
    tubes: tuple[tuple[int, ...], ...]
    """By place in `population.people`; no tube of two grids. The first is the pool that will be positive."""
    positive: int
    family: dict[int, str]
    """The positive person's household, and how each is to be observed."""
    absent: int
    """Who is not swabbed, but stands in line when a tube is full."""

    @property
    def grids(self) -> list[str]:
        """Its two grids."""
        return [f"{self.code}010{place}" for place in (1, 2)]

    def file(self) -> bytes:
        """The file of its people."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "people.csv"
            self.population.to_csv(path)
            return path.read_bytes()


def communities(count: int) -> list[Community]:
    """So many communities, each with a family that has both: somebody to be observed at home, and somebody not."""
    everybody = Population.generate(14 * 80, SEED, today=clock.day_of(clock.now()))
    homes: dict[str, list[list[Person]]] = defaultdict(list)
    for household in everybody.households:
        homes[household.region[:12]].append([everybody.people[index] for index in household.people])
    assert all(code.startswith(TOWNSHIP) for code in homes)
    found = [made for code, households in homes.items() if (made := _community(code, households, everybody))]
    assert len(found) >= count, "too few communities have such a family: choose another seed"
    return found[:count]


def _community(code: str, households: list[list[Person]], everybody: Population) -> Community | None:
    """The family first, so that it stands in line together; None if there is no such family or too few people."""
    for family in sorted(households, key=len, reverse=True):
        home = [person for person in family if needs_home(person, everybody)]
        other = [person for person in family if person not in home]
        if len(other) >= 2 and home and len(family) < POOL_SIZE:
            return _settle(code, [family, *(one for one in households if one is not family)], other[0], everybody)
    return None


def _settle(code: str, households: list[list[Person]], positive: Person, everybody: Population) -> Community | None:
    people: list[Person] = []
    for household in households:
        if len(people) >= PEOPLE:
            break
        grid = f"{code}010{1 if len(people) < PEOPLE // 2 else 2}"
        people += [replace(one, region=grid, index=len(people) + place) for place, one in enumerate(household)]
    if len(people) < PEOPLE:
        return None
    absent = len(people) - 1
    found = Population(people, [], [], everybody.today)
    return Community(
        code=code,
        population=found,
        tubes=tuple(_tubes(people[:absent])),
        positive=next(one.index for one in people if one.number == positive.number),
        family={
            one.index: "home" if needs_home(one, everybody) else "central"
            for one in people[: len(households[0])]
            if one.number != positive.number
        },
        absent=absent,
    )


def _tubes(people: list[Person]) -> list[tuple[int, ...]]:
    grids: dict[str, list[int]] = defaultdict(list)
    for person in people:
        grids[person.region].append(person.index)
    return [
        tuple(line[start : start + POOL_SIZE]) for line in grids.values() for start in range(0, len(line), POOL_SIZE)
    ]
