"""G7: what happens is told to others, signed, at least once, in order, and whoever is away misses nothing."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.gateway.webhooks import feeds, turn
from services.gateway.webhooks.delivery import Deliverer, deliver, forget_deliveries
from shared.actors import Role
from shared.contracts.registry import Region
from shared.contracts.resource import Resource
from tests.harness import District

REGION = "registry.region.v1"

Answer = Callable[[dict[str, Any]], Awaitable[int] | int]


@dataclass
class Receiver:
    """A receiver as others would write it: an HTTP server that verifies with the published library."""

    secrets: list[str] = field(default_factory=list)
    answer: Answer = lambda event: 204
    headers: str = ""
    body: bytes = b""
    got: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    bad: int = 0
    at_once: int = 0
    most_at_once: int = 0
    verifies: bool = True
    port: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, count: int) -> None:
        """Wait until so many events have come."""
        while len(self.got) < count:
            self.arrived.clear()
            await self.arrived.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def versions(self) -> list[int]:
        return [event["version"] for event in self.got]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            status = await self._take(headers, body)
        finally:
            self.at_once -= 1
        if status == 0:
            return False
        said = f"HTTP/1.1 {status} X\r\n{self.headers}content-length: {len(self.body)}\r\n\r\n".encode() + self.body
        writer.write(said)
        await writer.drain()
        return True

    async def _take(self, headers: dict[str, str], body: bytes) -> int:
        if self.verifies and not self._is_genuine(headers, body):
            self.bad += 1
            return 401
        event = json.loads(body)
        answered = self.answer(event)
        status = answered if isinstance(answered, int) else await answered
        if status in range(200, 300) or status == 0:
            self.got.append(event)
            self.ids.append(headers["webhook-id"])
            self.arrived.set()
        return status

    def _is_genuine(self, headers: dict[str, str], body: bytes) -> bool:
        for secret in self.secrets:
            try:
                Webhook(secret).verify(body, headers)
            except WebhookVerificationError:
                continue
            return True
        return False


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[Receiver]:
    """Let a receiver listen; on the same port as before, if it did."""
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", receiver.port)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for writer in list(receiver.writers):
            writer.transport.abort()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver()) as made:
        yield made


@pytest.fixture
def command(district: District) -> httpx.AsyncClient:
    return district.caller("gateway", Role.COMMAND)


@pytest.fixture
async def deliverer(district: District) -> AsyncIterator[Deliverer]:
    made = Deliverer(district.houses["gateway"])
    yield made
    await made.close()


async def endpoint(command: httpx.AsyncClient, receiver: Receiver, **changed: Any) -> dict[str, Any]:
    new = {"url": receiver.url, "types": [REGION], "region": "350582005", **changed}
    made = await command.post("/gateway/v1/webhooks", json=new)
    assert made.status_code == 201, made.text
    receiver.secrets.append(made.json()["secret"])
    return dict(made.json())


def region(id_: UUID | None = None, version: int = 1, code: str = "35058200500101") -> Region:
    return Region(id=id_ or uuid4(), version=version, region=code, name="一", level="patch")


async def publish(district: District, *resources: Resource, urgent: bool = False, owner: str = "registry") -> None:
    async with district.houses[owner].system_work() as work:
        work.publish_all(resources, change="tested", urgent=urgent)
    await district.until_served()


async def shown(command: httpx.AsyncClient, made: dict[str, Any]) -> dict[str, Any]:
    return dict((await command.get(f"/gateway/v1/webhooks/{made['id']}")).json())


async def deliveries(command: httpx.AsyncClient, made: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    return list((await command.get(f"/gateway/v1/webhooks/{made['id']}/deliveries", params=query)).json()["items"])


# All is well --------------------------------------------------------------------------------------------------------


async def test_an_event_arrives_signed_as_a_cloud_event(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    sent = region()
    await publish(district, sent)
    assert await deliverer.rest() == 1
    (event,) = receiver.got
    assert event["specversion"] == "1.0"
    assert (event["type"], event["subject"], event["version"]) == (REGION, str(sent.id), 1)
    assert event["data"] == json.loads(sent.model_dump_json())
    assert receiver.ids == [event["id"]] == [f"{REGION}/{sent.id}/1"]
    assert "cursor" not in event
    assert receiver.bad == 0
    (entry,) = await deliveries(command, made)
    assert (entry["state"], entry["attempts"], entry["last_status"]) == ("delivered", 1, 204)
    assert (await shown(command, made))["last_success_at"] is not None
    assert await deliverer.rest() == 0


async def test_only_what_was_asked_for_and_only_from_now_on(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    await publish(district, region())
    await district.settle()
    await district.sql(
        "INSERT INTO gateway.feed_cursors (owner, lane, cursor) "
        "SELECT 'registry', lane, (SELECT max(epoch)::text FROM registry.feed_epochs) || '.' "
        "|| pg_snapshot_xmin(pg_current_snapshot())::text || '.0' FROM unnest('{urgent,normal}'::text[]) AS lane "
        "ON CONFLICT (owner, lane) DO UPDATE SET cursor = excluded.cursor"
    )
    await endpoint(command, receiver, region="35058200500101")
    here, there = region(), region(code="35058200500199")
    await publish(district, here, there, region(code="350582004001"))
    await publish(district, here.model_copy(update={"version": 2}), urgent=True)
    await deliverer.rest()
    assert sorted(receiver.versions) == [1, 2]
    assert {event["subject"] for event in receiver.got} == {str(here.id)}


async def test_messages_of_our_own_are_told_too(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    from shared import clock
    from shared.contracts.gateway import Message

    now = clock.now()
    before, after = (
        Message(
            id=uuid4(), version=1, region="350582005", source="desk_120", message_id=name, kind="k",
            occurred_at=now, received_at=now, data={},
        )
        for name in ("before", "after")
    )  # fmt: skip
    await publish(district, before, owner="gateway")
    await endpoint(command, receiver, types=["gateway.message.v1", REGION])
    await publish(district, after, owner="gateway")
    await deliverer.rest()
    assert [event["data"]["message_id"] for event in receiver.got] == ["after"]


async def test_many_events_go_side_by_side_and_each_subjects_in_order(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    await endpoint(command, receiver)
    subjects = [uuid4() for _ in range(30)]
    for version in range(1, 21):
        await publish(district, *(region(one, version) for one in subjects))
    receiver.answer = lambda event: slowly(event, 0.002)
    assert await deliverer.rest() == 600
    assert 1 < receiver.most_at_once <= 8
    for one in subjects:
        versions = [event["version"] for event in receiver.got if event["subject"] == str(one)]
        assert versions == list(range(1, 21))


async def slowly(_: dict[str, Any], seconds: float, status: int = 204) -> int:
    await asyncio.sleep(seconds)
    return status


async def test_a_secret_is_changed_without_a_gap(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    old = receiver.secrets.pop()
    new = (await command.post(f"/gateway/v1/webhooks/{made['id']}/rotate")).json()["secret"]
    for secret in (old, new):
        receiver.secrets = [secret]
        await publish(district, region())
        await deliverer.rest()
    assert (len(receiver.got), receiver.bad) == (2, 0)
    kept = (await district.sql("SELECT secrets_sealed FROM gateway.webhook_endpoints"))[0][0]
    assert new.encode() not in kept


# The receiver fails -------------------------------------------------------------------------------------------------


async def test_a_lost_answer_is_sent_again_under_the_same_id(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    answers = iter([0])
    receiver.answer = lambda event: next(answers, 204)
    await publish(district, region())
    await deliverer.rest()
    assert (await shown(command, made))["failures"] == 1
    district.move_clock(seconds=2)
    await deliverer.rest()
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    assert (await shown(command, made))["failures"] == 0


async def test_a_receiver_that_is_down_misses_nothing_and_nothing_is_parked(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer
) -> None:
    receiver = Receiver()
    async with listening(receiver):
        made = await endpoint(command, receiver)
        await publish(district, *(region() for _ in range(5)))
        await deliverer.rest()
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
    receiver.headers = "retry-after: 7\r\n"
    await deliverer.rest()
    assert len(receiver.got) == 70
    assert await deliveries(command, made, state="parked") == []
    receiver.answer = lambda event: 204
    assert await deliverer.rest() == 0
    district.move_clock(seconds=6)
    assert await deliverer.rest() == 0
    district.move_clock(seconds=8)
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
    await publish(district, region(bad, 2), region(good, 2))
    await deliverer.rest()
    await publish(district, region(bad, 3))
    await deliverer.rest()
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
    assert nothing.json() == {"count": 0}
    again = await command.post(f"/gateway/v1/webhooks/{made['id']}/replay", json={"since": dead["created_at"]})
    assert again.json() == {"count": 1}
    await deliverer.rest()
    assert receiver.versions == [2, 1]
    assert [one["state"] for one in await deliveries(command, made)] == ["delivered", "delivered"]


async def test_replay_begins_after_a_place_in_the_list(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    receiver.answer = lambda event: 400
    await publish(district, *(region() for _ in range(4)))
    await deliverer.rest()
    path = f"/gateway/v1/webhooks/{made['id']}"
    cursor = (await command.get(f"{path}/deliveries", params={"limit": 3})).json()["next_cursor"]
    assert (await command.post(f"{path}/replay", json={"after": cursor})).json() == {"count": 1}
    assert (await command.post(f"{path}/replay", json={"after": "nonsense"})).json()["code"] == "invalid_cursor"
    assert (await command.post(f"{path}/replay", json={})).status_code == 422


async def test_an_event_it_hangs_on_does_not_look_like_an_endpoint_that_is_down(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver, monkeypatch
) -> None:
    from services.gateway.webhooks import sending

    monkeypatch.setattr(sending, "SECONDS", 0.5)
    made = await endpoint(command, receiver)
    poison = [region() for _ in range(4)]
    hanging = {str(one.id) for one in poison}
    receiver.answer = lambda event: slowly(event, 5) if event["subject"] in hanging else 204
    await publish(district, *poison, *(region() for _ in range(50)))
    await deliverer.rest()
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
    await publish(district, *(region() for _ in range(100)))
    await deliverer.rest()
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
    await publish(district, region())
    await deliverer.rest()
    state = await shown(command, made)
    assert (state["state"], state["disabled_reason"]) == ("disabled", "gone")
    receiver.answer = lambda event: 204
    await publish(district, region())
    assert await deliverer.rest() == 0
    assert (await command.post(f"/gateway/v1/webhooks/{made['id']}/enable")).json()["state"] == "enabled"
    assert await deliverer.rest() == 2


async def test_who_does_not_answer_for_five_days_is_switched_off(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer
) -> None:
    receiver = Receiver(port=9)
    made = await endpoint(command, receiver)
    await publish(district, region())
    await deliverer.rest()
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
    await publish(district, region())
    await deliverer.rest()
    (parked,) = await deliveries(command, made, state="parked")
    assert parked["last_status"] == 307
    receiver.answer = lambda event: 200
    receiver.body = bytes(50 << 20)
    await publish(district, region())
    began = time.monotonic()
    await deliverer.rest()
    assert len(receiver.got) == 1
    assert time.monotonic() - began < 3


async def test_with_too_much_parked_nothing_more_is_read(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver, monkeypatch
) -> None:
    monkeypatch.setattr(turn, "MOST_PARKED", 10)
    made = await endpoint(command, receiver)
    receiver.answer = lambda event: 400
    for _ in range(5):
        await publish(district, *(region() for _ in range(10)))
        await deliverer.rest()
    assert len(await deliveries(command, made, state="parked")) == 10
    assert (await shown(command, made))["last_error"] == "too_many_parked"
    receiver.answer = lambda event: 204
    district.move_clock(seconds=30)
    await deliverer.rest()
    assert len(receiver.got) == 50


# Workers fail -------------------------------------------------------------------------------------------------------


async def test_a_worker_killed_in_the_middle_leaves_nothing_out(
    district: District, command: httpx.AsyncClient, receiver: Receiver
) -> None:
    await endpoint(command, receiver)
    sent = [region() for _ in range(400)]
    await publish(district, *sent)
    first = Deliverer(district.houses["gateway"])
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
    second = Deliverer(district.houses["gateway"])
    assert await second.rest() == 0
    await district.sql("UPDATE gateway.webhook_endpoints SET leased_until = now() - interval '1 second'")
    await second.rest()
    assert {event["subject"] for event in receiver.got} == {str(one.id) for one in sent}
    assert len(receiver.got) - len(sent) <= feeds.BATCH  # at least once, and no more than a batch twice
    for one in (first, second):
        await one.close()


async def test_two_workers_share_the_endpoints(
    district: District, command: httpx.AsyncClient, receiver: Receiver
) -> None:
    for _ in range(3):
        await endpoint(command, receiver)
    await publish(district, *(region() for _ in range(100)))
    workers = [Deliverer(district.houses["gateway"]) for _ in range(2)]
    await asyncio.gather(*(worker.rest() for worker in workers))
    assert len(receiver.got) == 300
    for worker in workers:
        await worker.close()


async def test_one_that_hangs_slows_no_other(
    district: District, command: httpx.AsyncClient, receiver: Receiver
) -> None:
    slow = Receiver(answer=lambda event: slowly(event, 30))
    async with listening(slow):
        await endpoint(command, slow)
        await endpoint(command, receiver)
        woken = asyncio.Event()
        task = asyncio.create_task(deliver(district.houses["gateway"], woken))
        for _ in range(5):
            began = time.monotonic()
            await publish(district, region())
            woken.set()
            await receiver.until(len(receiver.got) + 1)
            assert time.monotonic() - began < 3
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(receiver.got) == 5
    assert await district.sql("SELECT 1 FROM gateway.webhook_endpoints WHERE lease IS NOT NULL") == []


async def test_an_owner_that_is_away_slows_no_other(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver, monkeypatch
) -> None:
    await endpoint(command, receiver, types=[REGION, "testing.tube.v1"])
    await publish(district, region())
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False) as nowhere:
        with monkeypatch.context() as away:
            away.setitem(district.houses["gateway"].peers._clients, "testing", nowhere)
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
    await publish(district, region())
    await deliverer.rest()
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
    read = feeds.read

    async def counting(*given: Any, **options: Any) -> feeds.Batch:
        asked.append(given[2])
        return await read(*given, **options)

    monkeypatch.setattr(feeds, "read", counting)
    assert await deliverer.look() == []
    assert sorted(asked) == ["normal", "urgent"]
    # What nobody wrote down is written down before retention could overtake it.
    monkeypatch.setattr(feeds, "IDLE_MOVE_SECONDS", 0)
    await district.sql("SELECT pg_current_xact_id()")
    before = await district.sql("SELECT cursor FROM gateway.webhook_cursors")
    await deliverer.look()
    assert await district.sql("SELECT cursor FROM gateway.webhook_cursors") != before
    await publish(district, region())
    await deliverer.rest()
    assert len(receiver.got) == 20


async def test_old_entries_of_the_log_are_removed(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    receiver.answer = lambda event: 400 if event["data"]["name"] == "二" else 204
    await publish(district, region(), region().model_copy(update={"name": "二"}))
    await deliverer.rest()
    district.move_clock(days=8)
    await forget_deliveries(district.houses["gateway"])
    assert [one["state"] for one in await deliveries(command, made)] == ["parked"]


# Who may ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"url": "ftp://example.cn/x"}, "url_not_http"),
        ({"url": "file:///etc/passwd"}, "url_not_http"),
        ({"url": "http:///x"}, "url_not_http"),
        ({"url": "http://a:99999/"}, "url_not_http"),
        ({"url": "http://[::1/"}, "url_not_http"),
        ({"url": "https://user:secret@example.cn/"}, "url_with_credentials"),
        ({"url": "https://@example.cn/"}, "url_with_credentials"),
        ({"url": "https://example.cn/#x"}, "url_with_credentials"),
        ({"url": "https://example.cn/a b"}, "string_pattern_mismatch"),
        ({"types": ["testing.nothing.v1"]}, "type_unknown"),
        ({"types": []}, "too_short"),
        ({"region": "35~"}, "string_pattern_mismatch"),
    ],
)
async def test_an_endpoint_that_makes_no_sense(
    command: httpx.AsyncClient, receiver: Receiver, changed: dict[str, Any], code: str
) -> None:
    new = {"url": receiver.url, "types": [REGION], "region": "350582005", **changed}
    answer = await command.post("/gateway/v1/webhooks", json=new)
    assert answer.status_code == 422
    assert [error["code"] for error in answer.json()["errors"]] == [code]


async def test_nobody_is_told_of_what_lies_outside_their_region(
    district: District, command: httpx.AsyncClient, receiver: Receiver
) -> None:
    for scope in ("", "350582", "350582004"):
        new = {"url": receiver.url, "types": [REGION], "region": scope}
        assert (await command.post("/gateway/v1/webhooks", json=new)).json()["code"] == "region_outside"
    made = await endpoint(command, receiver)
    others: Sequence[httpx.AsyncClient] = (
        district.caller("gateway", Role.COMMAND, scope="350582004"),
        district.caller("gateway", Role.MUNICIPAL, party="city"),
    )
    for other in others:
        assert (await other.get(f"/gateway/v1/webhooks/{made['id']}")).status_code == 404
        assert (await other.get(f"/gateway/v1/webhooks/{made['id']}/deliveries")).status_code == 404
        assert (await other.delete(f"/gateway/v1/webhooks/{made['id']}")).status_code == 404
        assert (await other.get("/gateway/v1/webhooks")).json()["items"] == []
    assert (await district.caller("gateway", Role.SAMPLER).get("/gateway/v1/webhooks")).status_code == 403


async def test_a_machine_has_endpoints_of_its_own_party(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    city = district.caller("gateway", Role.MUNICIPAL, party="city", scope="350582")
    made = await endpoint(city, receiver, region="350582")
    await publish(district, region())
    await deliverer.rest()
    assert [one["state"] for one in await deliveries(city, made)] == ["delivered"]
    other = district.caller("gateway", Role.MUNICIPAL, party="other", scope="350582")
    assert (await other.get(f"/gateway/v1/webhooks/{made['id']}")).status_code == 404
    assert (await city.get("/gateway/v1/webhooks")).json()["items"][0]["id"] == made["id"]
    assert "secret" not in (await city.get(f"/gateway/v1/webhooks/{made['id']}")).json()
    assert (await city.delete(f"/gateway/v1/webhooks/{made['id']}")).status_code == 204
    assert await district.sql("SELECT 1 FROM gateway.webhook_cursors") == []
    assert await district.sql("SELECT 1 FROM gateway.webhook_deliveries") == []


async def test_disabled_means_nothing_is_sent(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    await command.post(f"/gateway/v1/webhooks/{made['id']}/disable")
    await publish(district, region())
    assert await deliverer.rest() == 0
    await command.post(f"/gateway/v1/webhooks/{made['id']}/enable")
    assert await deliverer.rest() == 1
