"""What will happen in the demo's round, drawn from the seed before anything happens: who comes, in which tube, and how.

The parties act by this plan and `expectation.py` counts by it. Neither asks a service.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, TypeAlias, TypeVar

from deploy.demo.population import Household, Person, Population
from deploy.trouble import Trouble
from services.registry.residents.identity import age_on

POOL_SIZE = 10
CHILD_AGE_MOST = 14
"""Years; article 3 observes children up to this age at home."""
ABSENT_SHARE = 0.015
LATE_SHARE = 0.10
SEALED_FIRST_SHARE = 0.08
REPEATED_SHARE = 0.10
FEWEST_PEOPLE = 300
"""A round needs full tubes and a family of several ages in one of them."""

T = TypeVar("T")

Route: TypeAlias = Literal["online", "late", "sealed_first"]
"""How a tube's records arrive: swab by swab; made offline and sent when the round is nearly over, out of order; or
offline as well, but only after the tube was sealed with its manifest by another device."""


@dataclass(frozen=True, slots=True)
class PlannedTube:
    """One tube to be: who stands in line for it, and how its records will arrive."""

    place: int
    """Which number of its grid's roll it gets."""
    community: str
    grid: str
    people: tuple[int, ...]
    route: Route
    repeated: bool
    """Whether its device sends all its records twice."""
    again: int | None = None
    """Who is swabbed a second time in it, by mistake and offline: kept, and never counted."""
    eleventh: int | None = None
    """The person who waits when the tube is full, is told so, and goes home."""
    unlisted: int | None = None
    """Who a careless device says is in it, although its seal does not."""

    @property
    def everybody(self) -> tuple[int, ...]:
        """All swabs in it, the mistaken one included."""
        return self.people if self.again is None else (*self.people, self.again)


@dataclass(frozen=True)
class Family:
    """The positive person's household, as the protocol looks at it."""

    positive: int
    central: tuple[int, ...]
    home: tuple[int, ...]

    @property
    def others(self) -> tuple[int, ...]:
        """Everybody in it but the positive person."""
        return (*self.central, *self.home)


@dataclass(frozen=True)
class Plan:
    """The round: its tubes by community, who stays away, and where the virus is."""

    tubes: dict[str, tuple[PlannedTube, ...]]
    absent: frozenset[int]
    pool: PlannedTube
    """The one that will be positive."""
    family: Family
    bystanders: tuple[int, int]
    """Two people with nothing to do with it, tested in other tubes, who show their codes at a window."""

    @property
    def watched(self) -> frozenset[int]:
        """Everybody who is looked at one by one."""
        return frozenset({*self.pool.people, self.family.positive, *self.family.others, *self.bystanders})

    @property
    def all_tubes(self) -> list[PlannedTube]:
        """Every tube of the round."""
        return [tube for tubes in self.tubes.values() for tube in tubes]


def draw(population: Population, seed: int) -> Plan:
    """The plan of a population and a seed. Trouble if there are too few people to have a round."""
    if len(population.people) < FEWEST_PEOPLE:
        raise Trouble(f"The demo needs at least {FEWEST_PEOPLE} people.")
    random = Random(f"round {seed}")  # noqa: S311 - it must be the same each time
    absent = frozenset(person.index for person in population.people if random.random() < ABSENT_SHARE)
    at_home: dict[str, list[int]] = defaultdict(list)
    for index in sorted(absent):
        at_home[population.people[index].region[:12]].append(index)
    tubes = {
        community: tuple(_with_mistakes(_fill(people, community, random), random, iter(at_home[community])))
        for community, people in _by_community(population.people, absent).items()
    }
    pool, family = _somebody_positive(population, tubes, absent, random)
    return Plan(tubes, absent, pool, family, _bystanders(population, tubes, pool, family))


def needs_home(person: Person, population: Population) -> bool:
    """Whether article 3 lets a person be observed at home: a child, pregnant, or dependent on others."""
    return is_child(person, population) or person.pregnant or person.dependent


def is_child(person: Person, population: Population) -> bool:
    """Whether somebody is at most 14 years old on the day of the round."""
    return age_on(person.birth_date, population.today) <= CHILD_AGE_MOST


def _by_community(people: Iterable[Person], absent: frozenset[int]) -> dict[str, list[Person]]:
    """Those who come, in the order they live in: families stand in line together."""
    coming: dict[str, list[Person]] = defaultdict(list)
    for person in people:
        if person.index not in absent:
            coming[person.region[:12]].append(person)
    return dict(coming)


def _fill(people: Sequence[Person], community: str, random: Random) -> list[PlannedTube]:
    """Ten to a tube, and no tube of two grids."""
    grids: dict[str, list[int]] = defaultdict(list)
    for person in people:
        grids[person.region].append(person.index)
    return [
        PlannedTube(place, community, grid, tuple(line[start : start + POOL_SIZE]), _route(random), _repeated(random))
        for grid, line in grids.items()
        for place, start in enumerate(range(0, len(line), POOL_SIZE))
    ]


def _route(random: Random) -> Route:
    share = random.random()
    if share < LATE_SHARE:
        return "late"
    return "sealed_first" if share < LATE_SHARE + SEALED_FIRST_SHARE else "online"


def _repeated(random: Random) -> bool:
    return random.random() < REPEATED_SHARE


def _with_mistakes(tubes: list[PlannedTube], random: Random, at_home: Iterator[int]) -> list[PlannedTube]:
    """Each kind of mistake once in each community, where there is a tube for it, and somebody."""
    online = [place for place, tube in enumerate(tubes) if tube.route == "online"]
    late = [place for place, tube in enumerate(tubes) if tube.route == "late"]
    full = [place for place in online if len(tubes[place].people) == POOL_SIZE]
    sealed_first = [place for place, tube in enumerate(tubes) if tube.route == "sealed_first"]
    if online and late:
        place = _one_of(late, random)
        tubes[place] = replace(tubes[place], again=tubes[_one_of(online, random)].people[0])
    if full:
        place = _one_of(full, random)
        tubes[place] = replace(tubes[place], eleventh=next(at_home, None))
    if sealed_first:
        place = _one_of(sealed_first, random)
        tubes[place] = replace(tubes[place], unlisted=next(at_home, None))
    return tubes


def _one_of(items: Sequence[T], random: Random) -> T:
    return items[int(random.random() * len(items))]


def _somebody_positive(
    population: Population,
    tubes: dict[str, tuple[PlannedTube, ...]],
    absent: frozenset[int],
    random: Random,
) -> tuple[PlannedTube, Family]:
    """Somebody in a full tube, whose household has both: one to be observed at home, and one not."""
    household_of = {index: household for household in population.households for index in household.people}
    again = {tube.again for line in tubes.values() for tube in line if tube.again is not None}
    candidates: list[tuple[PlannedTube, Family]] = []
    for tube in (tube for line in tubes.values() for tube in line):
        if len(tube.people) < POOL_SIZE or tube.again is not None or again & set(tube.people):
            continue
        for index in tube.people:
            family = _family(index, household_of[index], population)
            if family.central and any(is_child(population.people[other], population) for other in family.home):
                candidates.append((tube, family))
    candidates = [pair for pair in candidates if not absent & set(pair[1].others) and not again & set(pair[1].others)]
    if not candidates:
        raise Trouble("This seed has no family of several ages in a full tube. Choose another --seed or more people.")
    return _one_of(candidates, random)


def _family(positive: int, household: Household, population: Population) -> Family:
    others = [index for index in household.people if index != positive]
    home = tuple(index for index in others if needs_home(population.people[index], population))
    return Family(positive, tuple(index for index in others if index not in home), home)


def _bystanders(
    population: Population, tubes: dict[str, tuple[PlannedTube, ...]], pool: PlannedTube, family: Family
) -> tuple[int, int]:
    """The first people of two other tubes, from another family."""
    touched = {*pool.people, family.positive, *family.others}
    firsts = [
        tube.people[0] for line in tubes.values() for tube in line if tube is not pool and tube.people[0] not in touched
    ]
    return firsts[0], firsts[-1]
