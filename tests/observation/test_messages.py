"""O4: what the 120 desk and hospitals tell, in any order and more than once."""

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from shared.contracts.gateway import Message
from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.observation.feeds import dead_letters, message, publish_to_observation, published, referrals_of, tube


async def open_referral(district: District) -> UUID:
    who = new_id()
    await publish_to_observation(district, tube(new_id(), [who], "positive"))
    (row,) = await referrals_of(district, [who])
    id_: UUID = row["id"]
    return id_


def journey(referral_id: UUID, start: datetime) -> list[Message]:
    """A whole journey, and what has no place in it."""

    def at(minutes: int) -> dict[str, Any]:
        return {"at": start + timedelta(minutes=minutes)}

    return [
        message("referral.dispatched", referral_id, **at(-50)),
        message("referral.on_board", referral_id, **at(-40)),
        message("referral.handed_over", referral_id, hospital="hospital-one", **at(-30)),
        message("referral.handed_over", referral_id, source="hospital", hospital="hospital-one", **at(-29)),
        message("referral.left", referral_id, **at(-20)),
        message("referral.admitted", referral_id, source="hospital", **at(-10)),
        message("referral.confirmed", referral_id, source="hospital", **at(-5)),
        message("referral.ruled_out", referral_id, source="hospital", **at(-1)),
    ]


async def outcome(district: District, referral_id: UUID) -> tuple[Any, ...]:
    (row,) = await district.sql(
        """
        SELECT state, dispatched_at, on_board_at, handed_over_at, closed_at, hospital
        FROM observation.referrals WHERE id = $1
        """,
        referral_id,
    )
    messages = await district.sql(
        "SELECT kind, source, state, reason FROM observation.messages WHERE referral_id = $1 ORDER BY occurred_at",
        referral_id,
    )
    return tuple(row), [tuple(one) for one in messages]


@pytest.mark.parametrize("seed", range(12))
async def test_any_order_and_any_repetition_has_one_outcome(district: District, seed: int) -> None:
    chance = random.Random(seed)
    referral_id = await open_referral(district)
    start = clock.now()
    told = journey(referral_id, start)
    history = told + chance.sample(told, 4)
    chance.shuffle(history)
    while history:
        together = chance.randint(1, 4)
        await publish_to_observation(district, *history[:together])
        history = history[together:]
    (state, dispatched_at, on_board_at, handed_over_at, closed_at, hospital), messages = await outcome(
        district, referral_id
    )
    assert state == "confirmed"
    assert [
        round((start - when).total_seconds() / 60) for when in (dispatched_at, on_board_at, handed_over_at, closed_at)
    ] == [50, 40, 30, 5]
    assert hospital == "hospital-one"
    assert [(kind, kept, reason) for kind, _, kept, reason in messages] == [
        ("referral.dispatched", "applied", None),
        ("referral.on_board", "applied", None),
        ("referral.handed_over", "applied", None),
        ("referral.handed_over", "applied", None),
        ("referral.left", "rejected", "transition_forbidden"),
        ("referral.admitted", "applied", None),
        ("referral.confirmed", "applied", None),
        ("referral.ruled_out", "rejected", "referral_closed"),
    ]
    assert await dead_letters(district) == []


async def test_a_repetition_changes_and_publishes_nothing(district: District) -> None:
    referral_id = await open_referral(district)
    dispatched = message("referral.dispatched", referral_id)
    await publish_to_observation(district, dispatched)
    before = await published(district, "observation.referral.v1", referral_id)
    # The same event posted under another message id, which is another message.
    again = dispatched.model_copy(update={"id": new_id(), "message_id": "msg_again"})
    await publish_to_observation(district, dispatched, again)
    assert await published(district, "observation.referral.v1", referral_id) == before
    assert len(await district.sql("SELECT 1 FROM observation.messages WHERE state = 'applied'")) == 2


@pytest.mark.parametrize(
    ("kind", "values", "reason"),
    [
        ("referral.teleported", {}, "kind_unknown"),
        ("referral.cancel", {}, "kind_unknown"),
        ("referral.confirmed", {}, "wrong_sender"),
        ("referral.dispatched", {"source": "hospital"}, "wrong_sender"),
        ("referral.dispatched", {"source": "municipal"}, "wrong_sender"),
        ("referral.dispatched", {"ahead": 6}, "clock_ahead"),
        ("referral.dispatched", {"referral_id": "no uuid"}, "referral_missing"),
        ("referral.dispatched", {"referral_id": None}, "referral_missing"),
        ("referral.dispatched", {"referral_id": ["x"]}, "referral_missing"),
        ("referral.dispatched", {"referral_id": str(new_id())}, "referral_unknown"),
    ],
)
async def test_what_has_no_place_is_kept_and_seen(
    district: District, kind: str, values: dict[str, Any], reason: str
) -> None:
    referral_id = await open_referral(district)
    made = message(kind, referral_id, source=values.get("source", "desk_120"), hospital={"not": "text"})
    if "ahead" in values:
        ahead = made.received_at + timedelta(minutes=values["ahead"])
        made = made.model_copy(update={"occurred_at": ahead})
    if "referral_id" in values:
        made = made.model_copy(update={"data": {"referral_id": values["referral_id"]}})
    await publish_to_observation(district, made)
    command = district.caller("observation", Role.COMMAND)
    (seen,) = (await command.get("/observation/v1/messages", params={"state": "rejected"})).json()["items"]
    assert (seen["id"], seen["state"], seen["reason"]) == (str(made.id), "rejected", reason)
    assert (await command.get("/observation/v1/messages", params={"state": "applied"})).json()["items"] == []
    (row,) = await district.sql("SELECT state FROM observation.referrals")
    assert row["state"] == "reported"
    assert await dead_letters(district) == []


async def test_other_messages_have_other_readers(district: District) -> None:
    await publish_to_observation(district, message("list.published", new_id(), source="municipal"))
    assert await district.sql("SELECT 1 FROM observation.messages") == []
    assert await dead_letters(district) == []


async def test_messages_are_seen_within_the_scope_of_their_referral(district: District) -> None:
    referral_id = await open_referral(district)
    await publish_to_observation(district, message("referral.dispatched", referral_id, region="outside"))
    near = district.caller("observation", Role.COMMUNITY_OFFICER, scope="350582005001")
    far = district.caller("observation", Role.COMMUNITY_OFFICER, scope="350582005002")
    assert len((await near.get("/observation/v1/messages")).json()["items"]) == 1
    assert (await far.get("/observation/v1/messages")).json()["items"] == []
    assert (await district.caller("observation", Role.GRID_WORKER).get("/observation/v1/messages")).status_code == 403


@pytest.mark.parametrize("move", ["handed_over", "ruled_out", "admitted", "confirmed"])
async def test_a_hospital_tells_of_its_own_patients_only(district: District, move: str) -> None:
    referral_id = await open_referral(district)

    async def theirs() -> list[tuple[str, str | None]]:
        rows = await district.sql("SELECT state, reason FROM observation.messages WHERE source = 'hospital'")
        return [(row["state"], row["reason"]) for row in rows]

    # Nobody has brought the person anywhere: to name oneself is no way to a patient.
    told = message(f"referral.{move}", referral_id, source="hospital", party="hospital-two", hospital="hospital-two")
    await publish_to_observation(district, told)
    assert await theirs() == [("rejected", "not_their_patient")]
    await publish_to_observation(district, message("referral.handed_over", referral_id, hospital="hospital-one"))
    assert await theirs() == [("rejected", "not_their_patient")]
    (state, *_, hospital), _ = await outcome(district, referral_id)
    assert (state, hospital) == ("handed_over", "hospital-one")
    await publish_to_observation(
        district, message("referral.dispatched", referral_id, hospital="hospital-two", at=told.occurred_at)
    )
    assert await theirs() == [("applied", None)], "the desk's word, come late, makes it theirs"
    assert await dead_letters(district) == []


async def test_a_sender_reads_what_became_of_its_own_messages(district: District) -> None:
    told = [message("referral.arrived", new_id()), message("referral.left", new_id()), message("referral.left", "x")]
    foreign = message("referral.ruled_out", new_id(), source="hospital", party="hospital-one")
    await publish_to_observation(district, *told, foreign)
    desk = district.caller("observation", Role.DESK_120, scope="", party="desk_120")
    items = (await desk.get("/observation/v1/messages", params={"state": "rejected"})).json()["items"]
    assert {one["message_id"]: one["reason"] for one in items} == {
        told[0].message_id: "kind_unknown",
        told[1].message_id: "referral_unknown",
        told[2].message_id: "referral_missing",
    }
    for role, party in ((Role.DESK_120, "desk_other"), (Role.HOSPITAL, "desk_120")):
        other = district.caller("observation", role, scope="", party=party)
        assert (await other.get("/observation/v1/messages")).json()["items"] == []
