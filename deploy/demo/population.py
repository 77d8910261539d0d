"""A population of Xintang that never lived: the same for the same seed, with the shape of a sub-district.

Households come first (who lives together, how old), then they fill grids of about 300 people and 100 households, grids
make patches, patches communities. Shares are set so that households average about 2.9 people, and children and elders
are about as many as in Fujian's census of 2020 (19 % and 16 %); nobody should read more of a truth from them.

Nobody can be reached or mistaken for a real person: ID numbers are of the kind that can be issued to nobody (see
`services/registry/residents/identity.py`), and telephones begin with 154, which no carrier has been assigned
(libphonenumber's metadata for China leave 154 out of the mobile prefixes).
"""

import csv
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from itertools import accumulate
from math import ceil
from pathlib import Path
from random import Random
from typing import Generic, Self, TypeVar

from deploy.demo.names import FEMALE, MALE, SURNAMES
from services.registry.imports.columns import COLUMNS
from services.registry.residents.identity import DEMONSTRATION_PROVINCE, Sex, age_on, birthday, check_digit
from shared.core.regions import Level, level_of

TOWNSHIP = "350582005"
TOWNSHIP_NAME = "晋江市新塘街道"
FARM_QUARTER = "350582005500"
PHONE_PREFIX = "154"
GRID_PEOPLE = 300
GRID_PEOPLE_MOST = 360
"""On average of a community; single grids reach 400."""
PATCH_GRIDS = 5
MOST_GRIDS = 99
"""Two digits number the grids of a patch, and the patches of a community, from 01."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Person:
    """One person, as the import file has them."""

    index: int
    name: str
    number: str
    birth_date: date
    sex: Sex
    phone: str
    region: str
    address: str
    household: str
    relation: str
    """To the head of the household. No file says it, for nobody needs it."""
    pregnant: bool
    dependent: bool


@dataclass(frozen=True, slots=True)
class Household:
    """Who lives behind one door. `key` is unique within the community; the head comes first."""

    key: str
    region: str
    address: str
    people: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Region:
    """One place of the region tree."""

    code: str
    name: str
    level: Level


@dataclass(frozen=True, slots=True)
class _Member:
    age: int
    sex: Sex
    relation: str
    kin: bool = True
    """Whether they bear the head's surname."""


class _Choice(Generic[T]):
    """A draw with weights, from `random()` alone: the one draw that Python promises never to change for a seed."""

    def __init__(self, weighted: Sequence[tuple[T, float]]) -> None:
        self._items = [item for item, _ in weighted]
        self._bounds = list(accumulate(weight for _, weight in weighted))

    def draw(self, random: Random) -> T:
        return self._items[bisect(self._bounds, random.random() * self._bounds[-1], hi=len(self._items) - 1)]


def _between(random: Random, low: int, high: int) -> int:
    return low + int(random.random() * (high - low + 1))


_SURNAMES = _Choice(SURNAMES)
_KINDS = _Choice(
    [
        ("young single", 0.10),
        ("old single", 0.05),
        ("young couple", 0.13),
        ("old couple", 0.09),
        ("family", 0.34),
        ("grown children", 0.14),
        ("one parent", 0.03),
        ("three generations", 0.12),
    ]
)
_CHILDREN = _Choice([(1, 0.48), (2, 0.45), (3, 0.07)])
_CHILD_AGES = _Choice([((0, 4), 0.24), ((5, 9), 0.28), ((10, 14), 0.26), ((15, 19), 0.22)])
_PARENT_AT = _Choice([((20, 24), 0.26), ((25, 29), 0.46), ((30, 34), 0.21), ((35, 39), 0.07)])
_OLD_AGES = _Choice([((60, 69), 0.56), ((70, 79), 0.29), ((80, 89), 0.13), ((90, 100), 0.02)])
_YOUNG_AGES = _Choice([((18, 24), 0.24), ((25, 34), 0.40), ((35, 44), 0.20), ((45, 59), 0.16)])


def _some_age(random: Random, ages: _Choice[tuple[int, int]]) -> int:
    low, high = ages.draw(random)
    return _between(random, low, high)


def _other(sex: Sex) -> Sex:
    return "female" if sex == "male" else "male"


def _sex(random: Random) -> Sex:
    return "male" if random.random() < 0.515 else "female"


def _single(random: Random, ages: _Choice[tuple[int, int]]) -> list[_Member]:
    return [_Member(_some_age(random, ages), _sex(random), "户主")]


def _couple(random: Random, age: int) -> list[_Member]:
    sex: Sex = "male" if random.random() < 0.85 else "female"
    spouse = min(100, max(20, age + _between(random, -4, 3)))
    return [_Member(age, sex, "户主"), _Member(spouse, _other(sex), "配偶", kin=False)]


def _family(random: Random) -> list[_Member]:
    eldest = _some_age(random, _CHILD_AGES)
    parents = _couple(random, max(21, eldest + _some_age(random, _PARENT_AT)))
    younger = [eldest - _between(random, 2, 4) * place for place in range(1, _CHILDREN.draw(random))]
    return parents + [_Member(age, _sex(random), "子女") for age in (eldest, *younger) if age >= 0]


def _grown_children(random: Random) -> list[_Member]:
    parents = _couple(random, _between(random, 45, 64))
    child = min(member.age for member in parents) - _between(random, 22, 27)
    return [*parents, _Member(max(18, child), _sex(random), "子女")]


def _one_parent(random: Random) -> list[_Member]:
    family = _family(random)
    return [family[0], *family[2:3]]


def _three_generations(random: Random) -> list[_Member]:
    family = _family(random)
    old = family[0].age + _between(random, 22, 30)
    old_sex: Sex = "female" if random.random() < 0.58 else "male"
    elders = [_Member(min(100, old), old_sex, "父母", kin=old_sex == "male")]
    if random.random() < 0.55:
        elders.append(_Member(min(100, old + 1), _other(old_sex), "父母", kin=old_sex == "female"))
    return family + elders


def _household(random: Random, most: int) -> list[_Member]:
    """Return the members of a household, at most `most` people."""
    while True:
        kind = _KINDS.draw(random)
        if kind == "young single":
            members = _single(random, _YOUNG_AGES)
        elif kind == "old single":
            members = _single(random, _OLD_AGES)
        elif kind == "young couple":
            members = _couple(random, _between(random, 22, 59))
        elif kind == "old couple":
            members = _couple(random, _some_age(random, _OLD_AGES))
        elif kind == "family":
            members = _family(random)
        elif kind == "grown children":
            members = _grown_children(random)
        elif kind == "one parent":
            members = _one_parent(random)
        else:
            members = _three_generations(random)
        if len(members) <= most:
            return members


def _given_name(random: Random, sex: Sex) -> str:
    characters = MALE if sex == "male" else FEMALE
    first = characters[int(random.random() * len(characters))]
    return first if random.random() < 0.14 else first + characters[int(random.random() * len(characters))]


def _dependent_share(age: int) -> float:
    """The share of an age that is 半自理 or 无自理: two in a hundred of all, mostly the old."""
    return 0.45 if age >= 80 else 0.16 if age >= 70 else 0.06 if age >= 60 else 0.004


_PREGNANT_SHARE = 0.088
"""Of women from 20 to 40: then about 1.5 % of all people, on the high side so that a small demo has some as well."""


class _Numbers:
    """Gives out ID numbers of the reserved kind, each once."""

    def __init__(self) -> None:
        self._given: Counter[tuple[date, Sex]] = Counter()

    def next(self, born: date, sex: Sex) -> str:
        # 500 sequence numbers for each day and sex; the free address digits count on from there.
        address, place = divmod(self._given[born, sex], 500)
        self._given[born, sex] += 1
        sequence = 2 * place + (sex == "male")
        first17 = f"{DEMONSTRATION_PROVINCE}{address:04d}{born:%Y%m%d}{sequence:03d}"
        return first17 + check_digit(first17)


class Population:
    """Everybody, their households and the patches and grids they live in."""

    def __init__(self, people: list[Person], households: list[Household], regions: list[Region], today: date) -> None:
        self.people = people
        self.households = households
        self.regions = regions
        """Patches and grids, each after the region it lies in. The levels above are the registry's own."""
        self.today = today

    @classmethod
    def generate(cls, people: int, seed: int, *, today: date) -> Self:
        """Generate people. The same seed and day give the same people."""
        if people < 0:
            raise ValueError("a population cannot be negative")
        builder = _Builder(Random(seed), today)  # noqa: S311 - it must be the same each time
        communities = read_communities()
        for community, share in zip(communities, _shares(builder.random, communities, people), strict=True):
            builder.settle(community, share)
        return cls(builder.people, builder.households, builder.regions, today)

    def to_csv(self, path: Path) -> None:
        """Write the file of everybody."""
        write_file(path, self.people)


def write_file(path: Path, people: Sequence[Person]) -> None:
    """Write the file that a community would send: UTF-8 with BOM, Chinese headings."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([headings[0] for headings in COLUMNS.values()])
        writer.writerows(map(_cells, people))


def _cells(person: Person) -> list[str]:
    values = {
        "name": person.name,
        "document_type": "10",
        "document_number": person.number,
        "phone": person.phone,
        "region": person.region,
        "address": person.address,
        "household": person.household,
        "pregnant": "是" if person.pregnant else "否",
        "dependent": "是" if person.dependent else "否",
        "birth_date": person.birth_date.isoformat(),
        "sex": "男" if person.sex == "male" else "女",
    }
    return [values[column] for column in COLUMNS]


def read_communities() -> list[Region]:
    """Xintang's communities and its farm quarter, from the registry's list of regions."""
    with files("services.registry.regions").joinpath("jinjiang.csv").open(encoding="utf-8") as file:
        rows = [(row["code"], row["name"]) for row in csv.DictReader(file)]
    return [
        Region(code, name, "community")
        for code, name in rows
        if code.startswith(TOWNSHIP) and level_of(code) == "community"
    ]


def _shares(random: Random, communities: Sequence[Region], people: int) -> list[int]:
    """How many live in each community: they differ by half, the farm quarter is small, and the sum is exact."""
    weights = [
        (0.08 if community.code == FARM_QUARTER else 1.0) * (0.7 + 0.6 * random.random()) for community in communities
    ]
    bounds = [round(people * bound / sum(weights)) for bound in accumulate(weights)]
    return [high - low for low, high in zip([0, *bounds], bounds, strict=False)]


class _Builder:
    """Settles one community after the other."""

    def __init__(self, random: Random, today: date) -> None:
        self.random = random
        self.people: list[Person] = []
        self.households: list[Household] = []
        self.regions: list[Region] = []
        self._today = today
        self._numbers = _Numbers()
        self._phones = 0

    def settle(self, community: Region, people: int) -> None:
        """Fill a community with households, grid by grid. One without people still has a patch and a grid."""
        grids = self._grids(community, max(1, round(people / GRID_PEOPLE), ceil(people / GRID_PEOPLE_MOST)))
        quotas = self._quotas(people, len(grids))
        left = people
        place = 0
        for serial in range(1, people + 1):
            if left == 0:
                break
            while place + 1 < len(grids) and people - left >= quotas[place]:
                place += 1
            members = _household(self.random, left)
            left -= len(members)
            self._move_in(members, grids[place], f"H{serial:05d}", _address(self.random, community, place, serial))

    def _grids(self, community: Region, count: int) -> list[str]:
        per_patch = max(PATCH_GRIDS, ceil(count / MOST_GRIDS))
        if per_patch > MOST_GRIDS:
            raise ValueError(f"{community.name} cannot hold {count} grids")
        name = _short(community.name)
        codes = []
        for place in range(count):
            patch, grid = divmod(place, per_patch)
            if grid == 0:
                self.regions.append(Region(f"{community.code}{patch + 1:02d}", f"{name}第{patch + 1}片", "patch"))
            code = f"{community.code}{patch + 1:02d}{grid + 1:02d}"
            self.regions.append(Region(code, f"{name}第{patch + 1}片第{grid + 1}网格", "grid"))
            codes.append(code)
        return codes

    def _quotas(self, people: int, grids: int) -> list[int]:
        """After how many people of the community each grid is full."""
        weights = [0.9 + 0.2 * self.random.random() for _ in range(grids)]
        return [round(people * bound / sum(weights)) for bound in accumulate(weights)]

    def _move_in(self, members: list[_Member], region: str, key: str, address: str) -> None:
        surname = _SURNAMES.draw(self.random)
        first = len(self.people)
        for member in members:
            self.people.append(self._person(member, surname, region, key, address, self.people[first:]))
        self.households.append(Household(key, region, address, tuple(range(first, len(self.people)))))

    def _person(
        self, member: _Member, surname: str, region: str, key: str, address: str, before: list[Person]
    ) -> Person:
        random = self.random
        born = self._birth_date(member.age)
        family = surname if member.kin else _SURNAMES.draw(random)
        fertile = member.sex == "female" and 20 <= member.age <= 40
        return Person(
            index=len(self.people),
            name=family + _given_name(random, member.sex),
            number=self._numbers.next(born, member.sex),
            birth_date=born,
            sex=member.sex,
            # A child is reached by the head of the household.
            phone=before[0].phone if before and member.age < 12 else self._phone(),
            region=region,
            address=address,
            household=key,
            relation=member.relation,
            pregnant=fertile and random.random() < _PREGNANT_SHARE,
            dependent=random.random() < _dependent_share(member.age),
        )

    def _birth_date(self, age: int) -> date:
        """Some day on which a person of that age today may have been born."""
        latest = birthday(self._today, -age)
        earliest = birthday(self._today, -age - 1) + timedelta(days=1)
        born = earliest + timedelta(days=int(self.random.random() * ((latest - earliest).days + 1)))
        # At the edge of a leap year the day before belongs to another age.
        return born if age_on(born, self._today) == age else latest

    def _phone(self) -> str:
        # Steps of a number without common factor with 10**8: each comes once, and neighbours do not look alike.
        self._phones += 1
        return f"{PHONE_PREFIX}{self._phones * 61_803_399 % 10**8:08d}"


def _short(name: str) -> str:
    return name.removesuffix("居委会")


def _address(random: Random, community: Region, grid: int, serial: int) -> str:
    place = f"{TOWNSHIP_NAME}{_short(community.name)}"
    if random.random() < 0.45:
        return f"{place}{grid // PATCH_GRIDS + 1}区{serial}号"
    floor, door = _between(random, 1, 18), _between(random, 1, 4)
    return f"{place}{grid + 1}号小区{_between(random, 1, 12)}幢{floor}{door:02d}室"
