"""R3: a child grows up and a person becomes an elder, and others are told on that day, never of the day before."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.residents.birthdays import follow_birthdays
from services.registry.residents.identity import CHILD_YEARS, ELDER_YEARS, birthday
from services.registry.residents.rules import born_to_change_on
from shared.contracts.registry import Resident
from shared.core import clock
from shared.core.actors import Role
from tests.harness import District
from tests.registry.people import published, register


@given(st.dates(date(1905, 1, 1), date(2040, 12, 31)))
def test_who_changes_on_a_day_is_found_by_birth_date(born: date) -> None:
    assert born in born_to_change_on(birthday(born, ELDER_YEARS))
    assert born in born_to_change_on(birthday(born, CHILD_YEARS + 1))


@given(st.dates(date(1970, 1, 1), date(2090, 12, 31)))
def test_nobody_else_is_found(day: date) -> None:
    for born in born_to_change_on(day):
        assert day in (birthday(born, ELDER_YEARS), birthday(born, CHILD_YEARS + 1))


@pytest.mark.parametrize(("years", "before", "after"), [(60, [], ["elder"]), (15, ["child"], [])])
async def test_others_are_told_on_the_day(district: District, years: int, before: list[str], after: list[str]) -> None:
    context = district.contexts["registry"]
    await follow_birthdays(context)
    today = clock.day_of(clock.now())
    tomorrow = today + timedelta(days=1)
    if (tomorrow.month, tomorrow.day) == (2, 29):
        tomorrow += timedelta(days=1)
    born = tomorrow.replace(year=tomorrow.year - years)
    command = district.caller("registry", Role.COMMAND)
    id_ = await register(district, command, born=f"{born:%Y%m%d}")
    await register(district, command, place=2, born="19900307")

    district.move_clock(days=(tomorrow - today).days)
    await follow_birthdays(context)
    await follow_birthdays(context)
    told = [entry for entry in await published(district) if str(entry["subject"]) == id_]
    assert [entry["version"] for entry in told] == [1, 2]
    faces = [Resident.model_validate_json(entry["data"]) for entry in told]
    assert [[tag.kind for tag in face.tags] for face in faces] == [before, after]
    assert all(tag.valid_from is tag.valid_until is None for face in faces for tag in face.tags)
    assert len(await published(district)) == 3
