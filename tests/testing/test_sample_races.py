"""T4: many scanners and devices at once leave every tube and every swab as one after the other would."""

import asyncio
from random import Random

import asyncpg
import pytest

from tests.harness import District
from tests.testing.conftest import MakeRound, residents


async def test_two_hundred_scanners_race_for_the_last_place(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 209)
    ring = await make_round()
    [tube] = await ring.roll()
    await ring.send(*[ring.swab(tube, person) for person in people[:9]])
    answers = await asyncio.gather(*[ring.send(ring.swab(tube, person)) for person in people[9:]])
    outcomes = [answer["problem"]["code"] if answer["problem"] else answer["status"] for [answer] in answers]
    assert sorted(outcomes) == ["kept"] + ["tube_full"] * 199
    assert len((await ring.tube(tube))["samples"]) == 10
    assert await district.sql("SELECT people FROM testing.tubes") == [(10,)]


async def test_one_person_in_many_tubes_at_once_is_in_one(district: District, make_round: MakeRound) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    tubes = await ring.roll(30)
    answers = await asyncio.gather(*[ring.send(ring.swab(tube, person)) for tube in tubes])
    outcomes = [answer["problem"]["code"] if answer["problem"] else answer["status"] for [answer] in answers]
    assert sorted(outcomes) == ["kept"] + ["twice_in_round"] * 29
    assert await district.sql("SELECT sum(people)::int FROM testing.tubes") == [(1,)]
    offline = await asyncio.gather(*[ring.send(ring.swab(tube, person, offline=True)) for tube in tubes])
    assert sum(answer["exception"] == "twice_in_round" for [answer] in offline) == 30
    assert (await ring.progress())["total"]["sampled"] == 1


async def test_the_same_batch_sent_by_two_devices_at_once_lands_once(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 100)
    ring = await make_round()
    tubes = await ring.roll(10)
    swabs = [ring.swab(tubes[place // 10], person, offline=True) for place, person in enumerate(people)]
    answers = await asyncio.gather(*[ring.send(*(swabs if turn % 2 else swabs[::-1])) for turn in range(6)])
    assert sum(answer["status"] == "kept" for answered in answers for answer in answered) == 100
    assert sum(answer["status"] == "already" for answered in answers for answer in answered) == 500
    assert await district.sql("SELECT people, count(*)::int FROM testing.tubes GROUP BY people") == [(10, 10)]
    assert (await ring.progress())["total"]["sampled"] == 100


HOLD = """
    INSERT INTO testing.samples (id, campaign_id, tube_id, resident_id, region, sampled_at, offline, retest, counted)
    SELECT uuidv7(), campaign_id, id, $2, region, now(), true, false, true FROM testing.tubes WHERE number = $1
"""
IS_AWAITED = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "not kept"])
async def test_a_batch_is_decided_in_sight_of_a_device_that_was_faster(
    district: District, make_round: MakeRound, *, is_kept: bool
) -> None:
    people = await residents(district, 4)
    ring = await make_round()
    faster, slower = await ring.roll(2)
    await ring.send(ring.swab(faster, people[3]))
    connection = await asyncpg.connect(district.database.owner_url)
    other = connection.transaction()
    await other.start()
    await connection.execute(HOLD, faster, people[1])
    swabs = [ring.swab(slower, person, offline=True) for person in people[:3]]
    asked = asyncio.create_task(ring.sampler.post("/testing/v1/samples", json={"items": swabs}))
    for _ in range(1_000):
        if (await district.sql(IS_AWAITED))[0][0]:
            break
        await asyncio.sleep(0.01)
    await (other.commit() if is_kept else other.rollback())
    await connection.close()
    answer = await asked
    assert answer.status_code == 200, answer.text
    exceptions = [None, "twice_in_round" if is_kept else None, None]
    assert [(item["status"], item["exception"]) for item in answer.json()["items"]] == [
        ("kept", exception) for exception in exceptions
    ]
    [[held]] = await district.sql("SELECT people FROM testing.tubes WHERE number = $1", slower)
    assert held == exceptions.count(None)


async def test_devices_with_the_same_people_in_tubes_of_their_own_never_deadlock(
    district: District, make_round: MakeRound
) -> None:
    chance = Random(11)
    people = await residents(district, 100)
    ring = await make_round()
    batches = []
    for tubes in [await ring.roll(10) for _ in range(5)]:
        shuffled = chance.sample(people, 100)
        batches.append([ring.swab(tubes[place // 10], person, offline=True) for place, person in enumerate(shuffled)])
    answers = await asyncio.gather(*[ring.send(*batch) for batch in batches])
    exceptions = [answer["exception"] for answered in answers for answer in answered]
    assert sorted(map(str, exceptions)) == ["None"] * 100 + ["twice_in_round"] * 400
    assert await district.sql("SELECT sum(people)::int FROM testing.tubes") == [(100,)]
    assert (await ring.progress())["total"]["sampled"] == 100


async def test_thirty_shuffled_batches_over_the_same_tubes_never_deadlock(
    district: District, make_round: MakeRound
) -> None:
    chance = Random(7)
    people = await residents(district, 600)
    ring = await make_round()
    tubes = await ring.roll(60)
    batches = []
    for _ in range(30):
        chosen = chance.sample(people, 120)
        batches.append([ring.swab(chance.choice(tubes), person, offline=True) for person in chosen])
    answers = await asyncio.gather(*[ring.send(*batch) for batch in batches])
    assert {answer["status"] for answered in answers for answer in answered} == {"kept"}
    [[wrong]] = await district.sql("""
        SELECT count(*) FROM testing.tubes WHERE people <> (
            SELECT count(*) FROM testing.samples WHERE tube_id = tubes.id AND exception IS NULL)
    """)
    assert wrong == 0
    [[twice]] = await district.sql("""
        SELECT count(*) FROM (SELECT FROM testing.samples WHERE counted GROUP BY resident_id HAVING count(*) > 1) AS x
    """)
    assert twice == 0
    assert (await ring.progress())["total"]["sampled"] == len({swab["resident_id"] for b in batches for swab in b})
