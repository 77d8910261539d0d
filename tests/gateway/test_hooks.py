"""G7, O4: what other systems post to us, signed by Standard Webhooks."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from services.gateway.messages import rules
from shared.contracts.gateway import Message
from shared.core import clock
from shared.core.actors import Role
from tests.harness import District

HOOK = "/gateway/v1/hooks/desk_120"
POSTED = {
    "type": "referral.dispatched",
    "timestamp": "2021-01-20T08:30:00+08:00",
    "data": {"referral_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"},
}

Post = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def command(district: District) -> httpx.AsyncClient:
    return district.caller("gateway", Role.COMMAND)


@pytest.fixture
async def outside(district: District):
    transport = httpx.ASGITransport(district.apps["gateway"], raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


async def source(command: httpx.AsyncClient, **changed: str) -> dict[str, Any]:
    new = {"source": "desk_120", "party": "desk_120", "region": "350582005", **changed}
    made = await command.post("/gateway/v1/hook-sources", json=new)
    assert made.status_code == 201, made.text
    return dict(made.json())


@pytest.fixture
async def secret(command: httpx.AsyncClient) -> str:
    return str((await source(command))["secret"])


def signed(secret: str, body: bytes, message_id: str = "msg_1", at: datetime | None = None) -> dict[str, str]:
    """The headers a sender makes with the published library."""
    at = at or datetime.now(UTC)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body.decode()),
    }


async def post(outside: httpx.AsyncClient, secret: str, message_id: str, **changed: Any) -> httpx.Response:
    body = json.dumps(POSTED | changed).encode()
    return await outside.post(HOOK, content=body, headers=signed(secret, body, message_id))


OF_MESSAGES = "FROM gateway.feed WHERE type = 'gateway.message.v1'"


async def test_a_message_is_kept_and_published_once_however_often_it_comes(
    district: District, outside: httpx.AsyncClient, command: httpx.AsyncClient, secret: str
) -> None:
    first = await post(outside, secret, "msg_1")
    assert first.status_code == 202, first.text
    again = await post(outside, secret, "msg_1")
    assert (again.status_code, again.json()) == (200, first.json())
    feed = await district.sql(f"SELECT type, subject::text, version, region, change, data {OF_MESSAGES}")
    assert [tuple(row)[:5] for row in feed] == [("gateway.message.v1", first.json()["id"], 1, "350582005", "received")]
    message = Message.model_validate_json(feed[0]["data"])
    assert (message.source, message.message_id, message.kind) == ("desk_120", "msg_1", "referral.dispatched")
    assert message.data == POSTED["data"]
    shown = await command.get(first.headers["location"])
    assert shown.json()["occurred_at"] == "2021-01-20T00:30:00Z"
    assert [item["id"] for item in (await command.get("/gateway/v1/messages")).json()["items"]] == [str(message.id)]


async def test_fifty_of_the_same_at_once_are_one(district: District, outside: httpx.AsyncClient, secret: str) -> None:
    answers = await asyncio.gather(*(post(outside, secret, "msg_race") for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await district.sql("SELECT count(*) FROM gateway.messages"))[0][0] == 1
    assert (await district.sql(f"SELECT count(*) {OF_MESSAGES}"))[0][0] == 1


async def test_the_same_id_with_another_body_is_refused(outside: httpx.AsyncClient, secret: str) -> None:
    await post(outside, secret, "msg_1")
    other = await post(outside, secret, "msg_1", type="referral.on_board")
    assert (other.status_code, other.json()["code"]) == (409, "message_id_reused")


async def test_what_is_not_signed_by_a_source_is_refused(
    district: District, outside: httpx.AsyncClient, secret: str
) -> None:
    body = json.dumps(POSTED).encode()
    good = signed(secret, body)
    other = signed(rules.new_secret(), body)
    wrong: list[tuple[bytes, dict[str, str]]] = [
        (body, other),
        (body + b" ", good),
        (body, {**good, "webhook-id": "msg_2"}),
        (body, {**good, "webhook-timestamp": str(int(good["webhook-timestamp"]) + 1)}),
        (body, {**good, "webhook-timestamp": "1e9"}),
        (body, {**good, "webhook-timestamp": "-1"}),
        (body, {**good, "webhook-timestamp": "99999999999999999999"}),
        (body, {**good, "webhook-signature": "v1"}),
        (body, {**good, "webhook-signature": "v1,é"}),
        (body, {**good, "webhook-signature": "v2," + good["webhook-signature"][3:]}),
        (body, {**good, "webhook-signature": " ".join([good["webhook-signature"]] * 11)}),
        (body, {name: value for name, value in good.items() if name != "webhook-signature"}),
        (b"\xff\xfe", good),
        (b"not json", good),
    ]
    for sent, headers in wrong:
        answer = await outside.post(
            HOOK, content=sent, headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        )
        assert (answer.status_code, answer.json()["code"]) == (401, "signature_invalid"), headers
    # A secret opens the door of its own kind only.
    answer = await outside.post("/gateway/v1/hooks/hospital", content=body, headers=good)
    assert answer.status_code == 401
    assert (await district.sql("SELECT count(*) FROM gateway.messages"))[0][0] == 0


@pytest.mark.parametrize(
    ("minutes", "code"), [(-6, "signature_expired"), (-4, None), (4, None), (6, "signature_ahead")]
)
async def test_five_minutes_either_way(outside: httpx.AsyncClient, secret: str, minutes: int, code: str | None) -> None:
    body = json.dumps(POSTED).encode()
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    answer = await outside.post(HOOK, content=body, headers=signed(secret, body, at=at))
    assert (answer.status_code, answer.json().get("code")) == (401 if code else 202, code)


async def test_one_of_several_signatures_is_enough(outside: httpx.AsyncClient, secret: str) -> None:
    body = json.dumps(POSTED).encode()
    headers = signed(secret, body)
    headers["webhook-signature"] = (
        f"v1a,abcd {signed(rules.new_secret(), body)['webhook-signature']} " + headers["webhook-signature"]
    )
    assert (await outside.post(HOOK, content=body, headers=headers)).status_code == 202


BAD_BODIES = [
    (b"", "malformed_json"),
    (b"{", "malformed_json"),
    (b'{"type":"a","type":"b"}', "malformed_json"),
    (b'{"type":"a","timestamp":"2021-01-20T08:30:00+08:00","data":{"x":NaN}}', "malformed_json"),
    (b'{"type":"a","timestamp":"2021-01-20T08:30:00+08:00","data":{"x":"\\u0000"}}', "malformed_json"),
    (b"[]", "invalid_input"),
    (b'{"type":"a","timestamp":"2021-01-20T08:30:00+08:00"}', "invalid_input"),
    (b'{"type":"a","timestamp":"2021-01-20T08:30:00","data":{}}', "invalid_input"),
    (b'{"type":"a","timestamp":"9999-12-31T23:59:59-23:59","data":{}}', "invalid_input"),
    (b'{"type":"A b","timestamp":"2021-01-20T08:30:00Z","data":{}}', "invalid_input"),
    (b'{"type":"a","timestamp":"2021-01-20T08:30:00Z","data":[]}', "invalid_input"),
]


@pytest.mark.parametrize(("body", "code"), BAD_BODIES)
async def test_a_signed_body_must_still_make_sense(
    outside: httpx.AsyncClient, secret: str, body: bytes, code: str
) -> None:
    answer = await outside.post(HOOK, content=body, headers=signed(secret, body))
    assert answer.json()["code"] == code
    assert answer.status_code in (400, 422)


async def test_a_body_over_256_kib_or_of_another_type_is_refused(outside: httpx.AsyncClient, secret: str) -> None:
    body = json.dumps(POSTED | {"data": {"x": "a" * (256 << 10)}}).encode()
    answer = await outside.post(HOOK, content=body, headers=signed(secret, body))
    assert answer.json()["code"] == "payload_too_large"
    headers = signed(secret, b"{}") | {"content-type": "text/plain"}
    assert (await outside.post(HOOK, content=b"{}", headers=headers)).status_code == 415
    assert (await outside.post("/gateway/v1/hooks/stranger", content=b"{}", headers=headers)).status_code == 422


async def test_a_secret_is_changed_without_a_gap(
    district: District, outside: httpx.AsyncClient, command: httpx.AsyncClient
) -> None:
    made = await source(command)
    rotated = (await command.post(f"/gateway/v1/hook-sources/{made['id']}/rotate")).json()
    assert rotated["secret"] != made["secret"]
    assert (await post(outside, made["secret"], "old")).status_code == 202
    assert (await post(outside, rotated["secret"], "new")).status_code == 202
    kept = (await district.sql("SELECT secrets_sealed FROM gateway.hook_sources"))[0][0]
    assert made["secret"].encode() not in kept
    district.move_clock(hours=25)
    body = json.dumps(POSTED).encode()
    old = signed(made["secret"], body, "later", clock.now())
    assert (await outside.post(HOOK, content=body, headers=old)).json()["code"] == "signature_invalid"
    new = signed(rotated["secret"], body, "later", clock.now())
    assert (await outside.post(HOOK, content=body, headers=new)).status_code == 202


async def test_a_removed_source_posts_no_longer(outside: httpx.AsyncClient, command: httpx.AsyncClient) -> None:
    made = await source(command)
    assert (await command.delete(f"/gateway/v1/hook-sources/{made['id']}")).status_code == 204
    assert (await post(outside, made["secret"], "msg")).status_code == 401


async def test_sources_are_managed_by_command_within_its_scope(district: District, command: httpx.AsyncClient) -> None:
    made = await source(command)
    shown = (await command.get(f"/gateway/v1/hook-sources/{made['id']}")).json()
    assert "secret" not in shown
    assert [item["id"] for item in (await command.get("/gateway/v1/hook-sources")).json()["items"]] == [made["id"]]
    again = await command.post(
        "/gateway/v1/hook-sources", json={"source": "desk_120", "party": "desk_120", "region": "350582005"}
    )
    assert (again.status_code, again.json()["code"]) == (409, "hook_source_taken")
    wide = await command.post(
        "/gateway/v1/hook-sources", json={"source": "desk_120", "party": "desk_x", "region": "350582"}
    )
    assert (wide.status_code, wide.json()["code"]) == (403, "region_outside")
    elsewhere = district.caller("gateway", Role.COMMAND, scope="350582004")
    assert (await elsewhere.get(f"/gateway/v1/hook-sources/{made['id']}")).status_code == 404
    assert (await elsewhere.post(f"/gateway/v1/hook-sources/{made['id']}/rotate")).status_code == 404
    sampler = district.caller("gateway", Role.SAMPLER)
    assert (await sampler.get("/gateway/v1/hook-sources")).status_code == 403


async def test_two_hospitals_may_use_the_same_ids(
    district: District, outside: httpx.AsyncClient, command: httpx.AsyncClient
) -> None:
    one = await source(command, source="hospital", party="hospital-one", region="350582005001")
    two = await source(command, source="hospital", party="hospital-two")
    body = json.dumps(POSTED | {"data": {"region": "350582005002", "bed": 1}}).encode()
    for made in (one, two):
        answer = await outside.post("/gateway/v1/hooks/hospital", content=body, headers=signed(made["secret"], body))
        assert answer.status_code == 202
    rows = await district.sql("SELECT party, region FROM gateway.messages ORDER BY party")
    # A sender's word about the place counts where it serves.
    assert [tuple(row) for row in rows] == [("hospital-one", "350582005001"), ("hospital-two", "350582005002")]
    village = district.caller("gateway", Role.COMMAND, scope="350582005002")
    assert len((await village.get("/gateway/v1/messages")).json()["items"]) == 1


# The vectors of the reference libraries (standard-webhooks/standard-webhooks): JavaScript's and Rust's.
VECTORS = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        '{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1649367553,
        '{"email":"test@example.com","username":"test_user"}',
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
]


@pytest.mark.parametrize(("secret", "message_id", "timestamp", "body", "signature"), VECTORS)
def test_published_vectors(secret: str, message_id: str, timestamp: int, body: str, signature: str) -> None:
    at = datetime.fromtimestamp(timestamp, UTC)
    assert rules.sign(secret, message_id, at, body) == signature
    headers = rules.sign_all([rules.new_secret(), secret], message_id, at, body)
    read = rules.headers_of(headers)
    assert read is not None
    assert rules.is_signed(read, body, secret)
    assert not rules.is_signed(read, body + " ", secret)
    assert rules.time_fault(read, at + timedelta(minutes=5)) is None
    assert rules.time_fault(read, at + timedelta(minutes=5, seconds=1)) == "expired"
    assert rules.time_fault(read, at - timedelta(minutes=5, seconds=1)) == "ahead"


def test_at_most_three_secrets_are_kept_and_old_ones_end() -> None:
    now = datetime(2021, 1, 20, tzinfo=UTC)
    kept = None
    made = []
    for minutes in range(5):
        new, kept = rules.with_new_secret(kept, now + timedelta(minutes=minutes))
        made.append(new)
    assert kept is not None
    assert rules.valid_secrets(kept, now + timedelta(minutes=5)) == made[:1:-1]
    assert rules.valid_secrets(kept, now + timedelta(hours=25)) == [made[-1]]


CREW = {
    "referral_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
    "hospital": "hospital-jinjiang",
    "crew": "晋江120-3",
    "vehicle": "闽C·120A3",
    "bed": 12,
    "contact": {"name": "陈小明", "phone": "15412345678"},
}


async def test_all_that_was_sent_is_kept_encrypted_and_shown_to_who_may_read_it(
    district: District, outside: httpx.AsyncClient, command: httpx.AsyncClient, secret: str
) -> None:
    first = await post(outside, secret, "msg_1", data=CREW)
    path = first.headers["location"]
    desk = district.caller("gateway", Role.DESK_120, scope="", party="desk_120")
    for reader in (command, district.caller("gateway", Role.COMMUNITY_OFFICER), desk):
        shown = (await reader.get(path)).json()
        assert (shown["data"], shown["left_out"]) == (CREW, [])
    # What travels, and what is shown to who only oversees, names nobody.
    travels = {name: CREW[name] for name in ("referral_id", "hospital", "bed")}
    assert (await district.caller("gateway", Role.AUDITOR).get(path)).json()["data"] == travels
    ((data,),) = await district.sql(f"SELECT data {OF_MESSAGES}")
    assert Message.model_validate_json(data).data == travels
    ((row,),) = await district.sql("SELECT messages::text FROM gateway.messages")
    assert "陈小明" not in row
    ((sealed,),) = await district.sql("SELECT rest_sealed FROM gateway.messages")
    assert "陈小明".encode() not in sealed


async def test_what_is_too_large_is_left_out_by_name_and_stops_nothing(
    outside: httpx.AsyncClient, command: httpx.AsyncClient, secret: str
) -> None:
    data = {"referral_id": CREW["referral_id"], "picture": "x" * (33 << 10), "crew": "晋江120-3"}
    first = await post(outside, secret, "msg_1", data=data)
    assert first.status_code == 202, first.text
    shown = (await command.get(first.headers["location"])).json()
    assert shown["data"] == {"referral_id": CREW["referral_id"], "crew": "晋江120-3"}
    assert shown["left_out"] == ["picture"]


async def test_a_sender_reads_its_own_messages_and_no_others(
    district: District, outside: httpx.AsyncClient, command: httpx.AsyncClient, secret: str
) -> None:
    path = (await post(outside, secret, "msg_1")).headers["location"]
    own = district.caller("gateway", Role.DESK_120, scope="", party="desk_120")
    assert [one["message_id"] for one in (await own.get("/gateway/v1/messages")).json()["items"]] == ["msg_1"]
    for role, party in ((Role.DESK_120, "desk_other"), (Role.HOSPITAL, "desk_120"), (Role.MUNICIPAL, "desk_120")):
        other = district.caller("gateway", role, scope="", party=party)
        assert (await other.get("/gateway/v1/messages")).json()["items"] == []
        assert (await other.get(path)).status_code == 404
    assert (await district.caller("gateway", Role.LABORATORY, party="desk_120").get(path)).status_code == 403
