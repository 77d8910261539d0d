"""T4: many scanners and devices at once leave every tube and every swab as one after the other would."""

import asyncio
from random import Random

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


async def test_a_batch_that_many_devices_are_faster_with_is_decided_until_it_is_right(
    district: District, make_round: MakeRound
) -> None:
    people = await residents(district, 6)
    ring = await make_round()
    for _ in range(5):
        tubes = await ring.roll(12)
        whole = [ring.swab(tubes[place + 6], person, offline=True) for place, person in enumerate(people)]
        single = [ring.swab(tube, person, offline=True) for tube, person in zip(tubes[:6], people, strict=True)]
        answers = await asyncio.gather(ring.send(*whole), *[ring.send(swab) for swab in single])
        assert {answer["status"] for answered in answers for answer in answered} == {"kept"}
    assert await district.sql("SELECT count(*)::int, (count(*) FILTER (WHERE counted))::int FROM testing.samples") == [
        (60, 6)
    ]
    assert await district.sql("SELECT sum(people)::int FROM testing.tubes") == [(6,)]


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
