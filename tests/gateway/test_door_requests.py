"""What is said at the door over HTTP: verdicts, receipts, and what is wrong with a scan."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from services.gateway.batcher import connector
from services.gateway.tokens.keys import Keys
from services.gateway.tokens.rules import Subject, issue
from services.gateway.verifications import receipts
from services.gateway.verifications.door import VerificationBatcher, batcher_over
from services.gateway.verifications.endpoint import LONGEST_BODY_BYTES, VerificationEndpoint
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.crypto.code_tokens import LONGEST
from shared.http import handlers, limits
from tests.gateway.doors import (
    GREEN,
    KEY,
    NOW,
    OTHER,
    POINTS,
    RECEIPT_SECRETS,
    RED,
    YELLOW,
    add_code,
    scan_id_at,
    visits,
)

PATH = "/gateway/v1/verifications"
ACTORS = {
    "doorkeeper": Actor("d", Role.DOORKEEPER, party=str(POINTS["window"])),
    "checkpoint": Actor("c", Role.CHECKPOINT, party=str(POINTS["window"])),
    "clinic": Actor("h", Role.CHECKPOINT, party=str(POINTS["clinic"])),
    "homeless": Actor("n", Role.DOORKEEPER, party=""),
    "lost": Actor("l", Role.DOORKEEPER, party=str(UUID(int=9))),
    "resident": Actor("r", Role.RESIDENT, residents=(UUID(int=1),)),
}


def app_of(door: VerificationBatcher) -> FastAPI:
    app = FastAPI()
    endpoint = VerificationEndpoint(
        door,
        authenticate=lambda scope: ACTORS[dict(scope["headers"])[b"x-actor"].decode()],
        keys=Keys(KEY),
        now=lambda: NOW,
    )
    app.router.routes.append(endpoint.route())
    handlers.install(app)
    limits.install(app, request_timeout_seconds=10)
    return app


@pytest.fixture
async def http(door: VerificationBatcher) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app_of(door), raise_app_exceptions=False)
    headers = {"x-actor": "doorkeeper", "accept-language": "en"}
    async with httpx.AsyncClient(transport=transport, base_url="http://door", headers=headers) as client:
        yield client


def request_of(resident: UUID, **changes: Any) -> dict[str, Any]:
    token = issue(Subject(resident, GREEN), KEY, NOW)
    return {"scan_id": str(scan_id_at(NOW)), "token": token, "temperature_celsius": 36.5} | changes


async def test_green_passes_with_a_receipt(http: httpx.AsyncClient, owner: asyncpg.Connection) -> None:
    resident = await add_code(owner, GREEN)
    asked = request_of(resident)
    answer = await http.post(PATH, json=asked)
    assert answer.status_code == 201
    said = answer.json()
    receipt = receipts.read(said.pop("receipt"), RECEIPT_SECRETS, NOW)
    assert receipt == (resident, POINTS["window"], UUID(asked["scan_id"]), NOW, 600)
    assert said == {
        "scan_id": asked["scan_id"],
        "verdict": "pass",
        "word": "Let pass",
        "decided_at": "2021-02-01T04:00:00Z",
        "receipt_expires_at": "2021-02-01T04:10:00Z",
    }
    assert (await http.post(PATH, json=asked)).content == answer.content


async def test_the_door_decides_by_the_colour_of_now_not_by_that_of_the_token(
    http: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    asked = request_of(await add_code(owner, RED))
    said = (await http.post(PATH, json=asked)).json()
    assert (said["verdict"], said["word"], said.get("receipt"), said.get("why")) == (
        "turn_back",
        "Turn back",
        None,
        None,
    )


async def test_a_checkpoint_is_told_why_and_a_clinic_refuses_nobody(
    http: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    resident = await add_code(owner, YELLOW)
    said = (await http.post(PATH, json=request_of(resident), headers={"x-actor": "checkpoint"})).json()
    assert (said["verdict"], said["why"]) == ("turn_back", "colour")
    said = (await http.post(PATH, json=request_of(resident), headers={"x-actor": "clinic"})).json()
    assert (said["verdict"], said["why"], "receipt" in said) == ("pass", "colour", True)


async def test_a_fever_is_turned_back_and_a_stranger_registered(http: httpx.AsyncClient, owner: Any) -> None:
    resident = await add_code(owner, GREEN)
    assert (await http.post(PATH, json=request_of(resident, temperature_celsius=37.3))).json()["word"] == "Turn back"
    assert (await http.post(PATH, json=request_of(new_id()))).json()["word"] == "Register"


@pytest.mark.parametrize(
    ("language", "word"), [("en-GB, zh;q=0.5", "Let pass"), ("zh-TW", "放行"), ("fr", "放行"), ("", "放行")]
)
async def test_the_word_is_in_the_language_of_the_device(
    http: httpx.AsyncClient, owner: asyncpg.Connection, language: str, word: str
) -> None:
    asked = request_of(await add_code(owner, GREEN))
    said = (await http.post(PATH, json=asked, headers={"accept-language": language})).json()
    assert (said["verdict"], said["word"]) == ("pass", word)


OLD = issue(Subject(UUID(int=1), GREEN), KEY, NOW - timedelta(minutes=3))
FALSE = issue(Subject(UUID(int=1), GREEN), OTHER, NOW)
SOON = issue(Subject(UUID(int=1), GREEN), KEY, NOW + timedelta(minutes=2))
PROBLEMS: list[tuple[dict[str, Any], int, str, str]] = [
    ({"token": OLD}, 422, "code_expired", "#/token"),
    ({"token": FALSE}, 422, "code_forged", "#/token"),
    ({"token": SOON}, 422, "code_not_yet", "#/token"),
    ({"token": "https://example.org"}, 422, "code_malformed", "#/token"),
    ({"token": "x" * 201}, 422, "invalid_input", "#/token"),
    ({"token": 7}, 422, "invalid_input", "#/token"),
    ({"scan_id": "7"}, 422, "invalid_input", "#/scan_id"),
    ({"scan_id": "01777777-7777-4777-8777-777777777777"}, 422, "scan_id_not_v7", "#/scan_id"),
    ({"scan_id": str(scan_id_at(NOW + timedelta(minutes=10)))}, 422, "clock_ahead", "#/scan_id"),
    ({"scan_id": str(scan_id_at(NOW - timedelta(hours=25)))}, 422, "clock_behind", "#/scan_id"),
    ({"temperature_celsius": 52}, 422, "invalid_input", "#/temperature_celsius"),
    ({"colour": "green"}, 422, "invalid_input", "#/colour"),
]


@pytest.mark.parametrize(("changes", "status", "code", "pointer"), PROBLEMS, ids=[f"{p[2]}{p[3]}" for p in PROBLEMS])
async def test_problems(
    http: httpx.AsyncClient,
    owner: asyncpg.Connection,
    changes: dict[str, Any],
    status: int,
    code: str,
    pointer: str,
) -> None:
    answer = await http.post(PATH, json=request_of(UUID(int=1), **changes))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["errors"][0]["pointer"] == pointer
    assert await visits(owner) == 0


WHOLE = b'"scan_id": "01775bbf-4e00-7a9e-afcd-d587dfc3802e", "token": "FX1.x"'


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{%s}" % WHOLE, {}, 422, "code_malformed"),
        (b'{%s, "temperature_celsius": null}' % WHOLE, {}, 422, "code_malformed"),
        (b"{%s}" % WHOLE.replace(b"FX1.x", b"\\ud83e\\udda0" * LONGEST), {}, 422, "code_malformed"),
        (b'{%s, "token": "FX1.y"}' % WHOLE, {}, 400, "malformed_json"),
        (b'{%s, "token" : "FX1.y"}' % WHOLE.replace(b":", b" :"), {}, 400, "malformed_json"),
        (b'{%s, "temperature_celsius" : 36, "temperature_celsius" : null}' % WHOLE, {}, 400, "malformed_json"),
        (b'{"to\\u006ben": "FX1.y", %s}' % WHOLE, {}, 400, "malformed_json"),
        (b"{%s}" % WHOLE.replace(b"FX1.x", b"FX1.\\u0000"), {}, 400, "malformed_json"),
        (b"{%s}" % WHOLE.replace(b"FX1.x", b"FX1.\xff"), {}, 400, "malformed_json"),
        (b"\xef\xbb\xbf{%s}" % WHOLE, {}, 400, "malformed_json"),
        (b"{%s} {}" % WHOLE, {}, 400, "malformed_json"),
        (b"{", {}, 400, "malformed_json"),
        (b'{"token": NaN}', {}, 400, "malformed_json"),
        (b'{"token": "a", "token": "b"}', {}, 400, "malformed_json"),
        (b'{"token": "' + b"x" * LONGEST_BODY_BYTES + b'"}', {}, 413, "payload_too_large"),
        (b"[]", {}, 422, "invalid_input"),
        (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
    ],
)
async def test_bodies(http: httpx.AsyncClient, body: bytes, headers: dict[str, str], status: int, code: str) -> None:
    answer = await http.post(PATH, content=body, headers={"content-type": "application/json"} | headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("actor", "status", "code"),
    [
        ("resident", 403, "forbidden"),
        ("homeless", 404, "service_point_not_found"),
        ("lost", 404, "service_point_not_found"),
    ],
)
async def test_who_may_not(http: httpx.AsyncClient, actor: str, status: int, code: str) -> None:
    answer = await http.post(PATH, json=request_of(UUID(int=1)), headers={"x-actor": actor})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_the_same_scan_id_for_another_person_is_a_conflict(http: httpx.AsyncClient, owner: Any) -> None:
    asked = request_of(new_id())
    assert (await http.post(PATH, json=asked)).status_code == 201
    answer = await http.post(PATH, json=request_of(new_id(), scan_id=asked["scan_id"]))
    assert (answer.status_code, answer.json()["code"]) == (409, "scan_id_taken")
    assert await visits(owner) == 1


async def test_without_a_database_the_door_says_503_and_when_to_try_again() -> None:
    async with batcher_over(connector("postgresql://nobody@/none?host=/nonexistent"), lambda: NOW) as door:
        transport = httpx.ASGITransport(app_of(door))
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            answer = await client.post(PATH, json=request_of(new_id()), headers={"x-actor": "doorkeeper"})
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "unavailable", "1")
