"""The expected results, computed only from the population and the plan, without any service."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deploy.demo.plan import Plan, PlannedTube, is_child
from deploy.demo.population import Person, Population
from services.registry.residents.identity import age_on

ELDER_AGE_LEAST = 60
"""Years; the law on the protection of the rights of the elderly, article 2."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The figures of the round that a grid worker should see."""

    expected: int
    sampled: int
    tubes: int

    @property
    def missing(self) -> int:
        """The number of people who did not come."""
        return self.expected - self.sampled

    def __add__(self, other: "Grid") -> "Grid":
        return Grid(
            self.expected + other.expected,
            self.sampled + other.sampled,
            self.tubes + other.tubes,
        )


NOBODY = Grid(0, 0, 0)


@dataclass(frozen=True)
class Expectation:
    """The expected counts for each step."""

    people: int
    communities: dict[str, Counter[str]]
    """People and tags of each community."""
    grids: dict[str, Grid]
    answers: Counter[str]
    """What devices are answered to all records they send, by kind: kept, already, an exception, a refusal."""
    pending: Counter[str]
    """Colours while the pool waits for its retests."""
    settled: Counter[str]
    """Colours at the end."""
    orders: Counter[str]
    """Observation orders by kind."""
    colours: dict[int, str]
    """At the end, of everybody who is not green."""

    def colour(self, index: int) -> str:
        """Somebody's colour at the end."""
        return self.colours.get(index, "green")

    @property
    def whole(self) -> Grid:
        """The round of all grids together."""
        return sum(self.grids.values(), NOBODY)

    @property
    def tags(self) -> Counter[str]:
        """People and tags of all communities together."""
        return sum(self.communities.values(), Counter())


def expect(population: Population, plan: Plan) -> Expectation:
    """Count it all."""
    people = len(population.people)
    restricted = _restricted(plan)
    return Expectation(
        people=people,
        communities=_tags(population),
        grids=_grids(population, plan),
        answers=_answers(plan.all_tubes),
        pending=_colours(people, dict.fromkeys(plan.pool.people, "yellow")),
        settled=_colours(people, restricted),
        orders=Counter({"central": len(plan.family.central), "home": len(plan.family.home)}),
        colours=restricted,
    )


def _tags(population: Population) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for person in population.people:
        counts.setdefault(person.region[:12], Counter()).update(["people", *_tags_of(person, population)])
    return counts


def _tags_of(person: Person, population: Population) -> Iterable[str]:
    if is_child(person, population):
        yield "child"
    if age_on(person.birth_date, population.today) >= ELDER_AGE_LEAST:
        yield "elder"
    if person.pregnant:
        yield "pregnant"
    if person.dependent:
        yield "dependent"


def _grids(population: Population, plan: Plan) -> dict[str, Grid]:
    expected = Counter(person.region for person in population.people)
    absent = Counter(population.people[index].region for index in plan.absent)
    tubes = Counter(tube.grid for tube in plan.all_tubes)
    return {grid: Grid(count, count - absent[grid], tubes[grid]) for grid, count in expected.items()}


def _answers(tubes: Sequence[PlannedTube]) -> Counter[str]:
    answers: Counter[str] = Counter()
    for tube in tubes:
        answers["kept"] += len(tube.people)
        answers["already"] += len(tube.everybody) if tube.repeated else 0
        answers["twice_in_round"] += tube.again is not None
        answers["tube_full"] += tube.eleventh is not None
        answers["not_in_manifest"] += tube.unlisted is not None
    return answers


def _restricted(plan: Plan) -> dict[int, str]:
    """Red: the positive person, and who is observed at a central site. Yellow: who is observed at home."""
    family = plan.family
    return {family.positive: "red", **dict.fromkeys(family.central, "red"), **dict.fromkeys(family.home, "yellow")}


def _colours(people: int, restricted: dict[int, str]) -> Counter[str]:
    counts = Counter(restricted.values())
    counts["green"] = people - len(restricted)
    return counts
