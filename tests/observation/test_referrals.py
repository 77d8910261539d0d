"""O4: fevers reported, one episode a person, its deadlines, and who sees it."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.observation.referrals.use_cases import mark_overdue
from shared.contracts.observation import Referral
from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.observation.feeds import (
    dead_letters,
    message,
    orders_of,
    publish,
    publish_to_observation,
    published,
    referrals_of,
    resident,
    tube,
)

REFERRALS = "/observation/v1/referrals"
COMMUNITY = "350582005001"


def fever(who: UUID, celsius: float = 38.4, region: str = COMMUNITY, **values: Any) -> dict[str, Any]:
    return {
        "resident_id": str(who),
        "region": region,
        "celsius": celsius,
        "symptoms": ["fever", "dry_cough"],
        "measured_at": clock.now().isoformat(),
        **values,
    }


@pytest.fixture
def doctor(district: District) -> httpx.AsyncClient:
    return district.caller("observation", Role.VILLAGE_DOCTOR, scope=COMMUNITY)


async def test_a_fever_is_reported_and_handed_to_120(district: District, doctor: httpx.AsyncClient) -> None:
    who = new_id()
    made = await doctor.post(REFERRALS, json=fever(who))
    assert made.status_code == 201, made.text
    referral = made.json()
    assert (referral["reason"], referral["state"], referral["evidence_id"]) == ("fever", "reported", None)
    assert (await doctor.get(made.headers["location"])).json() == referral
    desk = district.caller("observation", Role.DESK_120, scope="", party="desk_120")
    assert (await desk.get(made.headers["location"])).json() == referral
    readings = (await desk.get(f"{REFERRALS}/{referral['id']}/fevers")).json()["items"]
    assert [(one["celsius"], one["symptoms"], one["role"]) for one in readings] == [
        (38.4, ["dry_cough", "fever"], "village_doctor")
    ]
    (entry,) = await published(district, "observation.referral.v1", UUID(referral["id"]))
    assert (Referral.model_validate_json(entry["data"]).resident_id, entry["urgent"]) == (who, True)


@pytest.mark.parametrize(
    ("new", "code", "where"),
    [
        ({"celsius": 37.2}, "no_fever", "#/celsius"),
        ({"region": "350582004001"}, "outside_scope", "#/region"),
        ({"measured_at": "2199-01-01T00:00:00+08:00"}, "clock_ahead", "#/measured_at"),
        ({"celsius": 4.0}, "invalid_input", "#/celsius"),
        ({"symptoms": ["bad mood"]}, "invalid_input", "#/symptoms/0"),
        ({"measured_at": "2021-01-21T08:00:00"}, "invalid_input", "#/measured_at"),
        ({"name": "张三"}, "invalid_input", "#/name"),
    ],
)
async def test_what_cannot_be_a_fever_report(
    district: District, doctor: httpx.AsyncClient, new: dict[str, Any], code: str, where: str
) -> None:
    answer = await doctor.post(REFERRALS, json=fever(new_id()) | new)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["pointer"] == where
    assert await district.sql("SELECT 1 FROM observation.referrals") == []


async def test_the_limit_of_a_fever_is_the_protocols(doctor: httpx.AsyncClient) -> None:
    for celsius, status in ((37.2, 422), (37.24, 422), (37.26, 201), (37.3, 201)):
        assert (await doctor.post(REFERRALS, json=fever(new_id(), celsius))).status_code == status


@pytest.mark.parametrize(
    ("role", "values"),
    [
        (Role.HOSPITAL, {"scope": "350583", "party": "hospital-elsewhere"}),
        (Role.GRID_WORKER, {"scope": "350582005002"}),
        (Role.DOORKEEPER, {"scope": "350582005002"}),
    ],
    ids=["hospital", "grid_worker", "doorkeeper"],
)
async def test_who_may_not_see_an_episode_is_not_told_that_it_is_a_positives(
    district: District, role: Role, values: dict[str, str]
) -> None:
    who, place = new_id(), "350582005002"
    await publish_to_observation(district, resident(who, new_id()), tube(new_id(), [who], "positive"))
    told = (await district.caller("observation", role, **values).post(REFERRALS, json=fever(who, region=place))).json()
    (episode,) = await referrals_of(district, [who])
    assert (told["id"], told["state"]) == (str(episode["id"]), "reported")
    assert (told["reason"], told["evidence_type"], told["evidence_id"], told["region"]) == ("fever", None, None, place)


async def test_a_second_report_joins_the_open_episode(district: District, doctor: httpx.AsyncClient) -> None:
    who = new_id()
    first = (await doctor.post(REFERRALS, json=fever(who, 37.5))).json()
    elsewhere = district.caller("observation", Role.GRID_WORKER, scope="350582005002")
    second = await elsewhere.post(REFERRALS, json=fever(who, 39.0, "350582005002"))
    assert (second.status_code, second.json()) == (201, first | {"region": "350582005002"}), "also outside one's scope"
    assert (await elsewhere.get(f"{REFERRALS}/{first['id']}")).status_code == 404
    rows = await district.sql("SELECT celsius::float AS celsius FROM observation.fevers ORDER BY seq")
    assert [row["celsius"] for row in rows] == [37.5, 39.0]
    assert len(await published(district, "observation.referral.v1", UUID(first["id"]))) == 1


async def test_reports_at_once_are_one_episode(district: District) -> None:
    who = new_id()
    reporters = [
        district.caller("observation", role, scope=scope, party=party, subject=f"reporter-{number}")
        for number in range(3)
        for role, scope, party in (
            (Role.GRID_WORKER, COMMUNITY, ""),
            (Role.CHECKPOINT, "350582005002", "point-7"),
            (Role.HOSPITAL, "", "hospital-one"),
            (Role.VILLAGE_DOCTOR, "350582005003", ""),
        )
    ]
    regions = [COMMUNITY, "350582005002", COMMUNITY, "350582005003"] * 3
    answers = await asyncio.gather(
        *(
            reporter.post(REFERRALS, json=fever(who, region=region))
            for reporter, region in zip(reporters, regions, strict=True)
        )
    )
    assert [answer.status_code for answer in answers] == [201] * 12
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(await referrals_of(district, [who])) == 1
    assert len(await district.sql("SELECT 1 FROM observation.fevers")) == 12
    assert len(await published(district, "observation.referral.v1", UUID(answers[0].json()["id"]))) == 1


async def test_a_door_may_report_and_see_nothing(district: District) -> None:
    door = district.caller("observation", Role.DOORKEEPER, scope=COMMUNITY, party="point-1")
    made = await door.post(REFERRALS, json=fever(new_id()))
    assert made.status_code == 201, made.text
    assert (await door.get(REFERRALS)).status_code == 403
    for role in (Role.RESIDENT, Role.LABORATORY, Role.SUPERVISOR, Role.AUDITOR):
        caller = district.caller("observation", role, residents=(new_id(),))
        assert (await caller.post(REFERRALS, json=fever(new_id()))).status_code == 403


async def test_who_sees_a_referral(district: District, doctor: httpx.AsyncClient) -> None:
    who = new_id()
    referral = (await doctor.post(REFERRALS, json=fever(who))).json()
    path = f"{REFERRALS}/{referral['id']}"

    def caller(role: Role, **scope: Any) -> httpx.AsyncClient:
        return district.caller("observation", role, **scope)

    hospital = caller(Role.HOSPITAL, scope="", party="hospital-one")
    other = caller(Role.HOSPITAL, scope="", party="hospital-two")
    assert (await hospital.get(path)).status_code == 404
    await publish_to_observation(district, message("referral.handed_over", referral["id"], hospital="hospital-one"))
    assert (await hospital.get(path)).json()["state"] == "handed_over"
    assert len((await hospital.get(f"{path}/fevers")).json()["items"]) == 1
    assert (await other.get(path)).status_code == 404
    assert (await other.get(REFERRALS)).json()["items"] == []
    assert (await caller(Role.DESK_120, scope="", party="desk_other").get(path)).status_code == 404
    assert (await caller(Role.RESIDENT, residents=(who,)).get(path)).status_code == 200
    assert (await caller(Role.RESIDENT, residents=(new_id(),)).get(path)).status_code == 404
    assert (await caller(Role.COMMAND, scope="350582004").get(path)).status_code == 404
    assert (await hospital.post(f"{path}/cancel", json={"reason": "不需要"})).status_code == 403


async def test_a_hospital_sees_what_it_reported(district: District) -> None:
    hospital = district.caller("observation", Role.HOSPITAL, scope="", party="hospital-one")
    made = await hospital.post(REFERRALS, json=fever(new_id()))
    assert made.status_code == 201, made.text
    assert (await hospital.get(made.headers["location"])).json() == made.json()


async def test_a_positive_joins_an_open_fever_and_leaves_it_when_corrected(
    district: District, doctor: httpx.AsyncClient
) -> None:
    who, evidence = new_id(), new_id()
    referral = (await doctor.post(REFERRALS, json=fever(who))).json()
    await publish_to_observation(district, tube(evidence, [who], "positive"))
    shown = (await doctor.get(f"{REFERRALS}/{referral['id']}")).json()
    assert (shown["reason"], shown["evidence_id"], shown["state"]) == ("positive", str(evidence), "reported")
    await publish_to_observation(district, tube(evidence, [who], "negative", version=2))
    shown = (await doctor.get(f"{REFERRALS}/{referral['id']}")).json()
    assert (shown["reason"], shown["evidence_id"], shown["state"]) == ("fever", None, "reported")


async def test_a_fever_reported_of_a_positive_stays_when_the_positive_is_corrected(
    district: District, doctor: httpx.AsyncClient
) -> None:
    who, evidence = new_id(), new_id()
    await publish_to_observation(district, tube(evidence, [who], "positive"))
    joined = (await doctor.post(REFERRALS, json=fever(who))).json()
    assert joined["reason"] == "positive"
    await publish_to_observation(district, tube(evidence, [who], "negative", version=2))
    (row,) = await referrals_of(district, [who])
    assert (row["reason"], row["state"]) == ("fever", "reported")


async def test_on_board_the_hospital_decides_even_after_a_correction(district: District) -> None:
    who, evidence = new_id(), new_id()
    await publish_to_observation(district, tube(evidence, [who], "positive"))
    (row,) = await referrals_of(district, [who])
    await publish_to_observation(district, message("referral.on_board", row["id"]))
    await publish_to_observation(district, tube(evidence, [who], "negative", version=2))
    assert [one["state"] for one in await referrals_of(district, [who])] == ["on_board"]


async def test_cancelled_with_a_reason_before_anybody_is_on_board(
    district: District, doctor: httpx.AsyncClient
) -> None:
    who, evidence = new_id(), new_id()
    housemate, household = new_id(), new_id()
    await publish_to_observation(district, resident(who, household), resident(housemate, household))
    await publish_to_observation(district, tube(evidence, [who], "positive"))
    (row,) = await referrals_of(district, [who])
    path = f"{REFERRALS}/{row['id']}"
    assert (await doctor.post(f"{path}/cancel", json={})).json()["code"] == "invalid_input"
    done = await doctor.post(f"{path}/cancel", json={"reason": "已由医院接走"})
    assert (done.status_code, done.json()["state"]) == (200, "cancelled")
    standing = (await doctor.get(f"{path}/standing")).json()
    assert [standing[name] for name in ("state", "cancel_reason", "due_at")] == ["cancelled", "已由医院接走", None]
    again = await doctor.post(f"{path}/cancel", json={"reason": "已由医院接走"})
    assert (again.status_code, again.json()["code"]) == (409, "referral_ended")
    # Closed by people: the same positive opens no other, and the household stays under observation.
    await publish_to_observation(district, tube(evidence, [who], "positive", version=2))
    assert [one["state"] for one in await referrals_of(district, [who])] == ["cancelled"]
    assert set(await orders_of(district, [housemate])) == {housemate}
    # Another fever is another episode.
    other = (await doctor.post(REFERRALS, json=fever(who))).json()
    assert other["id"] != str(row["id"])


async def test_a_cancellation_by_mistake_is_taken_back(district: District, doctor: httpx.AsyncClient) -> None:
    who, evidence = new_id(), new_id()
    await publish_to_observation(district, tube(evidence, [who], "positive"))
    (row,) = await referrals_of(district, [who])
    path = f"{REFERRALS}/{row['id']}"
    still_open = await doctor.post(f"{path}/reopen")
    assert (still_open.status_code, still_open.json()["code"]) == (409, "referral_not_cancelled")
    await doctor.post(f"{path}/cancel", json={"reason": "选错了人"})
    await publish_to_observation(
        district, message("referral.dispatched", row["id"], at=clock.now() + timedelta(seconds=1))
    )
    again = await doctor.post(f"{path}/reopen")
    assert (again.status_code, again.json()["state"], again.json()["closed_at"]) == (200, "reported", None)
    assert again.json()["evidence_id"] == str(evidence)
    (kept,) = await referrals_of(district, [who])
    assert kept["due_at"] is not None
    await publish_to_observation(
        district, message("referral.handed_over", row["id"], at=clock.now() + timedelta(minutes=1))
    )
    shown = (await doctor.get(path)).json()
    assert shown["state"] == "handed_over"
    standing = (await doctor.get(f"{path}/standing")).json()
    assert (standing["since"], standing["cancel_reason"]) == (shown["handed_over_at"], None)
    stranger = district.caller("observation", Role.RESIDENT, residents=(new_id(),))
    assert (await stranger.get(f"{path}/standing")).status_code == 404
    assert shown["dispatched_at"] is not None, "what was told while it was cancelled counts after all"


@pytest.mark.parametrize("moves", [["handed_over"], ["on_board"], ["handed_over", "admitted"]], ids=" and ".join)
async def test_who_was_fetched_while_it_was_cancelled_is_not_asked_for_again(
    district: District, doctor: httpx.AsyncClient, moves: list[str]
) -> None:
    first = (await doctor.post(REFERRALS, json=fever(new_id()))).json()
    path = f"{REFERRALS}/{first['id']}"
    await doctor.post(f"{path}/cancel", json={"reason": "选错了人"})
    for number, move in enumerate(moves, 1):
        source = "hospital" if move == "admitted" else "desk_120"
        at = clock.now() + timedelta(seconds=number)
        await publish_to_observation(
            district, message(f"referral.{move}", first["id"], source=source, at=at, hospital="hospital-one")
        )
    assert (await doctor.get(path)).json()["state"] == "cancelled"
    again = await doctor.post(f"{path}/reopen")
    assert (again.status_code, again.json()["state"]) == (200, moves[-1])
    await doctor.post(f"{path}/cancel", json={"reason": "选错了人"})
    assert (await doctor.get(path)).json()["state"] == moves[-1]


async def test_what_was_taken_up_again_is_not_late_from_the_first_hour(
    district: District, doctor: httpx.AsyncClient
) -> None:
    first = (await doctor.post(REFERRALS, json=fever(new_id()))).json()
    path = f"{REFERRALS}/{first['id']}"
    await doctor.post(f"{path}/cancel", json={"reason": "选错了人"})
    district.move_clock(days=1)
    await doctor.post(f"{path}/reopen")
    since = (await doctor.get(f"{path}/standing")).json()
    await publish_to_observation(
        district, message("referral.dispatched", first["id"], source="hospital")
    )  # which is none of theirs
    assert (await doctor.get(f"{path}/standing")).json() == since


async def test_what_was_corrected_or_answered_meanwhile_is_not_reopened(
    district: District, doctor: httpx.AsyncClient
) -> None:
    who, evidence = new_id(), new_id()
    await publish_to_observation(district, tube(evidence, [who], "positive"))
    (row,) = await referrals_of(district, [who])
    await doctor.post(f"{REFERRALS}/{row['id']}/cancel", json={"reason": "选错了人"})
    await publish_to_observation(district, tube(evidence, [who], "negative", version=2))
    answer = await doctor.post(f"{REFERRALS}/{row['id']}/reopen")
    assert (answer.status_code, answer.json()["code"]) == (409, "referral_ground_gone")
    (kept,) = await referrals_of(district, [who])
    assert (kept["state"], kept["withdrawn"]) == ("cancelled", False)
    await publish_to_observation(district, tube(evidence, [who], "positive", version=3))
    assert (await doctor.post(f"{REFERRALS}/{row['id']}/reopen")).json()["state"] == "reported"


async def test_of_two_who_reopen_at_once_one_does(district: District, doctor: httpx.AsyncClient) -> None:
    first = (await doctor.post(REFERRALS, json=fever(new_id()))).json()
    await doctor.post(f"{REFERRALS}/{first['id']}/cancel", json={"reason": "选错了人"})
    answers = await asyncio.gather(*(doctor.post(f"{REFERRALS}/{first['id']}/reopen") for _ in range(2)))
    assert sorted(one.status_code for one in answers) == [200, 409]


async def test_what_a_correction_ended_or_another_fever_follows_is_not_reopened(
    district: District, doctor: httpx.AsyncClient
) -> None:
    who, evidence = new_id(), new_id()
    await publish_to_observation(district, tube(evidence, [who], "positive"))
    await publish_to_observation(district, tube(evidence, [who], "negative", version=2))
    (row,) = await referrals_of(district, [who])
    answer = await doctor.post(f"{REFERRALS}/{row['id']}/reopen")
    assert (answer.status_code, answer.json()["code"]) == (409, "referral_not_cancelled")
    first = (await doctor.post(REFERRALS, json=fever(who))).json()
    await doctor.post(f"{REFERRALS}/{first['id']}/cancel", json={"reason": "误报"})
    await doctor.post(REFERRALS, json=fever(who))
    other = await doctor.post(f"{REFERRALS}/{first['id']}/reopen")
    assert (other.status_code, other.json()["code"]) == (409, "referral_open")


async def test_on_board_nobody_cancels(district: District, doctor: httpx.AsyncClient) -> None:
    referral = (await doctor.post(REFERRALS, json=fever(new_id()))).json()
    await publish_to_observation(district, message("referral.on_board", referral["id"]))
    answer = await doctor.post(f"{REFERRALS}/{referral['id']}/cancel", json={"reason": "不去了"})
    assert (answer.status_code, answer.json()["code"]) == (409, "referral_under_way")


@pytest.mark.parametrize("attempt", range(6))
async def test_a_reaction_and_a_cancellation_at_once(
    district: District, doctor: httpx.AsyncClient, attempt: int
) -> None:
    """Whichever is first: one end, one truth, published as it is kept."""
    referral = (await doctor.post(REFERRALS, json=fever(new_id()))).json()
    path = f"{REFERRALS}/{referral['id']}"
    await publish(district, message("referral.on_board", referral["id"], at=clock.now()))

    async def cancel() -> httpx.Response:
        await asyncio.sleep(attempt * 0.004)
        return await doctor.post(f"{path}/cancel", json={"reason": "误报"})

    answer, _ = await asyncio.gather(cancel(), district.drain("observation"))
    shown = (await doctor.get(path)).json()
    (kept,) = await district.sql("SELECT state, reason FROM observation.messages")
    if answer.status_code == 200:
        assert (shown["state"], kept["state"]) == ("cancelled", "applied")
    else:
        assert (answer.status_code, answer.json()["code"]) == (409, "referral_under_way")
        assert (shown["state"], kept["state"]) == ("on_board", "applied")
    last = (await published(district, "observation.referral.v1", UUID(referral["id"])))[-1]
    assert Referral.model_validate_json(last["data"]).model_dump(mode="json") == shown
    assert await dead_letters(district) == []


@pytest.mark.parametrize("attempt", range(6))
async def test_a_report_and_a_positive_at_once_are_one_episode(
    district: District, doctor: httpx.AsyncClient, attempt: int
) -> None:
    who, evidence = new_id(), new_id()
    await publish(district, tube(evidence, [who], "positive"))

    async def report() -> httpx.Response:
        await asyncio.sleep(attempt * 0.004)
        return await doctor.post(REFERRALS, json=fever(who))

    answer, _ = await asyncio.gather(report(), district.drain("observation"))
    assert answer.status_code == 201, answer.text
    (row,) = await referrals_of(district, [who])
    assert (str(row["id"]), row["reason"], row["evidence_id"]) == (answer.json()["id"], "positive", evidence)
    assert await dead_letters(district) == []


async def test_a_stage_that_takes_too_long_raises_the_alarm_once(district: District, doctor: httpx.AsyncClient) -> None:
    context = district.contexts["observation"]
    referral = (await doctor.post(REFERRALS, json=fever(new_id()))).json()
    id_ = UUID(referral["id"])
    district.move_clock(minutes=14)
    assert await mark_overdue(context) == 0
    district.move_clock(minutes=16)
    assert (await mark_overdue(context), await mark_overdue(context)) == (1, 0)
    entries = await published(district, "observation.referral.v1", id_)
    assert [entry["change"] for entry in entries] == ["reported", "overdue"]
    assert Referral.model_validate_json(entries[-1]["data"]).overdue_at is not None
    late = (await doctor.get(REFERRALS, params={"overdue": True})).json()["items"]
    assert [one["id"] for one in late] == [referral["id"]]

    await publish_to_observation(district, message("referral.dispatched", id_, at=clock.now()))
    shown = (await doctor.get(f"{REFERRALS}/{id_}")).json()
    assert (shown["state"], shown["overdue_at"]) == ("dispatched", None), "the next stage has its own deadline"
    district.move_clock(minutes=16 + 61)
    assert await mark_overdue(context) == 1


async def test_who_left_without_transfer_is_an_alarm_at_once(district: District, doctor: httpx.AsyncClient) -> None:
    referral = (await doctor.post(REFERRALS, json=fever(new_id()))).json()
    left_at = clock.now()
    await publish_to_observation(district, message("referral.left", referral["id"], at=left_at))
    (row,) = await district.sql("SELECT state, overdue_at FROM observation.referrals")
    assert row["state"] == "left"
    assert abs(row["overdue_at"] - left_at) < timedelta(milliseconds=1)


async def test_a_closed_referral_never_alarms(district: District, doctor: httpx.AsyncClient) -> None:
    referral = (await doctor.post(REFERRALS, json=fever(new_id()))).json()
    await publish_to_observation(district, message("referral.admitted", referral["id"], source="hospital"))
    district.move_clock(days=3)
    assert await mark_overdue(district.contexts["observation"]) == 0


async def test_a_tube_for_one_person_that_holds_two_names_nobody_as_long_as_it_does(district: District) -> None:
    first, second, child, home, single = (new_id() for _ in range(5))
    await publish_to_observation(district, resident(first, home), resident(second, None), resident(child, home))
    await publish_to_observation(district, tube(single, [first, second], "positive"))
    assert await referrals_of(district, [first, second]) == []
    assert await orders_of(district, [child]) == {}
    await publish_to_observation(district, tube(single, [first], "positive", version=2))
    [referral] = await referrals_of(district, [first, second])
    assert (referral["resident_id"], referral["evidence_id"]) == (first, single)
    assert list(await orders_of(district, [child])) == [child]
    await publish_to_observation(district, tube(single, [first, second], "positive", version=3))
    assert await orders_of(district, [child]) == {}
    [referral] = await referrals_of(district, [first, second])
    assert (referral["state"], referral["closed_at"] is None) == ("cancelled", False)
