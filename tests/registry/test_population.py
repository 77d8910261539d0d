"""R3: counts per region and tag that add up, today and as they were."""

import random
from datetime import date, timedelta

import pytest

from services.registry.residents.identity import age_on, check_digit
from services.registry.residents.transfers import settle_requests
from shared.core import clock
from shared.core.actors import Role
from tests.harness import XINTANG, District
from tests.registry.people import ELSEWHERE, HOUKU, SHATANG, person, register, table, take_in

POPULATION = "/registry/v1/population"
PATCH, GRID = f"{SHATANG}01", f"{SHATANG}0101"
TAGS = ("people", "child", "elder", "pregnant", "dependent")


@pytest.fixture
async def command(district: District):
    caller = district.caller("registry", Role.COMMAND)
    for code in (PATCH, GRID):
        await caller.post("/registry/v1/regions", json={"code": code, "name": code})
    return caller


async def count(client, region: str = XINTANG, **params):
    answer = await client.get(POPULATION, params={"region": region, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def adds_up(population) -> bool:
    parts = [population["unassigned"], *population["children"]]
    return all(population["total"][tag] == sum(part[tag] for part in parts) for tag in TAGS)


async def test_counts_add_up_and_agree_with_a_count_of_our_own(district: District, command) -> None:
    dice = random.Random(7)
    today = clock.day_of(clock.now())
    rows = []
    for place in range(300):
        born = today - timedelta(days=dice.randrange(1, 95 * 365))
        first17 = f"00{place:04d}{born:%Y%m%d}{place % 1000:03d}"
        rows.append(
            {
                "name": "张三",
                "document_number": first17 + check_digit(first17),
                "region": dice.choice([SHATANG, PATCH, GRID, HOUKU]),
                "pregnant": dice.choice(["是", "否"]),
                "dependent": dice.choice(["是", "否", ""]),
                "born": born,
            }
        )
    await take_in(district, command, table(rows))

    def expected(code: str) -> dict[str, int]:
        here = [row for row in rows if row["region"].startswith(code)]
        return {
            "people": len(here),
            "child": sum(age_on(row["born"], today) <= 14 for row in here),
            "elder": sum(age_on(row["born"], today) >= 60 for row in here),
            "pregnant": sum(row["pregnant"] == "是" for row in here),
            "dependent": sum(row["dependent"] == "是" for row in here),
        }

    for code in (XINTANG, SHATANG, PATCH, GRID):
        found = await count(command, code)
        assert adds_up(found)
        assert found["total"] == expected(code)
        for child in found["children"]:
            assert {tag: child[tag] for tag in TAGS} == expected(child["region"])
    whole = await count(command)
    assert len(whole["children"]) == 14
    assert whole["unassigned"]["people"] == 0
    in_community = await count(command, SHATANG)
    assert in_community["unassigned"]["people"] == sum(row["region"] == SHATANG for row in rows)
    assert (await count(command, GRID))["unassigned"]["people"] == sum(row["region"] == GRID for row in rows)


@pytest.mark.parametrize(
    ("born", "day", "tag"),
    [
        ("20080229", date(2023, 2, 27), "child"),
        ("20080229", date(2023, 2, 28), None),
        ("19600301", date(2020, 2, 29), None),
        ("19600301", date(2020, 3, 1), "elder"),
    ],
)
async def test_tags_of_age_change_on_the_birthday(district: District, command, born, day, tag) -> None:
    id_ = await register(district, command, born=born)
    await district.sql("UPDATE registry.residents SET since = '2019-01-01' WHERE id = $1::text::uuid", id_)
    total = (await count(command, as_of=day.isoformat()))["total"]
    assert (total["people"], total["child"], total["elder"]) == (1, int(tag == "child"), int(tag == "elder"))


async def test_yesterdays_count_is_reproduced(district: District, command) -> None:
    moved, closed, stays, tagged = [await register(district, command, place=place) for place in range(1, 5)]
    today = clock.day_of(clock.now())
    before = await count(command)
    assert before["total"]["people"] == 4

    district.move_clock(days=1)
    url = "/registry/v1/residents"
    await command.post(f"{url}/{moved}/move", json={"region": HOUKU})
    await command.post(f"{url}/{closed}/close", json={"reason": "died"})
    await command.patch(f"{url}/{tagged}", json={"pregnant": {}}, headers={"if-match": "*"})
    await register(district, command, place=5)
    district.move_clock(days=2)
    await command.post(f"{url}/{closed}/reopen")
    rows = [person(1, region=GRID), person(4, pregnant="否")]
    assert (await take_in(district, command, table(rows), overwrite_newer="true"))["result"]["updated"] == 2
    district.move_clock(days=3)

    def where(population) -> dict[str, int]:
        return {child["region"]: child["people"] for child in population["children"] if child["people"]}

    first, second, third = [await count(command, as_of=(today + timedelta(days=days)).isoformat()) for days in range(3)]
    assert first | {"day": before["day"]} == before
    assert (where(second), second["total"]["pregnant"]) == ({SHATANG: 3, HOUKU: 1}, 1)
    assert (where(third), third["total"]["pregnant"]) == ({SHATANG: 5}, 0)
    assert all(map(adds_up, (first, second, third)))
    earlier = await count(command, as_of=(today - timedelta(days=1)).isoformat())
    assert earlier["total"]["people"] == 0
    assert (await count(command))["total"] == third["total"]
    assert stays


async def test_a_transfer_leaves_the_old_count_where_it_was(district: District, command) -> None:
    neighbour = district.caller("registry", Role.COMMAND, scope="350582004")
    today = clock.day_of(clock.now()).isoformat()
    id_ = await register(district, command)
    district.move_clock(days=1)
    offered = await command.post(f"/registry/v1/residents/{id_}/move", json={"region": ELSEWHERE})
    await neighbour.post(f"/registry/v1/transfers/{offered.json()['transfer_id']}/accept")
    await settle_requests(district.contexts["registry"])
    assert (await count(command))["total"]["people"] == 0
    assert (await count(command, as_of=today))["total"]["people"] == 1
    assert (await count(neighbour, "350582004"))["total"]["people"] == 1
    assert (await count(neighbour, "350582004", as_of=today))["total"]["people"] == 0


async def test_what_lies_beyond_ones_scope_is_not_counted_at_all(district: District, command) -> None:
    officer = district.caller("registry", Role.COMMUNITY_OFFICER, scope=SHATANG)
    assert (await officer.get(POPULATION, params={"region": XINTANG})).status_code == 404
    assert (await officer.get(POPULATION, params={"region": HOUKU})).status_code == 404
    assert (await officer.get(POPULATION, params={"region": SHATANG})).status_code == 200
    resident = district.caller("registry", Role.RESIDENT)
    assert (await resident.get(POPULATION, params={"region": SHATANG})).status_code == 403


async def test_the_future_cannot_be_counted(command) -> None:
    for day in ("2999-01-01", "0001-01-01"):
        answer = await command.get(POPULATION, params={"region": XINTANG, "as_of": day})
        assert answer.status_code == 422
