"""T3: rounds, who is expected, how far they are, and who is missing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from shared.contracts.registry import Resident
from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.testing.conftest import COMMUNITY, GRID, OTHER_GRID, MakeRound, publish_residents, residents


def planned(**values: object) -> dict[str, object]:
    """A round that begins now."""
    return {
        "name": "第一轮",
        "round": 1,
        "region": "350582005",
        "pool_size": 10,
        "opens_at": clock.now().isoformat(),
        "closes_at": (clock.now() + timedelta(hours=12)).isoformat(),
    } | values


async def test_a_round_counts_the_people_who_live_there_when_it_is_planned(
    district: District, make_round: MakeRound
) -> None:
    here = await residents(district, 3)
    there = await residents(district, 2, region=OTHER_GRID)
    await residents(district, 4, region="3505820040010101")
    gone = await residents(district, 1)
    await publish_residents(district, [Resident(id=gone[0], version=2, region=GRID, state="closed", household_id=None)])
    ring = await make_round()
    assert (await ring.progress())["total"]["expected"] == 5
    # Who moves, and who comes, changes nothing in the round: the books of that day add up.
    await publish_residents(
        district, [Resident(id=here[0], version=2, region=OTHER_GRID, state="active", household_id=None)]
    )
    [newcomer] = await residents(district, 1)
    [tube] = await ring.roll()
    await ring.send(ring.swab(tube, here[0]), ring.swab(tube, newcomer))
    said = await ring.progress()
    by_region = {one["region"]: one for one in said["regions"]}
    assert [by_region[GRID][name] for name in ("expected", "sampled", "missing")] == [3, 1, 2]
    assert [by_region[OTHER_GRID][name] for name in ("expected", "sampled", "missing")] == [2, 0, 2]
    assert by_region[COMMUNITY]["others"] == 1
    assert [said["total"][name] for name in ("expected", "sampled", "missing", "others")] == [5, 1, 4, 1]
    assert await ring.missing() == {*here[1:], *there}
    assert await ring.missing(region=GRID) == set(here[1:])


async def test_nobody_knocks_for_who_has_died_or_moved_away(district: District, make_round: MakeRound) -> None:
    here = await residents(district, 3)
    ring = await make_round()
    gone = Resident(id=here[0], version=2, region=GRID, state="closed", household_id=None)
    await publish_residents(district, [gone])
    assert await ring.missing() == set(here[1:])
    total = (await ring.progress())["total"]
    assert [total[name] for name in ("expected", "sampled", "missing")] == [3, 0, 3]
    await publish_residents(district, [gone.model_copy(update={"version": 3, "state": "active"})])
    assert await ring.missing() == set(here)


async def test_missing_people_are_paged_and_scoped(district: District, make_round: MakeRound) -> None:
    here = await residents(district, 5)
    there = await residents(district, 2, region="3505820050020101")
    ring = await make_round()
    found, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await ring.command.get(f"/testing/v1/campaigns/{ring.id}/missing", params=params)).json()
        found += [item["resident_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(found) == sorted(map(str, [*here, *there]))
    worker = district.caller("testing", Role.GRID_WORKER, scope=GRID)
    answer = (await worker.get(f"/testing/v1/campaigns/{ring.id}/missing")).json()
    assert sorted(item["resident_id"] for item in answer["items"]) == sorted(map(str, here))
    asked = (await worker.get(f"/testing/v1/campaigns/{ring.id}/missing", params={"region": "350582005002"})).json()
    assert asked["items"] == []
    progress = (await worker.get(f"/testing/v1/campaigns/{ring.id}/progress")).json()
    assert progress["total"]["expected"] == 5
    [[subjects]] = await district.sql(
        "SELECT subjects FROM testing.audit WHERE role = 'grid_worker' ORDER BY seq LIMIT 1"
    )
    assert set(subjects) == set(here)


async def test_progress_follows_the_tubes(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 6)
    ring = await make_round()
    tubes = await ring.roll(6)
    swabs = [ring.swab(tube, person) for tube, person in zip(tubes, people, strict=True)]
    await ring.send(*swabs)
    await ring.send_seals(*[ring.seal_of(tube, [swab]) for tube, swab in zip(tubes[1:], swabs[1:], strict=True)])
    box = await ring.box(*tubes[2:])
    await ring.sampler.post(f"/testing/v1/boxes/{box['id']}/depart")
    await ring.receive(box, *tubes[3:])
    await ring.report(ring.result_of(tubes[4], "negative"), ring.result_of(tubes[5], "positive"))
    total = (await ring.progress())["total"]
    names = ("open", "sealed", "in_transit", "received", "resulted", "positive", "sampled", "missing")
    assert [total[name] for name in names] == [1, 1, 1, 1, 2, 1, 6, 0]


async def test_the_steps_of_a_round(district: District) -> None:
    command = district.caller("testing", Role.COMMAND)
    made = await command.post("/testing/v1/campaigns", json=planned())
    assert made.headers["location"] == f"/testing/v1/campaigns/{made.json()['id']}"
    assert (await command.get(made.headers["location"])).json() == made.json()
    path = made.headers["location"]
    assert (await command.post(f"{path}/close")).json()["code"] == "campaign_move_forbidden"
    assert (await command.post(f"{path}/open")).json()["state"] == "open"
    assert (await command.post(f"{path}/open")).json()["code"] == "campaign_move_forbidden"
    assert (await command.post(f"{path}/close")).json()["state"] == "closed"
    assert (await command.post(f"{path}/cancel")).json()["code"] == "campaign_move_forbidden"
    listed = (await command.get("/testing/v1/campaigns", params={"state": "closed"})).json()["items"]
    assert [one["id"] for one in listed] == [made.json()["id"]]
    rows = await district.sql("SELECT change FROM testing.feed WHERE type = 'testing.campaign.v1' ORDER BY seq")
    assert [change for [change] in rows] == ["planned", "open", "closed"]


async def test_a_round_lies_in_the_scope_of_who_plans_it(district: District) -> None:
    community = district.caller("testing", Role.COMMAND, scope=COMMUNITY)
    wider = await community.post("/testing/v1/campaigns", json=planned())
    assert (wider.status_code, wider.json()["code"]) == (403, "region_outside")
    assert wider.json()["errors"][0]["pointer"] == "#/region"
    inside = await community.post("/testing/v1/campaigns", json=planned(region=COMMUNITY))
    assert inside.status_code == 201
    elsewhere = district.caller("testing", Role.COMMAND, scope="350582004")
    # A round names nobody and may be read; it is changed only by whose it is.
    assert (await elsewhere.get(f"/testing/v1/campaigns/{inside.json()['id']}")).status_code == 200
    assert (await elsewhere.post(f"/testing/v1/campaigns/{inside.json()['id']}/open")).status_code == 404
    assert (
        await district.caller("testing", Role.SAMPLER).post("/testing/v1/campaigns", json=planned())
    ).status_code == 403


async def test_an_impossible_round_is_refused(district: District) -> None:
    command = district.caller("testing", Role.COMMAND)
    backwards = planned(closes_at=(clock.now() - timedelta(hours=1)).isoformat())
    answer = await command.post("/testing/v1/campaigns", json=backwards)
    fault = answer.json()["errors"][0]
    assert (fault["code"], fault["pointer"]) == ("window_empty", "#/closes_at")
    for wrong in ({"pool_size": 7}, {"round": 0}, {"region": "35058200"}, {"opens_at": "2021-01-20T08:00:00"}):
        assert (await command.post("/testing/v1/campaigns", json=planned(**wrong))).status_code == 422
    assert (await command.get(f"/testing/v1/campaigns/{new_id()}")).status_code == 404


async def test_numbers_of_tubes_are_issued_once(district: District, make_round: MakeRound) -> None:
    ring = await make_round()
    rolls = await asyncio.gather(*[ring.roll(50) for _ in range(12)])
    numbers = [number for roll in rolls for number in roll]
    assert len(set(numbers)) == 600
    for wrong, code in (
        ({"region": "350582004001"}, "roll_outside_campaign"),
        ({"capacity": 20}, "capacity_beyond_campaign"),
        ({"campaign_id": str(new_id())}, "campaign_unknown"),
    ):
        roll = {"campaign_id": ring.id, "region": COMMUNITY, "capacity": 10, "count": 1} | wrong
        answer = await ring.command.post("/testing/v1/rolls", json=roll)
        assert answer.json()["code"] == code
    roll = {"campaign_id": ring.id, "region": "350582005002", "capacity": 10, "count": 1}
    elsewhere = await ring.sampler.post("/testing/v1/rolls", json=roll)
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (403, "region_outside")


async def test_a_roll_is_read_again_where_it_was_issued(district: District, make_round: MakeRound) -> None:
    ring = await make_round()
    roll = {"campaign_id": ring.id, "region": COMMUNITY, "capacity": 10, "count": 3}
    made = await ring.sampler.post("/testing/v1/rolls", json=roll)
    assert len(made.json()["numbers"]) == 3
    assert (await ring.sampler.get(made.headers["location"])).json() == made.json()
    elsewhere = district.caller("testing", Role.SAMPLER, scope="350582005002")
    assert (await elsewhere.get(made.headers["location"])).json()["code"] == "not_found"


async def test_the_progress_of_a_hundred_thousand_people_is_quick(district: District, make_round: MakeRound) -> None:
    await district.sql("""
        INSERT INTO testing.people (id, region, active)
        SELECT uuidv7(), '350582005' || lpad((n % 13 + 1)::text, 3, '0') || lpad((n % 5 + 1)::text, 2, '0')
            || lpad((n % 7 + 1)::text, 2, '0'), true
        FROM generate_series(1, 100000) AS n
    """)
    # Bounds that only a missing index breaks: the aim is 200 ms, on a machine that does nothing else. A busy one is
    # asked again, until it comes to it.
    ring = await once_within(5, make_round)
    await district.sql(
        """
        INSERT INTO testing.tubes (id, region, campaign_id, number, capacity, drill, people, first_sampled_at)
        SELECT uuidv7(), left(region, 16), $1, 'n' || row_number() OVER (), 10, false, 10, now()
        FROM testing.campaign_people WHERE campaign_id = $1 LIMIT 8000
        """,
        ring.id,
    )
    await district.sql(
        """
        INSERT INTO testing.samples (id, campaign_id, tube_id, resident_id, region, home, sampled_at, offline, retest,
            counted)
        SELECT uuidv7(), campaign_id, (SELECT id FROM testing.tubes LIMIT 1), resident_id, region, region, now(), false,
            false, true
        FROM testing.campaign_people WHERE campaign_id = $1 LIMIT 80000
        """,
        ring.id,
    )
    await district.sql("VACUUM ANALYZE testing.samples, testing.tubes, testing.campaign_people")
    said = await once_within(1, ring.progress)
    assert (said["total"]["expected"], said["total"]["sampled"]) == (100_000, 80_000)
    grid = said["regions"][0]["region"]
    missing = await once_within(1, lambda: ring.missing(region=grid))
    assert len(missing) == min(200, said["regions"][0]["missing"])


async def once_within(seconds: float, ask: Callable[[], Awaitable[Any]], tries: int = 20) -> Any:
    """The answer, once it comes so quickly."""
    took = []
    for _ in range(tries):
        began = time.perf_counter()
        answer = await ask()
        took.append(time.perf_counter() - began)
        if took[-1] < seconds:
            return answer
    raise AssertionError(f"never within {seconds} s: {took}")
