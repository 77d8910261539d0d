"""G7: a receiver that fails, refuses or hangs misses nothing, and stops nobody else."""

from typing import Any
from uuid import uuid4

import httpx

from services.gateway.webhooks import session
from tests.gateway.receivers import (
    Deliverer,
    Receiver,
    deliveries,
    endpoint,
    listening,
    publish,
    publish_and_deliver,
    region,
    shown,
    slowly,
)
from tests.harness import District
from tests.until import until


async def test_a_lost_answer_is_sent_again_under_the_same_id(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    answers = iter([0])
    receiver.answer = lambda event: next(answers, 204)
    await publish_and_deliver(district, deliverer, region())
    assert (await shown(command, made))["failures"] == 1
    district.move_clock(seconds=2)
    assert (await shown(command, made))["last_error"] is not None
    await deliverer.rest()
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    state = await shown(command, made)
    assert (state["failures"], state["last_error"]) == (0, None)


async def test_a_receiver_that_is_down_misses_nothing_and_nothing_is_parked(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer
) -> None:
    receiver = Receiver()
    async with listening(receiver):
        made = await endpoint(command, receiver)
        await publish_and_deliver(district, deliverer, *(region() for _ in range(5)))
    later = [region() for _ in range(300)]
    await publish(district, *later)
    for tries in range(1, 4):
        assert await deliverer.rest() <= 16
        district.move_clock(seconds=1_000 * tries)
    state = await shown(command, made)
    assert (state["state"], state["failures"], state["last_error"]) == ("enabled", 3, "ConnectError")
    assert await deliveries(command, made, state="parked") == []
    async with listening(receiver):
        receiver.verifies = False  # its clock did not move with ours
        await deliverer.rest()
    assert {event["subject"] for event in receiver.got[5:]} == {str(one.id) for one in later}
    assert len(receiver.got) == 305
    assert (await shown(command, made))["failing_since"] is None


async def test_one_that_goes_down_in_between_goes_on_where_it_was(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    await publish(district, *(region() for _ in range(150)))
    receiver.answer = lambda event: 503 if len(receiver.got) >= 70 else 204
    receiver.headers = "retry-after: 200\r\n"
    await deliverer.rest()
    assert len(receiver.got) == 70
    assert await deliveries(command, made, state="parked") == []
    receiver.answer = lambda event: 204
    assert await deliverer.rest() == 0
    district.move_clock(seconds=100)
    assert await deliverer.rest() == 0
    district.move_clock(seconds=201)
    await deliverer.rest()
    # What was taken is not sent again, although the cursor could not go beyond what was not.
    assert len(receiver.got) == len(set(receiver.ids)) == 150


async def test_what_is_refused_is_parked_with_all_behind_it_and_stops_nothing_else(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    bad, good = uuid4(), uuid4()
    receiver.answer = lambda event: 422 if event["subject"] == str(bad) else 204
    await publish(district, region(bad, 1), region(good, 1))
    await publish_and_deliver(district, deliverer, region(bad, 2), region(good, 2))
    await publish_and_deliver(district, deliverer, region(bad, 3))
    assert receiver.versions == [1, 2]
    parked = await deliveries(command, made, state="parked")
    assert [(one["event_version"], one["attempts"], one["last_status"]) for one in parked] == [
        (1, 1, 422),
        (2, 0, None),
        (3, 0, None),
    ]
    assert (await shown(command, made))["failures"] == 0
    receiver.answer = lambda event: 204
    assert await deliverer.rest() == 0
    district.move_clock(seconds=10)
    await deliverer.rest()
    assert [e["version"] for e in receiver.got if e["subject"] == str(bad)] == [1, 2, 3]
    assert await deliveries(command, made, state="parked") == []


async def test_an_event_is_given_up_after_three_days_and_can_be_replayed(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    receiver.verifies = False
    tries: list[int] = []

    def refuse(event: dict[str, Any]) -> int:
        tries.append(event["version"])
        return 400 if event["version"] == 1 else 204

    receiver.answer = refuse
    one = uuid4()
    await publish(district, region(one, 1))
    await publish(district, region(one, 2))
    for hours in range(100):
        district.move_clock(hours=hours)
        await deliverer.rest()
    assert tries == [1] * 10 + [2]
    (dead,) = await deliveries(command, made, state="dead")
    assert (dead["attempts"], dead["last_status"], dead["next_attempt_at"]) == (10, 400, None)
    receiver.answer = lambda event: 204
    nothing = await command.post(f"/gateway/v1/webhooks/{made['id']}/replay", json={"since": "2100-01-01T00:00:00Z"})
    assert nothing.json() == {"count": 0, "next_cursor": None}
    again = await command.post(
        f"/gateway/v1/webhooks/{made['id']}/replay", json={"since": dead["created_at"], "states": ["dead"]}
    )
    assert again.json()["count"] == 1
    await deliverer.rest()
    assert receiver.versions == [2, 1]
    assert [one["state"] for one in await deliveries(command, made)] == ["delivered", "delivered"]


async def test_replay_begins_after_a_place_in_the_list(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    receiver.answer = lambda event: 400
    await publish_and_deliver(district, deliverer, *(region() for _ in range(4)))
    path = f"/gateway/v1/webhooks/{made['id']}"
    cursor = (await command.get(f"{path}/deliveries", params={"limit": 3})).json()["next_cursor"]
    assert (await command.post(f"{path}/replay", json={"after": cursor})).json()["count"] == 1
    assert (await command.post(f"{path}/replay", json={"after": "nonsense"})).json()["code"] == "invalid_cursor"
    assert (await command.post(f"{path}/replay", json={})).status_code == 422


async def test_an_event_it_hangs_on_does_not_look_like_an_endpoint_that_is_down(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver, monkeypatch
) -> None:
    from services.gateway.webhooks import events

    monkeypatch.setattr(events, "SECONDS", 2)
    made = await endpoint(command, receiver)
    poison = [region() for _ in range(4)]
    hanging = {str(one.id) for one in poison}
    receiver.answer = lambda event: slowly(event, 60) if event["subject"] in hanging else 204
    await publish_and_deliver(district, deliverer, *poison, *(region() for _ in range(50)))
    assert len(receiver.got) == 50
    parked = await deliveries(command, made, state="parked")
    assert {(one["subject"], one["last_error"]) for one in parked} == {(one, "timeout") for one in hanging}
    assert (await shown(command, made))["failures"] == 0


async def test_a_broken_receiver_is_left_alone_for_a_while(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    tries: list[str] = []
    receiver.answer = lambda event: tries.append(event["id"]) or 500
    await publish_and_deliver(district, deliverer, *(region() for _ in range(100)))
    assert 20 <= len(tries) <= 28
    assert (await shown(command, made))["failures"] == 1
    receiver.answer = lambda event: 204
    district.move_clock(seconds=20)
    await deliverer.rest()
    assert len(receiver.got) == 100


async def test_gone_ends_it_until_it_is_enabled_again(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    receiver.answer = lambda event: 410
    await publish_and_deliver(district, deliverer, region())
    state = await shown(command, made)
    assert (state["state"], state["disabled_reason"]) == ("disabled", "gone")
    receiver.answer = lambda event: 204
    assert await publish_and_deliver(district, deliverer, region()) == 0
    assert (await command.post(f"/gateway/v1/webhooks/{made['id']}/enable")).json()["state"] == "enabled"
    assert await deliverer.rest() == 2


async def test_who_does_not_answer_for_five_days_is_switched_off(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer
) -> None:
    receiver = Receiver(port=9)
    made = await endpoint(command, receiver)
    await publish_and_deliver(district, deliverer, region())
    district.move_clock(days=4, hours=23)
    await deliverer.rest()
    assert (await shown(command, made))["state"] == "enabled"
    district.move_clock(days=5, hours=1)
    await deliverer.rest()
    state = await shown(command, made)
    assert (state["state"], state["disabled_reason"]) == ("disabled", "unreachable")


async def test_redirects_are_not_followed_and_long_answers_not_read(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    receiver.headers = f"location: {receiver.url}/elsewhere\r\n"
    receiver.answer = lambda event: 307
    await publish_and_deliver(district, deliverer, region())
    (parked,) = await deliveries(command, made, state="parked")
    assert parked["last_status"] == 307
    receiver.answer = lambda event: 200
    receiver.body = bytes(50 << 20)
    await publish(district, region())
    await deliverer.rest()
    assert len(receiver.got) == 1
    await until(lambda: receiver.cut_off)  # while it was still telling


async def test_with_too_much_parked_nothing_more_is_read(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver, monkeypatch
) -> None:
    monkeypatch.setattr(session, "MOST_WAITING", 10)
    made = await endpoint(command, receiver)
    receiver.answer = lambda event: 400
    for _ in range(5):
        await publish_and_deliver(district, deliverer, *(region() for _ in range(10)))
    assert len(await deliveries(command, made, state="parked")) == 10
    assert (await shown(command, made))["last_error"] == "too_many_parked"
    receiver.answer = lambda event: 204
    district.move_clock(seconds=30)
    await deliverer.rest()
    assert len(receiver.got) == 50
