"""G7: what happens is told to others, signed, at least once, in order, to those who may know."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4, uuid5

import httpx
import jsonschema
import pytest

from services.gateway.webhooks import use_cases
from services.gateway.webhooks.events import Origin
from shared.contracts.asyncapi import asyncapi
from shared.core import clock
from shared.core.actors import Role
from tests.gateway.receivers import (
    REGION,
    Deliverer,
    Receiver,
    deliveries,
    endpoint,
    publish,
    publish_and_deliver,
    region,
    shown,
    slowly,
)
from tests.harness import District


async def test_an_event_arrives_signed_as_a_cloud_event(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    sent = region()
    assert await publish_and_deliver(district, deliverer, sent) == 1
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
    await publish_and_deliver(district, deliverer, here.model_copy(update={"version": 2}), urgent=True)
    assert sorted(receiver.versions) == [1, 2]
    assert {event["subject"] for event in receiver.got} == {str(here.id)}


async def test_messages_of_our_own_are_told_too(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    from shared.contracts.gateway import Message
    from shared.core import clock

    now = clock.now()
    before, after = (
        Message(
            id=uuid4(), version=1, region="350582005", source="desk_120", party="desk_120", message_id=name, kind="k",
            occurred_at=now, received_at=now, data={},
        )
        for name in ("before", "after")
    )  # fmt: skip
    await publish(district, before, owner="gateway")
    await endpoint(command, receiver, types=["gateway.message.v1", REGION])
    await publish_and_deliver(district, deliverer, after, owner="gateway")
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


async def test_a_secret_is_changed_without_a_gap(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver)
    old = receiver.secrets.pop()
    new = (await command.post(f"/gateway/v1/webhooks/{made['id']}/rotate")).json()["secret"]
    for secret in (old, new):
        receiver.secrets = [secret]
        await publish_and_deliver(district, deliverer, region())
    assert (len(receiver.got), receiver.bad) == (2, 0)
    kept = (await district.sql("SELECT secrets_sealed FROM gateway.webhook_endpoints"))[0][0]
    assert new.encode() not in kept


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
    await publish_and_deliver(district, deliverer, region())
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
    assert await publish_and_deliver(district, deliverer, region()) == 0
    await command.post(f"/gateway/v1/webhooks/{made['id']}/enable")
    assert await deliverer.rest() == 1


async def test_events_name_their_installation_and_a_schema_that_is_served(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver, outside: httpx.AsyncClient
) -> None:
    await endpoint(command, receiver)
    await publish_and_deliver(district, deliverer, region())
    (event,) = receiver.got
    ((installation,),) = await district.sql("SELECT id FROM gateway.installation")
    assert event["source"] == uuid5(installation, "registry").urn
    address = urlsplit(event["dataschema"])
    assert f"{address.scheme}://{address.netloc}" == district.contexts["gateway"].settings.issuer_url
    answer = await outside.get(address.path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/schema+json")
    assert answer.json()["$id"] == event["dataschema"]
    jsonschema.validate(event["data"], answer.json())
    assert (await outside.get("/schemas/registry.nothing.v1.json")).status_code == 404
    attributes = asyncapi()["components"]["messages"][REGION]["payload"]["required"]
    assert event.keys() >= set(attributes)


def test_an_installation_with_an_address_is_named_by_it() -> None:
    origin = Origin("https://fangxian.example.cn", "https://fangxian.example.cn", uuid4())
    assert origin.source("testing") == "https://fangxian.example.cn/testing"
    other = Origin("http://127.0.0.1:8000", "", uuid4())
    assert other.source("testing") != Origin("http://127.0.0.1:8000", "", uuid4()).source("testing")


async def test_what_was_delivered_is_sent_again_by_time_type_and_region(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    made = await endpoint(command, receiver, types=[REGION, "registry.proxy.v1"])
    path = f"/gateway/v1/webhooks/{made['id']}/replay"
    one = uuid4()
    await publish_and_deliver(district, deliverer, region(code="35058200500201"))
    for version in (1, 2, 3):
        await publish_and_deliver(district, deliverer, region(one, version))
    entries = await deliveries(command, made)
    since = next(entry["created_at"] for entry in entries if entry["event_version"] == 2)
    ids = list(receiver.ids)

    async def again(**asked: Any) -> list[str]:
        receiver.got.clear()
        receiver.ids.clear()
        answer = await command.post(path, json=asked)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"count": await deliverer.rest(), "next_cursor": None}
        return list(receiver.ids)

    assert await again(since="2021-01-01T00:00:00Z") == ids
    assert receiver.bad == 0
    assert await again(since="2021-01-01T00:00:00Z", region="350582005002") == ids[:1]
    assert await again(since=since, types=[REGION]) == ids[2:]
    assert await again(since=since, types=["registry.proxy.v1"]) == []
    assert await again(since=since, states=["dead", "parked"]) == []
    refused = await command.post(path, json={"since": since, "types": ["testing.nothing.v1"]})
    assert refused.json()["errors"][0]["code"] == "type_unknown"


async def test_a_replay_goes_on_where_the_last_one_ended_and_keeps_the_order(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver, monkeypatch
) -> None:
    monkeypatch.setattr(use_cases, "MOST_REPLAYED", 2)
    made = await endpoint(command, receiver)
    path = f"/gateway/v1/webhooks/{made['id']}/replay"
    one = uuid4()
    for version in range(1, 6):
        await publish_and_deliver(district, deliverer, region(one, version))
    receiver.got.clear()
    # The first is not taken: what follows waits behind it, also what is replayed later and what is new.
    receiver.answer = lambda event: 422 if event["version"] == 1 else 204
    asked: dict[str, Any] = {"since": "2021-01-01T00:00:00Z"}
    counts = []
    while asked:
        answer = (await command.post(path, json=asked)).json()
        counts.append(answer["count"])
        await deliverer.rest()
        asked = {"after": answer["next_cursor"]} if answer["next_cursor"] else {}
    await publish_and_deliver(district, deliverer, region(one, 6))
    assert (counts, receiver.got) == ([2, 2, 1], [])
    receiver.answer = lambda event: 204
    receiver.verifies = False  # its clock does not move with ours
    district.move_clock(hours=2)
    await deliverer.rest()
    assert receiver.versions == [1, 2, 3, 4, 5, 6]


async def test_an_urgent_event_may_overtake_an_ordinary_one_of_its_subject(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    """As docs/integrating.md says: a reader keeps the highest version."""
    await endpoint(command, receiver)
    one = uuid4()
    await publish(district, region(one, 1))
    await publish_and_deliver(district, deliverer, region(one, 2), urgent=True)
    assert receiver.versions == [2, 1]


async def test_an_endpoint_ends_with_the_rights_of_its_owner(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    whole = district.caller("gateway", Role.COMMAND, scope="")
    new = {"client_id": "city-1", "kind": "machine", "name": "市平台", "region": "350582005"}
    client = (await whole.post("/gateway/v1/clients", json=new | {"role": "municipal", "party": "city"})).json()
    city = district.caller("gateway", Role.MUNICIPAL, party="city", subject="client:city-1")
    made = await endpoint(city, receiver)
    await publish_and_deliver(district, deliverer, region())
    assert (await whole.post(f"/gateway/v1/clients/{client['id']}/revoke")).status_code == 200
    assert await publish_and_deliver(district, deliverer, region()) == 0
    assert len(receiver.got) == 1
    state = await shown(city, made)
    assert (state["state"], state["disabled_reason"]) == ("disabled", "owner_gone")


async def test_an_endpoint_of_command_lasts_as_long_as_a_grant_that_covers_it(
    district: District, command: httpx.AsyncClient, deliverer: Deliverer, receiver: Receiver
) -> None:
    account = uuid4()
    await district.sql(
        "INSERT INTO gateway.accounts (id, kind, region, login) VALUES ($1, 'staff', '350582005', 'zhao')", account
    )
    await district.sql(
        "INSERT INTO gateway.grants (id, region, account_id, role, valid_from, valid_until, why, state, given_by) "
        "VALUES ($1, '350582005', $2, 'command', $3, $4, 'test', 'active', 'x')",
        uuid4(), account, clock.now(), clock.now() + timedelta(hours=1),
    )  # fmt: skip
    own = district.caller("gateway", Role.COMMAND, subject=f"account:{account}")
    made = await endpoint(own, receiver)
    assert await publish_and_deliver(district, deliverer, region()) == 1
    district.move_clock(hours=2)
    receiver.verifies = False  # its clock did not move with ours
    assert await publish_and_deliver(district, deliverer, region()) == 0
    assert (await shown(command, made))["disabled_reason"] == "owner_gone"
    # Somebody else of command takes it over, and nothing is lost.
    assert (await command.post(f"/gateway/v1/webhooks/{made['id']}/enable")).json()["state"] == "enabled"
    assert await deliverer.rest() == 1


async def test_in_production_events_go_by_https_only(
    district: District, command: httpx.AsyncClient, receiver: Receiver, monkeypatch
) -> None:
    context = district.contexts["gateway"]
    monkeypatch.setattr(context, "settings", context.settings.model_copy(update={"production": True}))
    new = {"url": receiver.url, "types": [REGION], "region": "350582005"}
    answer = await command.post("/gateway/v1/webhooks", json=new)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "url_not_https")
    assert answer.json()["errors"][0]["pointer"] == "#/url"
