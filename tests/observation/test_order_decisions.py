"""O1: what only two people decide of an order: its early end, its conversion, its extension."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.observation.feeds import orders_of, publish_to_observation, resident, tube
from tests.observation.households import Home, approve


async def test_an_order_ends_early_when_a_second_person_approves(
    district: District, home: Home, officer: httpx.AsyncClient
) -> None:
    evidence = new_id()
    await publish_to_observation(district, tube(evidence, [home.case], "positive", sampled_at=clock.now()))
    order = (await orders_of(district, [home.adult]))[home.adult]
    path = f"/observation/v1/orders/{order['id']}"
    assert (await officer.post(f"{path}/early-end", json={})).status_code == 422
    reason = "户籍登记有误，未同住"
    proposals = [(await officer.post(f"{path}/early-end", json={"reason": reason})).json() for _ in range(2)]
    assert [(one["kind"], one["region"], one["reason"]) for one in proposals] == [
        ("early_end", order["region"], reason)
    ] * 2
    assert (await officer.get(path)).json()["state"] == "open", "nothing ends before somebody approves"

    decision = {"content_hash": proposals[0]["content_hash"], "reason": "核实无误"}
    approve = f"/observation/v1/proposals/{proposals[0]['id']}/approve"
    assert (await officer.post(approve, json=decision)).status_code == 403
    elsewhere = district.caller("observation", Role.COMMAND, scope="350583")
    assert (await elsewhere.post(approve, json=decision)).status_code == 404
    command = district.caller("observation", Role.COMMAND, scope="350582005", subject="commander")
    approved = await command.post(approve, json=decision)
    assert (approved.status_code, approved.json()["state"]) == (200, "approved"), approved.text
    plan = (await officer.get(f"{path}/plan")).json()
    assert (plan["state"], plan["end_reason"]) == ("ended", "ended_early")
    assert "提前解除" in (await officer.get(f"{path}/notice")).text
    second = await command.post(f"/observation/v1/proposals/{proposals[1]['id']}/approve", json=decision)
    assert (second.status_code, second.json()["code"]) == (409, "order_ended")
    late_reports = await officer.post(f"{path}/early-end", json={"reason": reason})
    assert (late_reports.status_code, late_reports.json()["code"]) == (409, "order_ended")

    # The same exposure opens no other, a later one does.
    await publish_to_observation(district, tube(evidence, [home.case], "positive", version=2, sampled_at=clock.now()))
    assert await orders_of(district, [home.adult]) == {}
    await publish_to_observation(
        district, tube(new_id(), [home.child], "positive", sampled_at=clock.now() + timedelta(days=1))
    )
    assert set(await orders_of(district, [home.adult])) == {home.adult}


async def test_nobody_ends_their_own_proposal(district: District, home: Home) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], "positive", sampled_at=clock.now()))
    order = (await orders_of(district, [home.adult]))[home.adult]
    command = district.caller("observation", Role.COMMAND, scope="350582005", subject="commander")
    made = (await command.post(f"/observation/v1/orders/{order['id']}/early-end", json={"reason": "误登"})).json()
    decision = {"content_hash": made["content_hash"], "reason": "同意"}
    answer = await command.post(f"/observation/v1/proposals/{made['id']}/approve", json=decision)
    assert (answer.status_code, answer.json()["code"]) == (403, "proposal_same_person")
    assert set(await orders_of(district, [home.adult])) == {home.adult}


async def test_two_people_convert_and_extend_with_a_reason(
    district: District, home: Home, officer: httpx.AsyncClient
) -> None:
    evidence = new_id()
    await publish_to_observation(district, tube(evidence, [home.case], "positive", sampled_at=clock.now()))
    order = (await orders_of(district, [home.adult]))[home.adult]
    path = f"/observation/v1/orders/{order['id']}"
    refused = await officer.post(f"{path}/convert", json={"kind": "home", "reason": "透析"})
    assert (refused.status_code, refused.json()["code"]) == (409, "order_room_unconfirmed")
    to_home = await officer.post(f"{path}/convert", json={"kind": "home", "reason": "透析", "own_room": True})
    assert (await officer.get(path)).json()["kind"] == "central", "one alone changes nothing"
    assert (await approve(district, to_home)).status_code == 200
    home_now = (await officer.get(path)).json()
    assert home_now["kind"] == "home"
    by_seven = await officer.post(f"{path}/extend", json={"days": 7, "reason": "出现症状"})
    assert (await officer.get(path)).json()["ends_at"] == home_now["ends_at"]
    assert (await approve(district, by_seven)).status_code == 200
    longer = (await officer.get(path)).json()
    assert longer["ends_at"] > home_now["ends_at"]
    # Facts that come later leave people's decisions as they are.
    await publish_to_observation(district, resident(home.adult, home.id, version=2))
    await publish_to_observation(district, tube(evidence, [home.case], "positive", version=2, sampled_at=clock.now()))
    kept = (await officer.get(path)).json()
    assert (kept["kind"], kept["ends_at"]) == ("home", longer["ends_at"])
    plan = (await officer.get(f"{path}/plan")).json()
    assert (plan["days"], plan["kind_reason"], plan["extra_reason"]) == (21, "透析", "出现症状")
    both = [await officer.post(f"{path}/extend", json={"days": 30, "reason": "再延"}) for _ in range(2)]
    assert (await approve(district, both[0])).status_code == 200
    at_once = await approve(district, both[1])
    assert (at_once.status_code, at_once.json()["code"]) == (409, "order_extra_days")
    last = await officer.post(f"{path}/extend", json={"days": 24, "reason": "再延"})
    assert (last.status_code, last.json()["code"]) == (409, "order_extra_days")
    assert (await officer.post(f"{path}/extend", json={"days": 23, "reason": "再延"})).status_code == 201


async def test_an_early_end_is_only_for_the_positives_that_were_judged(
    district: District, home: Home, officer: httpx.AsyncClient
) -> None:
    now = clock.now()
    await publish_to_observation(district, tube(new_id(), [home.case], "positive", sampled_at=now))
    order = (await orders_of(district, [home.adult]))[home.adult]
    path = f"/observation/v1/orders/{order['id']}"
    first = await officer.post(f"{path}/early-end", json={"reason": "户籍登记有误，未同住"})
    # It goes by the earlier of the two, which the order rests on still; but nobody judged the other.
    await publish_to_observation(
        district, tube(new_id(), [home.child], "positive", sampled_at=now - timedelta(seconds=1))
    )
    too_late = await approve(district, first)
    assert (too_late.status_code, too_late.json()["code"]) == (409, "order_ground_changed")
    second = await officer.post(f"{path}/early-end", json={"reason": "户籍登记有误，未同住"})
    assert len(second.json()["content"]["exposures"]) == 2
    await publish_to_observation(district, tube(new_id(), [home.elder], "positive", sampled_at=now + timedelta(days=1)))
    assert (await approve(district, second)).json()["code"] == "order_ground_changed"
    assert set(await orders_of(district, [home.adult])) == {home.adult}


@pytest.mark.parametrize("days", [-1, 0], ids=["of the day before", "of the same day"])
@pytest.mark.parametrize("moves_first", [True, False], ids=["moved first", "ended first"])
async def test_who_was_entered_in_a_wrong_household_is_exposed_in_the_right_one(
    district: District, home: Home, officer: httpx.AsyncClient, days: int, moves_first: bool
) -> None:
    now, wrong, right, case = clock.now(), new_id(), new_id(), new_id()
    own = tube(new_id(), [case], "positive", sampled_at=now + timedelta(days=days, seconds=-1))
    await publish_to_observation(district, resident(case, right), own)
    await publish_to_observation(district, tube(wrong, [home.case], "positive", sampled_at=now))
    order = (await orders_of(district, [home.adult]))[home.adult]
    if moves_first:
        await publish_to_observation(district, resident(home.adult, right, version=2))
    ended = await officer.post(f"/observation/v1/orders/{order['id']}/early-end", json={"reason": "误登户号"})
    assert (await approve(district, ended)).status_code == 200
    if not moves_first:
        await publish_to_observation(district, resident(home.adult, right, version=2))
    assert (await orders_of(district, [home.adult]))[home.adult]["evidence_id"] == own.id
    # Back where the other is, they are not held for that one again.
    await publish_to_observation(district, tube(own.id, [case], "negative", version=2, sampled_at=now))
    await publish_to_observation(district, resident(home.adult, home.id, version=3))
    assert await orders_of(district, [home.adult]) == {}


async def test_who_was_let_go_of_two_positives_is_held_for_neither(
    district: District, home: Home, officer: httpx.AsyncClient
) -> None:
    now = clock.now()
    tubes = [tube(new_id(), [who], "positive", sampled_at=now) for who in (home.case, home.child)]
    await publish_to_observation(district, *tubes)
    order = (await orders_of(district, [home.adult]))[home.adult]
    ended = await officer.post(f"/observation/v1/orders/{order['id']}/early-end", json={"reason": "未同住"})
    assert (await approve(district, ended)).status_code == 200
    rested_on = next(one for one in tubes if one.id == order["evidence_id"])
    (who,) = [sample.resident_id for sample in rested_on.samples]
    await publish_to_observation(district, tube(rested_on.id, [who], "negative", version=2, sampled_at=now))
    await publish_to_observation(district, resident(home.adult, home.id, "elder", version=2))
    assert await orders_of(district, [home.adult]) == {}
    # A third, of whom nobody knew then, is another matter, on whatever day it was swabbed.
    await publish_to_observation(district, tube(new_id(), [home.elder], "positive", sampled_at=now - timedelta(days=1)))
    assert set(await orders_of(district, [home.adult])) == {home.adult}


async def test_an_approval_that_comes_twice_at_once_happens_once(
    district: District, home: Home, officer: httpx.AsyncClient
) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], "positive"))
    order = (await orders_of(district, [home.adult]))[home.adult]
    asked = await officer.post(f"/observation/v1/orders/{order['id']}/extend", json={"days": 7, "reason": "出现症状"})
    answers = await asyncio.gather(*(approve(district, asked) for _ in range(3)))
    assert sorted(one.status_code for one in answers) == [200, 409, 409]
    assert (await orders_of(district, [home.adult]))[home.adult]["extra_days"] == 7
