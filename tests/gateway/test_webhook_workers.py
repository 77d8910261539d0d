"""G7: workers that die or hang leave nothing out and slow nobody."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from services.gateway.webhooks import delivery, events
from services.gateway.webhooks.delivery import deliver, forget_deliveries
from tests.gateway.receivers import (
    REGION,
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


async def test_a_worker_killed_in_the_middle_leaves_nothing_out(
    district: District, command: httpx.AsyncClient, receiver: Receiver
) -> None:
    await endpoint(command, receiver)
    sent = [region() for _ in range(400)]
    await publish(district, *sent)
    first = Deliverer(district.contexts["gateway"])
    receiver.answer = lambda event: slowly(event, 0.002)
    (due,) = await first.look()
    task = asyncio.create_task(first.serve(due))
    await receiver.until(250)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    # A killed one would not let go: its lease runs out by itself.
    await district.sql(
        "UPDATE gateway.webhook_endpoints SET lease = $1, leased_until = now() + interval '1 hour'", first.lease
    )
    second = Deliverer(district.contexts["gateway"])
    assert await second.rest() == 0
    await district.sql("UPDATE gateway.webhook_endpoints SET leased_until = now() - interval '1 second'")
    await second.rest()
    assert {event["subject"] for event in receiver.got} == {str(one.id) for one in sent}
    assert len(receiver.got) - len(sent) <= events.BATCH  # at least once, and no more than a batch twice
    for one in (first, second):
        await one.close()


async def test_two_workers_share_the_endpoints(
    district: District, command: httpx.AsyncClient, receiver: Receiver
) -> None:
    for _ in range(3):
        await endpoint(command, receiver)
    await publish(district, *(region() for _ in range(100)))
    workers = [Deliverer(district.contexts["gateway"]) for _ in range(2)]
    await asyncio.gather(*(worker.rest() for worker in workers))
    assert len(receiver.got) == 300
    for worker in workers:
        await worker.close()


async def test_one_that_hangs_slows_no_other(
    district: District, command: httpx.AsyncClient, receiver: Receiver, monkeypatch
) -> None:
    monkeypatch.setattr(events, "SECONDS", 300)
    slow = Receiver(answer=lambda event: slowly(event, 300))
    async with listening(slow):
        await endpoint(command, slow)
        await endpoint(command, receiver)
        woken = asyncio.Event()
        task = asyncio.create_task(deliver(district.contexts["gateway"], woken))
        for _ in range(5):
            await publish(district, region())
            woken.set()
            async with asyncio.timeout(60):
                await receiver.until(len(receiver.got) + 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(receiver.got) == 5
    assert await district.sql("SELECT 1 FROM gateway.webhook_endpoints WHERE lease IS NOT NULL") == []


@pytest.mark.parametrize(
    ("owner", "type_name"), [("testing", "testing.tube.v1"), ("observation", "observation.order.v1")]
)
async def test_an_owner_that_is_away_slows_no_other(
    district: District,
    command: httpx.AsyncClient,
    deliverer: Deliverer,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    owner: str,
    type_name: str,
) -> None:
    await endpoint(command, receiver, types=[REGION, type_name])
    await publish(district, region())
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False) as nowhere:
        with monkeypatch.context() as away:
            away.setitem(district.contexts["gateway"].service_clients._clients, owner, nowhere)
            await deliverer.rest()
    assert len(receiver.got) == 1


async def test_what_retention_dropped_is_said_and_skipped(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    await district.sql(
        "INSERT INTO registry.feed_floor (epoch, xid, seq) SELECT max(epoch), pg_current_xact_id(), 1 "
        "FROM registry.feed_epochs"
    )
    await deliverer.rest()
    assert (await shown(command, made))["gap_at"] is not None
    await publish_and_deliver(district, deliverer, region())
    assert len(receiver.got) == 1


async def test_idle_endpoints_are_looked_after_together(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver, monkeypatch
) -> None:
    made = [await endpoint(command, receiver) for _ in range(4)]
    for number in range(4):
        await publish(district, region())
        if number:
            await command.post(f"/gateway/v1/webhooks/{made[number]['id']}/disable")
        await deliverer.rest()
        await command.post(f"/gateway/v1/webhooks/{made[number]['id']}/enable")
    await deliverer.rest()
    assert len(receiver.got) == 16
    assert await deliverer.look() == []
    asked: list[str] = []
    read = events.read

    async def counting(*given: Any, **options: Any) -> events.Batch:
        asked.append(given[1].lane)
        return await read(*given, **options)

    monkeypatch.setattr(events, "read", counting)
    assert await deliverer.look() == []
    assert sorted(asked) == ["normal", "urgent"]
    # What nobody wrote down is written down before retention could overtake it.
    monkeypatch.setattr(delivery, "IDLE", timedelta())
    await district.sql("SELECT pg_current_xact_id()")
    await district.until_served()
    before = await district.sql("SELECT cursor FROM gateway.webhook_cursors")
    await deliverer.look()
    assert await district.sql("SELECT cursor FROM gateway.webhook_cursors") != before
    await publish_and_deliver(district, deliverer, region())
    assert len(receiver.got) == 20


async def test_old_entries_of_the_log_are_removed(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    receiver.answer = lambda event: 400 if event["data"]["name"] == "二" else 204
    await publish_and_deliver(district, deliverer, region(), region().model_copy(update={"name": "二"}))
    district.move_clock(days=8)
    await forget_deliveries(district.contexts["gateway"])
    assert [one["state"] for one in await deliveries(command, made)] == ["parked"]
