"""The demo's plan and what is expected of it: the same each time, and adding up."""

from collections import Counter
from datetime import date

import pytest

from deploy.demo.expectation import Expectation, expect
from deploy.demo.plan import POOL_SIZE, Plan, draw, is_child, needs_home
from deploy.demo.population import Population
from deploy.trouble import Trouble

TODAY = date(2021, 1, 20)
SEEDS = [1, 2, 3]


def made(people: int, seed: int) -> tuple[Population, Plan, Expectation]:
    population = Population.generate(people, seed, today=TODAY)
    plan = draw(population, seed)
    return population, plan, expect(population, plan)


def test_the_same_seed_gives_the_same_round() -> None:
    assert made(2_000, 5)[1] == made(2_000, 5)[1]
    assert made(2_000, 5)[1] != made(2_000, 6)[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_everybody_comes_once_or_stays_away(seed: int) -> None:
    population, plan, _ = made(2_000, seed)
    came = [index for tube in plan.all_tubes for index in tube.people]
    assert sorted([*came, *plan.absent]) == list(range(len(population.people)))
    assert plan.absent


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tube_holds_neighbours_and_no_more_than_ten(seed: int) -> None:
    population, plan, _ = made(2_000, seed)
    for tube in plan.all_tubes:
        assert 1 <= len(tube.people) <= POOL_SIZE
        assert {population.people[index].region for index in tube.people} == {tube.grid}
        assert tube.grid.startswith(tube.community)
        assert tube.again is None or (tube.route == "late" and tube.again not in tube.people)
        assert {tube.eleventh, tube.unlisted} <= {None, *plan.absent}
    for grid, count in Counter(tube.grid for tube in plan.all_tubes).items():
        assert [tube.place for tube in plan.all_tubes if tube.grid == grid] == list(range(count))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("people", [600, 2_000])
def test_the_positive_person_has_a_family_of_both_kinds(people: int, seed: int) -> None:
    population, plan, _ = made(people, seed)
    family = plan.family
    everybody = next(one.people for one in population.households if family.positive in one.people)
    assert family.positive in plan.pool.people
    assert len(plan.pool.people) == POOL_SIZE
    assert sorted((family.positive, *family.others)) == sorted(everybody)
    assert any(is_child(population.people[index], population) for index in family.home)
    assert family.central
    assert all(needs_home(population.people[index], population) for index in family.home)
    assert not any(needs_home(population.people[index], population) for index in family.central)


@pytest.mark.parametrize("seed", SEEDS)
def test_bystanders_have_nothing_to_do_with_it(seed: int) -> None:
    _, plan, _ = made(600, seed)
    touched = {*plan.pool.people, plan.family.positive, *plan.family.others, *plan.absent}
    assert len(set(plan.bystanders)) == 2
    assert not touched & set(plan.bystanders)


def test_too_few_people_are_refused() -> None:
    with pytest.raises(Trouble, match="at least"):
        draw(Population.generate(299, 1, today=TODAY), 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_expected_adds_up(seed: int) -> None:
    _, plan, expected = made(2_000, seed)
    assert expected.people == 2_000
    assert expected.whole.expected == 2_000
    assert expected.whole.missing == len(plan.absent)
    assert expected.whole.tubes == len(plan.all_tubes)
    assert expected.tags["people"] == 2_000
    assert expected.answers["kept"] == expected.whole.sampled
    assert all(expected.answers[code] for code in ("already", "twice_in_round", "tube_full", "not_in_manifest"))
    assert all(code.startswith("350582005") for code in expected.grids)
    for community, tubes in plan.tubes.items():
        here = [grid for code, grid in expected.grids.items() if code.startswith(community)]
        assert sum(grid.tubes for grid in here) == len(tubes)
    assert expected.pending == Counter(green=1_990, yellow=10)
    assert sum(expected.settled.values()) == 2_000
    assert expected.settled["red"] == 1 + expected.orders["central"]
    assert expected.settled["yellow"] == expected.orders["home"]


def test_the_count_of_children_is_of_the_day_of_the_round() -> None:
    population, _, expected = made(2_000, 1)
    born = [person.birth_date for person in population.people]
    assert expected.tags["child"] == sum(
        (TODAY.year - day.year - ((day.month, day.day) > (1, 20))) <= 14 for day in born
    )
