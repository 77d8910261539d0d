"""Residents: by a mini-program's login code, and which resident an account is."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from services.gateway.app import create_app
from services.gateway.issuer.direct import MiniProgram
from services.gateway.issuer.rules import RefusedError
from shared.core.actors import Role
from tests.gateway.signing_in import app, bearer, outside, refreshed
from tests.gateway.test_lock_out import answer_it, challenge, codes_in
from tests.harness import District
from tests.registry.people import PHONE, number, register

MINI_PROGRAM = "urn:fangxian:params:oauth:grant-type:mini-program"


class Platform:
    """The platform's `code2session`, as it is published: a server of its own on a port."""

    def __init__(self) -> None:
        self.codes = {"code-1": "open-1", "code-1b": "open-1", "code-2": "open-2"}
        self.answer: bytes | None = None
        self.asked: list[dict[str, list[str]]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        parts = urlsplit(head.split(" ")[1])
        query = parse_qs(parts.query)
        self.asked.append(query)
        body = self.answer if self.answer is not None else self._answered(parts.path, query)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    def _answered(self, path: str, query: Mapping[str, list[str]]) -> bytes:
        assert path == "/sns/jscode2session"
        assert query["grant_type"] == ["authorization_code"]
        if (query["appid"], query["secret"]) != (["wx1"], ["hush"]):
            return b'{"errcode": 40013, "errmsg": "invalid appid"}'
        open_id = self.codes.pop(query["js_code"][0], None)
        if open_id is None:
            return b'{"errcode": 40029, "errmsg": "invalid code"}'
        return f'{{"openid": "{open_id}", "session_key": "c2Vzc2lvbg=="}}'.encode()


@asynccontextmanager
async def platform() -> AsyncIterator[tuple[Platform, str]]:
    found = Platform()
    async with await asyncio.start_server(found, "127.0.0.1", 0) as server:
        yield found, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def gateway(district: District, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that is set up for a mini-program."""
    settings = district.database.settings(
        "gateway", mini_program_id="wx1", mini_program_secret=SecretStr("hush"), mini_program_url=url
    )
    transport = httpx.ASGITransport(create_app(settings, district.contexts["gateway"]), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


async def sign_in(client: httpx.AsyncClient, code: str) -> httpx.Response:
    return await client.post("/oauth/token", data={"grant_type": MINI_PROGRAM, "client_id": "grid-app", "code": code})


async def test_a_mini_programs_login_code_signs_the_same_person_in(district: District) -> None:
    await app(district)
    async with platform() as (there, url), gateway(district, url) as client:
        subjects = []
        for code in ("code-1", "code-2", "code-1b"):
            tokens = (await sign_in(client, code)).json()
            who = (await client.get("/oauth/userinfo", headers=bearer(tokens["access_token"]))).json()
            assert who["role"] == "resident"
            subjects.append(who["sub"])
        assert subjects[0] == subjects[2] != subjects[1]
        used = await sign_in(client, "code-1")
        assert (used.status_code, used.json()["error"]) == (400, "invalid_grant")
        assert (await sign_in(client, "x" * 201)).json()["error"] == "invalid_grant"
        assert len(there.asked) == 4
    kept = await district.sql("SELECT open_id_index FROM gateway.accounts")
    assert all(b"open-" not in row["open_id_index"] for row in kept)


@pytest.mark.parametrize(
    "said",
    [b"", b"<html>", b"[]", b'{"errcode": -1}', b'{"errcode": "x"}', b"{}", b'{"openid": 5}', b'{"openid": ""}',
     b'{"openid": "' + b"x" * 20_000 + b'"}'],
    ids=["nothing", "html", "list", "busy", "word", "empty", "number", "nobody", "long"],
)  # fmt: skip
async def test_a_platform_that_says_nonsense_is_away(district: District, said: bytes) -> None:
    await app(district)
    async with platform() as (there, url), gateway(district, url) as client:
        there.answer = said
        answer = await sign_in(client, "code-1")
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert answer.headers["retry-after"] == "5"


async def test_a_platform_that_is_gone_tells_no_secret(district: District) -> None:
    with capture_logs() as logs, pytest.raises(RefusedError) as refused:
        await MiniProgram("http://127.0.0.1:1", "wx1", "hush").proof("code-1")
    assert refused.value.error == "temporarily_unavailable"
    assert "hush" not in str(logs) + refused.value.description
    async with outside(district) as client:
        assert (await sign_in(client, "code-1")).json()["error"] == "unsupported_grant_type"


# Which resident -----------------------------------------------------------------------------------------------------


async def by_phone(district: District, client: httpx.AsyncClient, phone: str = PHONE) -> dict[str, Any]:
    with capture_logs() as logs:
        opened = await challenge(client, phone)
    tokens = (await answer_it(client, opened, codes_in(logs)[-1])).json()
    assert "access_token" in tokens, tokens
    found: dict[str, Any] = tokens
    return found


async def bind(client: httpx.AsyncClient, tokens: Mapping[str, Any], **who: Any) -> httpx.Response:
    said = {"document_number": number(), **who}
    return await client.post("/gateway/v1/account/resident", json=said, headers=bearer(tokens["access_token"]))


@pytest.fixture
async def resident_id(district: District) -> str:
    await app(district)
    return await register(district, district.caller("registry", Role.COMMAND))


async def test_phone_and_document_show_which_resident_one_is(district: District, resident_id: str) -> None:
    async with outside(district, **{"idempotency-key": "bind-once"}) as client:
        tokens = await by_phone(district, client)
        before = len(await district.sql("SELECT FROM gateway.idempotency"))
        bound = await bind(client, tokens)
        assert (bound.status_code, bound.json()["resident_id"], bound.json()["expires_in"]) == (200, resident_id, 600)
        after = (await refreshed(client, tokens["refresh_token"])).json()
        for one in (bound.json(), after):
            who = (await client.get("/oauth/userinfo", headers=bearer(one["access_token"]))).json()
            assert who["residents"] == [resident_id]
        assert len(await district.sql("SELECT FROM gateway.idempotency")) == before  # a token is not stored there
        shown = await client.get(f"/registry/v1/residents/{resident_id}", headers=bearer(after["access_token"]))
        assert shown.json()["name"] == "张**"
    async with outside(district) as client:
        assert (await bind(client, after)).json()["code"] == "account_bound"


async def test_whichever_is_wrong_the_answer_is_the_same(district: District, resident_id: str) -> None:
    async with outside(district) as client:
        answers = []
        for phone, document in ((PHONE, number(2)), (PHONE, "003582199003070018"), ("15412345679", number())):
            answer = (await bind(client, await by_phone(district, client, phone), document_number=document)).json()
            answers.append({name: answer[name] for name in answer if name != "request_id"})
        assert answers[0] == answers[1] == answers[2]
        assert answers[0]["code"] == "not_recognised"


async def test_who_one_is_can_be_tried_five_times_an_hour(district: District, resident_id: str) -> None:
    async with outside(district) as client:
        tokens = await by_phone(district, client)
        tried = [(await bind(client, tokens, document_number=number(n))).status_code for n in range(2, 8)]
        assert tried == [422] * 5 + [429]
        assert (await bind(client, tokens)).status_code == 429


async def test_one_resident_has_one_account_also_in_a_race(district: District, resident_id: str) -> None:
    other_phone = "15400001111"
    async with platform() as (_, url), gateway(district, url) as mini, outside(district) as client:
        first, second = (await sign_in(mini, "code-1")).json(), (await sign_in(mini, "code-2")).json()
        assert (await bind(client, first)).json()["code"] == "phone_unproven"
        with capture_logs() as logs:
            opened = await challenge(client, PHONE)
        proof = {
            "challenge_id": opened["challenge_id"],
            "challenge_secret": opened["challenge_secret"],
            "code": codes_in(logs)[-1],
        }
        assert (await bind(client, first, phone={**proof, "code": "x"})).json()["code"] == "phone_unproven"
        answers = await asyncio.gather(*(bind(client, one, phone=proof) for one in (first, second, first, second)))
        assert [answer.status_code for answer in answers].count(200) == 1
        assert {answer.json().get("code") for answer in answers if answer.status_code != 200} <= {
            "phone_unproven", "account_bound", "phone_taken", "resident_bound",
        }  # fmt: skip
        assert len(await district.sql("SELECT FROM gateway.accounts WHERE resident_id IS NOT NULL")) == 1
        # A second phone comes on the record: its account is another person's as far as the gateway knows.
        third = await by_phone(district, client, other_phone)
        people = district.caller("registry", Role.COMMAND)
        kept = await people.get(f"/registry/v1/residents/{resident_id}")
        changed = await people.patch(
            f"/registry/v1/residents/{resident_id}",
            json={"phone": other_phone},
            headers={"if-match": kept.headers["etag"]},
        )
        assert changed.status_code == 200
        assert (await bind(client, third)).json()["code"] == "resident_bound"


async def test_only_residents_of_ours_say_who_they_are(district: District, resident_id: str) -> None:
    for role, status in ((Role.RESIDENT, 403), (Role.COMMAND, 403)):
        caller = district.caller("gateway", role)
        answer = await caller.post("/gateway/v1/account/resident", json={"document_number": number()})
        assert answer.status_code == status
    asked = {"document_number": number(), "phone": PHONE}
    for role in Role.ANYONE:
        answer = await district.caller("registry", role).post("/registry/v1/residents/recognise", json=asked)
        assert answer.status_code == 403, role
