"""The demo's population: the same each time, adding up, shaped like a sub-district, and nobody real."""

import io
from collections import Counter
from datetime import date
from pathlib import Path
from statistics import mean

import pytest

from deploy.demo.population import FARM_QUARTER, PHONE_PREFIX, TOWNSHIP, Population, read_communities
from services.registry.imports.reading import read_rows
from services.registry.residents.identity import (
    IdentityFault,
    age_on,
    check_resident_id,
    normalise_phone,
)
from shared.core.regions import level_of, parent_of

TODAY = date(2021, 1, 20)


@pytest.fixture(scope="module")
def population() -> Population:
    return Population.generate(20_000, 1, today=TODAY)


def age(born: date) -> int:
    return age_on(born, TODAY)


def test_the_same_seed_gives_the_same_people(population: Population, tmp_path: Path) -> None:
    again = Population.generate(20_000, 1, today=TODAY)
    assert again.people == population.people
    assert again.households == population.households
    assert again.regions == population.regions
    population.to_csv(tmp_path / "one.csv")
    again.to_csv(tmp_path / "two.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_a_known_person_stays_the_same() -> None:
    first = Population.generate(100, 1, today=TODAY).people[0]
    assert (first.name, first.number, first.region) == FIRST_OF_SEED_1


def test_another_seed_gives_other_people(population: Population) -> None:
    other = Population.generate(20_000, 2, today=TODAY)
    same = sum(one.name == two.name for one, two in zip(population.people, other.people, strict=True))
    assert same < 1_000


@pytest.mark.parametrize("people", [0, 1, 13, 14, 999, 20_000])
def test_everybody_is_there_once(people: int) -> None:
    made = Population.generate(people, 7, today=TODAY)
    assert [person.index for person in made.people] == list(range(people))
    assert [index for household in made.households for index in household.people] == list(range(people))


def test_a_negative_population_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Population.generate(-1, 1, today=TODAY)


def test_the_communities_are_those_of_xintang() -> None:
    communities = read_communities()
    assert len(communities) == 14
    assert all(parent_of(community.code) == TOWNSHIP for community in communities)
    assert FARM_QUARTER in {community.code for community in communities}


def test_the_regions_are_a_tree_in_order(population: Population) -> None:
    known = {community.code for community in read_communities()}
    for region in population.regions:
        assert level_of(region.code) == region.level
        assert parent_of(region.code) in known
        assert region.code not in known
        known.add(region.code)
    assert len({region.name for region in population.regions}) == len(population.regions)
    grids = {region.code for region in population.regions if region.level == "grid"}
    assert {person.region for person in population.people} == grids
    assert {code[:12] for code in grids} == {community.code for community in read_communities()}


def test_the_sizes_of_grids_and_communities(population: Population) -> None:
    towns = Counter(person.region[:12] for person in population.people)
    grids = Counter(person.region for person in population.people)
    doors = Counter(household.region for household in population.households)
    assert sum(towns.values()) == 20_000
    assert towns[FARM_QUARTER] == min(towns.values()) < 300
    for code in grids:
        if not code.startswith(FARM_QUARTER):
            assert 200 <= grids[code] <= 400
            assert 60 <= doors[code] <= 140
    assert 250 <= mean(grids.values()) <= 350
    assert 80 <= mean(doors.values()) <= 120


def test_households_live_together(population: Population) -> None:
    for household in population.households:
        members = [population.people[index] for index in household.people]
        assert {(member.region, member.household, member.address) for member in members} == {
            (household.region, household.key, household.address)
        }
        assert [member.relation for member in members].count("户主") == 1
        assert members[0].relation == "户主"
        assert age(members[0].birth_date) >= 18
        for member in members[1:]:
            if member.relation == "子女":
                assert age(members[0].birth_date) - age(member.birth_date) >= 18
    keys = [(household.region[:12], household.key) for household in population.households]
    assert len(set(keys)) == len(keys)


def test_the_shape_of_the_population(population: Population) -> None:
    ages = [age(person.birth_date) for person in population.people]
    assert min(ages) == 0
    assert 90 <= max(ages) <= 100
    assert 0.16 <= mean(value <= 14 for value in ages) <= 0.24
    assert 0.12 <= mean(value >= 60 for value in ages) <= 0.19
    assert 0.49 <= mean(person.sex == "male" for person in population.people) <= 0.53
    sizes = Counter(len(household.people) for household in population.households)
    assert 2.8 <= 20_000 / len(population.households) <= 3.1
    assert all(sizes[size] / len(population.households) > 0.05 for size in (1, 2, 3, 4, 5))
    assert max(sizes) <= 8


def test_the_pregnant_and_the_dependent(population: Population) -> None:
    pregnant = [person for person in population.people if person.pregnant]
    assert all(person.sex == "female" and 20 <= age(person.birth_date) <= 40 for person in pregnant)
    assert 0.011 <= len(pregnant) / 20_000 <= 0.019
    dependent = [person for person in population.people if person.dependent]
    assert 0.015 <= len(dependent) / 20_000 <= 0.026
    assert mean(age(person.birth_date) >= 60 for person in dependent) > 0.7


def test_names_are_as_common_as_they_should_be(population: Population) -> None:
    names = Counter(person.name[0] for person in population.people)
    assert names.most_common(1)[0][0] == "陈"
    assert 0.06 <= names["陈"] / 20_000 <= 0.12
    assert len(names) >= 45
    assert mean(len(person.name) for person in population.people) > 2.7


def test_nobody_is_real(population: Population) -> None:
    for person in population.people:
        facts = check_resident_id(person.number, today=TODAY, demonstration=True)
        assert (facts.birth_date, facts.sex, facts.demonstration) == (person.birth_date, person.sex, True)
        assert person.phone.startswith(PHONE_PREFIX)
        assert normalise_phone(person.phone) == person.phone
    with pytest.raises(IdentityFault, match="id_demonstration"):
        check_resident_id(population.people[0].number, today=TODAY, demonstration=False)


def test_numbers_and_phones_are_nobody_elses(population: Population) -> None:
    assert len({person.number for person in population.people}) == 20_000
    grown = [person.phone for person in population.people if age(person.birth_date) >= 12]
    assert len(set(grown)) == len(grown)
    for household in population.households:
        head = population.people[household.people[0]]
        young = [
            population.people[index] for index in household.people if age(population.people[index].birth_date) < 12
        ]
        assert all(child.phone == head.phone for child in young)


@pytest.mark.parametrize("today", [date(2024, 2, 29), date(2023, 2, 28), date(2023, 3, 1), date(2020, 12, 31)])
def test_nobody_is_born_after_today(today: date) -> None:
    made = Population.generate(3_000, 3, today=today)
    assert all(0 <= age_on(person.birth_date, today) <= 100 for person in made.people)
    assert all(person.birth_date <= today for person in made.people)


def test_the_file_says_the_same(population: Population, tmp_path: Path) -> None:
    path = tmp_path / "xintang.csv"
    population.to_csv(path)
    rows = list(read_rows(io.BytesIO(path.read_bytes())))
    assert len(rows) == 20_000
    for row, person in zip(rows, population.people, strict=True):
        assert row.faults == ()
        assert row.line == person.index + 2
        assert row.values["name"] == person.name
        assert row.values["document_number"] == person.number
        assert row.values["region"] == person.region
        assert row.values["household"] == person.household
        assert row.values["pregnant"] == ("是" if person.pregnant else "否")
        assert row.values["birth_date"] == person.birth_date.isoformat()


FIRST_OF_SEED_1 = ("张英香", "000000197101310000", "3505820050010101")
