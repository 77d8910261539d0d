"""O1: orders that follow from positives, and what people may do with them."""

import base64
import hashlib
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from shared.contracts.observation import Order
from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.observation.feeds import (
    OTHER_GRID,
    dead_letters,
    message,
    orders_of,
    publish_to_observation,
    published,
    referrals_of,
    resident,
    shanghai,
    tube,
)
from tests.observation.households import Home, approve, swab


async def test_a_positive_is_referred_and_its_household_observed(district: District, home: Home) -> None:
    evidence = new_id()
    sampled_at = shanghai("2021-01-21 23:30")
    district.move_clock(seconds=(shanghai("2021-01-22 08:00") - clock.now()).total_seconds())
    await publish_to_observation(district, tube(evidence, [home.case], "positive", sampled_at=sampled_at))

    (referral,) = await referrals_of(district, [home.case, *home.others])
    assert referral["resident_id"] == home.case
    assert (referral["reason"], referral["state"]) == ("positive", "reported")
    assert (referral["evidence_type"], referral["evidence_id"]) == ("testing.tube.v1", evidence)
    orders = await orders_of(district, [home.case, *home.others])
    assert {who: row["kind"] for who, row in orders.items()} == {
        home.adult: "central",
        home.child: "home",
        home.mother: "home",
        home.elder: "home",
    }
    for row in orders.values():
        assert row["day_0"] == date(2021, 1, 21)
        assert row["ends_at"] == shanghai("2021-02-05 00:00")
        assert (row["protocol"], row["evidence_id"]) == (1, evidence)
        (entry,) = await published(district, "observation.order.v1", row["id"])
        assert entry["urgent"]
        assert Order.model_validate_json(entry["data"]).day_0 == date(2021, 1, 21)
    assert len(await district.sql("SELECT 1 FROM observation.orders")) == 4
    (entry,) = await published(district, "observation.referral.v1", referral["id"])
    assert entry["urgent"]


@pytest.mark.parametrize("minutes", [-1, 0, 1])
async def test_day_0_around_midnight_in_shanghai(district: District, home: Home, minutes: int) -> None:
    sampled_at = shanghai("2021-01-22 00:00") + timedelta(minutes=minutes)
    district.move_clock(seconds=(sampled_at + timedelta(hours=3) - clock.now()).total_seconds())
    await publish_to_observation(district, tube(new_id(), [home.case], "positive", sampled_at=sampled_at))
    orders = await orders_of(district, home.others)
    expected = date(2021, 1, 21) if minutes < 0 else date(2021, 1, 22)
    assert {row["day_0"] for row in orders.values()} == {expected}
    assert {row["ends_at"] for row in orders.values()} == {shanghai(f"2021-02-0{expected.day - 16} 00:00")}


async def test_the_tube_may_come_before_the_people(district: District) -> None:
    home = Home()
    evidence = new_id()
    await publish_to_observation(district, tube(evidence, [home.case], "positive"))
    assert [row["resident_id"] for row in await referrals_of(district, [home.case])] == [home.case]
    for one in reversed(home.residents()):
        await publish_to_observation(district, one)
    assert set(await orders_of(district, [home.case, *home.others])) == set(home.others)
    assert len(await referrals_of(district, [home.case, *home.others])) == 1


@pytest.mark.parametrize(
    "made",
    [
        {"drill": True},
        {"capacity": 10},
        {"outcome": "inconclusive"},
        {"outcome": "negative"},
        {"outcome": None},
    ],
)
async def test_what_is_no_single_positive_opens_nothing(district: District, home: Home, made: dict[str, Any]) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], **{"outcome": "positive", **made}))
    assert await referrals_of(district, [home.case]) == []
    assert await orders_of(district, home.others) == {}


async def test_a_held_positive_is_in_force_and_a_held_negative_is_not(district: District, home: Home) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], "positive", held=True))
    assert set(await orders_of(district, home.others)) == set(home.others)
    await publish_to_observation(
        district, tube(new_id(), [home.adult], "negative", held=True, sampled_at=clock.now() + timedelta(days=1))
    )
    assert (await orders_of(district, [home.adult]))[home.adult]["negatives"] == []


async def test_a_correction_withdraws_what_rests_on_the_tube_only(district: District, home: Home) -> None:
    first, second = new_id(), new_id()
    yesterday = clock.now() - timedelta(days=1)
    await publish_to_observation(district, tube(first, [home.case], "positive", sampled_at=yesterday))
    await publish_to_observation(district, tube(second, [home.adult], "positive"))
    assert {row["evidence_id"] for row in (await orders_of(district, [home.child])).values()} == {second}
    assert (await orders_of(district, [home.adult], "ended"))[home.adult]["end_reason"] == "converted"

    await publish_to_observation(district, tube(second, [home.adult], "negative", version=2))
    orders = await orders_of(district, home.others)
    assert set(orders) == set(home.others), "who is not positive after all is a contact again"
    assert {row["evidence_id"] for row in orders.values()} == {first}
    referrals = await referrals_of(district, [home.adult])
    assert [(row["state"], row["withdrawn"]) for row in referrals] == [("cancelled", True)]

    await publish_to_observation(district, tube(first, [home.case], "negative", version=2))
    assert await orders_of(district, home.others) == {}
    withdrawn = await orders_of(district, home.others, "withdrawn")
    assert {row["end_reason"] for row in withdrawn.values()} == {"evidence_withdrawn"}
    # A correction of the correction opens them anew.
    await publish_to_observation(district, tube(first, [home.case], "positive", version=3))
    assert set(await orders_of(district, home.others)) == set(home.others)
    assert [row["state"] for row in await referrals_of(district, [home.case])] == ["cancelled", "reported"]


async def test_another_persons_negative_takes_nothing_back(district: District, home: Home) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], "positive"))
    for one in [home.case, *home.others]:
        await publish_to_observation(district, tube(new_id(), [one], "negative", sampled_at=clock.now()))
    assert set(await orders_of(district, home.others)) == set(home.others)
    assert [row["state"] for row in await referrals_of(district, [home.case])] == ["reported"]


async def test_ruled_out_by_the_hospital_frees_the_household(district: District, home: Home) -> None:
    evidence = new_id()
    await publish_to_observation(district, tube(evidence, [home.case], "positive"))
    (referral,) = await referrals_of(district, [home.case])
    await publish_to_observation(district, message("referral.handed_over", referral["id"], hospital="hospital-one"))
    await publish_to_observation(district, message("referral.ruled_out", referral["id"], source="hospital"))
    assert await orders_of(district, home.others) == {}
    # Read again, the tube opens nothing.
    await publish_to_observation(district, tube(evidence, [home.case], "positive", version=2))
    assert await orders_of(district, home.others) == {}
    assert [row["state"] for row in await referrals_of(district, [home.case])] == ["ruled_out"]
    assert await dead_letters(district) == []


async def test_confirmed_keeps_the_household_under_observation(district: District, home: Home) -> None:
    evidence = new_id()
    await publish_to_observation(district, tube(evidence, [home.case], "positive"))
    (referral,) = await referrals_of(district, [home.case])
    await publish_to_observation(district, message("referral.handed_over", referral["id"], hospital="hospital-one"))
    await publish_to_observation(district, message("referral.confirmed", referral["id"], source="hospital"))
    assert set(await orders_of(district, home.others)) == set(home.others)
    await publish_to_observation(
        district, tube(new_id(), [home.case], "positive", sampled_at=clock.now() - timedelta(minutes=5))
    )
    assert len(await referrals_of(district, [home.case])) == 1, "who is in hospital is not fetched again"


async def test_an_order_follows_the_person(district: District, home: Home, officer: httpx.AsyncClient) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], "positive"))
    order = (await orders_of(district, [home.adult]))[home.adult]
    elsewhere = district.caller("observation", Role.COMMUNITY_OFFICER, scope="350582005002")
    path = f"/observation/v1/orders/{order['id']}"
    assert (await elsewhere.get(path)).status_code == 404

    await publish_to_observation(district, resident(home.adult, new_id(), region=OTHER_GRID, version=2))
    moved = (await elsewhere.get(path)).json()
    assert (moved["region"], moved["state"]) == (OTHER_GRID, "open"), "who moves away stays exposed"
    assert (await officer.get(path)).status_code == 404
    assert [entry["version"] for entry in await published(district, "observation.order.v1", order["id"])] == [1, 2]


async def test_a_pregnancy_told_later_brings_a_person_home(district: District, home: Home) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], "positive"))
    await publish_to_observation(district, resident(home.adult, home.id, "pregnant", version=2))
    assert (await orders_of(district, [home.adult]))[home.adult]["kind"] == "home"


async def test_who_is_closed_in_the_registry_is_not_observed(district: District, home: Home) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], "positive"))
    await publish_to_observation(district, resident(home.elder, home.id, version=2, state="closed"))
    assert (await orders_of(district, [home.elder], "withdrawn"))[home.elder]["end_reason"] == "person_closed"


async def test_an_old_positive_opens_nothing(district: District, home: Home) -> None:
    await publish_to_observation(
        district, tube(new_id(), [home.case], "positive", sampled_at=clock.now() - timedelta(days=16))
    )
    assert await orders_of(district, home.others) == {}


async def test_an_order_ends_when_days_and_tests_are_complete(
    district: District, home: Home, officer: httpx.AsyncClient
) -> None:
    evidence = new_id()
    await publish_to_observation(district, tube(evidence, [home.case], "positive", sampled_at=clock.now()))
    order = (await orders_of(district, [home.child]))[home.child]
    path = f"/observation/v1/orders/{order['id']}"
    early = await officer.post(f"{path}/end")
    assert (early.status_code, early.json()["code"]) == (409, "order_days_incomplete")

    await swab(district, home.child, 1, 4, 14)
    district.move_clock(days=15)
    untested = await officer.post(f"{path}/end")
    assert (untested.status_code, untested.json()["code"]) == (409, "order_tests_missing")
    assert "7" in untested.json()["detail"]
    plan = (await officer.get(f"{path}/plan")).json()
    assert [(test["day"], test["done"]) for test in plan["tests"]] == [(1, True), (4, True), (7, False), (14, True)]
    assert (plan["may_end"], plan["day"], plan["days"]) == (False, 15, 14)

    await publish_to_observation(district, tube(new_id(), [home.child], "negative", sampled_at=clock.now()))
    assert (await officer.get(f"{path}/plan")).json()["may_end"]
    ended = await officer.post(f"{path}/end")
    assert (ended.status_code, ended.json()["state"]) == (200, "ended")
    again = await officer.post(f"{path}/end")
    assert (again.status_code, again.json()["code"]) == (409, "order_ended")

    # Whatever is read again, what people ended stays ended.
    await publish_to_observation(
        district, tube(evidence, [home.case], "positive", version=2, sampled_at=clock.now() - timedelta(days=15))
    )
    await publish_to_observation(district, resident(home.child, home.id, "child", version=2))
    assert await orders_of(district, [home.child]) == {}
    last = (await published(district, "observation.order.v1", order["id"]))[-1]
    assert (Order.model_validate_json(last["data"]).state, last["urgent"]) == ("ended", True)


async def test_a_negative_that_is_taken_back_is_missing_again(
    district: District, home: Home, officer: httpx.AsyncClient
) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], "positive", sampled_at=clock.now()))
    order = (await orders_of(district, [home.child]))[home.child]
    own = new_id()
    await publish_to_observation(
        district, tube(own, [home.child], "negative", sampled_at=clock.now() + timedelta(days=1))
    )
    path = f"/observation/v1/orders/{order['id']}/plan"
    assert (await officer.get(path)).json()["tests"][0]["done"]
    await publish_to_observation(district, tube(own, [home.child], "inconclusive", version=2))
    assert not (await officer.get(path)).json()["tests"][0]["done"]


@pytest.mark.parametrize("how", ["completed", "ended_early", "converted", "evidence_withdrawn", "person_closed"])
async def test_whatever_has_ended_is_ended_for_everybody(
    district: District, home: Home, officer: httpx.AsyncClient, how: str
) -> None:
    evidence, sampled_at = new_id(), clock.now() - timedelta(days=12)
    await publish_to_observation(district, tube(evidence, [home.case], "positive", sampled_at=sampled_at))
    order = (await orders_of(district, [home.adult]))[home.adult]
    path = f"/observation/v1/orders/{order['id']}"
    waiting = await officer.post(f"{path}/extend", json={"days": 7, "reason": "出现症状"})
    if how == "completed":
        await swab(district, home.adult, -11, -8, -5, 2)
        district.move_clock(days=4)
        assert (await officer.post(f"{path}/end")).status_code == 200
    elif how == "ended_early":
        await approve(district, await officer.post(f"{path}/early-end", json={"reason": "误登"}))
    elif how == "converted":
        await publish_to_observation(district, tube(new_id(), [home.adult], "positive"))
    elif how == "evidence_withdrawn":
        await publish_to_observation(
            district, tube(evidence, [home.case], "negative", version=2, sampled_at=sampled_at)
        )
    else:
        await publish_to_observation(district, resident(home.adult, home.id, version=2, state="closed"))
    plan = (await officer.get(f"{path}/plan")).json()
    withdrawn = how in ("evidence_withdrawn", "person_closed")
    assert (plan["end_reason"], plan["state"], plan["may_end"]) == (how, "withdrawn" if withdrawn else "ended", False)
    assert "解除" in (await officer.get(f"{path}/notice")).text
    acts: dict[str, Any] = {
        "end": None,
        "early-end": {"reason": "误登"},
        "convert": {"kind": "central", "reason": "家中无单间"},
        "extend": {"days": 1, "reason": "出现症状"},
    }
    for act, body in acts.items():
        answer = await officer.post(f"{path}/{act}", json=body)
        assert (act, answer.status_code, answer.json()["code"]) == (act, 409, "order_ended")
    too_late = await approve(district, waiting)
    assert (too_late.status_code, too_late.json()["code"]) == (409, "order_ended")


async def test_the_notice_can_be_printed(district: District, home: Home, officer: httpx.AsyncClient) -> None:
    evidence = new_id()
    sampled_at = shanghai("2021-01-21 08:00")
    district.move_clock(seconds=(shanghai("2021-01-21 12:00") - clock.now()).total_seconds())
    await publish_to_observation(district, tube(evidence, [home.case], "positive", sampled_at=sampled_at))
    order = (await orders_of(district, [home.child]))[home.child]
    path = f"/observation/v1/orders/{order['id']}/notice"
    shown = await officer.get(path)
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    style = shown.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in shown.headers["content-security-policy"]
    for words in (
        "居家医学观察告知书",
        "2021年1月21日（第 0 天）",
        "14 天，至 2021年2月4日 24 时",
        "第 14 天（2021年2月4日）",
        "疫情防控指挥部（盖章）",
    ):
        assert words in shown.text
    await publish_to_observation(district, tube(evidence, [home.case], "negative", version=2))
    assert "解除居家医学观察通知单" in (await officer.get(path)).text


async def test_a_notice_is_signed_by_the_headquarters_that_is_set(
    district: District, home: Home, officer: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], "positive"))
    order = (await orders_of(district, [home.child]))[home.child]
    path = f"/observation/v1/orders/{order['id']}/notice"
    before = (await officer.get(path)).text
    assert "新塘" not in before
    context = district.contexts["observation"]
    own = {"headquarters": "福田区<园岭>街道指挥部", "plan": "《园岭街道实施方案》"}
    monkeypatch.setattr(context, "settings", context.settings.model_copy(update=own))
    after = (await officer.get(path)).text
    assert "福田区&lt;园岭&gt;街道指挥部" in after
    assert "依据：《园岭街道实施方案》；" in after
    assert "（盖章）" not in after


async def test_lists_filter_and_pages(district: District, home: Home, officer: httpx.AsyncClient) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], "positive"))

    async def listed(**params: Any) -> list[Any]:
        answer = await officer.get("/observation/v1/orders", params=params)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    assert len(await listed()) == 4
    assert len(await listed(kind="home", state="open")) == 3
    assert [one["resident_id"] for one in await listed(resident_id=str(home.adult))] == [str(home.adult)]
    assert len(await listed(region="3505820050010101")) == 4
    assert await listed(region="350582005002") == []
    first = (await officer.get("/observation/v1/orders", params={"limit": 3})).json()
    rest = await listed(limit=3, cursor=first["next_cursor"])
    assert len({one["id"] for one in [*first["items"], *rest]}) == 4


async def test_residents_see_their_own_and_change_nothing(district: District, home: Home) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], "positive"))
    order = (await orders_of(district, [home.child]))[home.child]
    parent = district.caller("observation", Role.RESIDENT, residents=(home.adult, home.child))
    stranger = district.caller("observation", Role.RESIDENT, residents=(new_id(),))
    path = f"/observation/v1/orders/{order['id']}"
    assert {one["resident_id"] for one in (await parent.get("/observation/v1/orders")).json()["items"]} == {
        str(home.adult),
        str(home.child),
    }
    assert (await parent.get(f"{path}/plan")).status_code == 200
    assert (await stranger.get(path)).status_code == 404
    assert (await stranger.get("/observation/v1/orders")).json()["items"] == []
    assert (await parent.post(f"{path}/end")).status_code == 403
    for role in (Role.DESK_120, Role.DOORKEEPER, Role.LABORATORY):
        assert (await district.caller("observation", role).get(path)).status_code == 403


async def test_looking_at_people_is_audited(district: District, home: Home, officer: httpx.AsyncClient) -> None:
    await publish_to_observation(district, tube(new_id(), [home.case], "positive"))
    await officer.get("/observation/v1/orders")
    rows = await district.sql("SELECT kind, reason, subjects, operation FROM observation.audit ORDER BY seq")
    assert [(row["kind"], row["reason"], set(row["subjects"]), row["operation"]) for row in rows] == [
        ("restriction", "order.open", set(home.others), "feed testing"),
        ("look", "", set(home.others), "GET /observation/v1/orders"),
    ]
