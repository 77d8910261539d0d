"""Machines sign in by client credentials: a secret that is changed without a gap, or a key of their own."""

import asyncio
import json
from base64 import urlsafe_b64decode
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from services.gateway.clients import rules
from services.gateway.edge.internal_tokens import Issuer
from shared.core import clock
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from tests.gateway.signing_in import outside, until_refused
from tests.harness import District
from tests.until import until

LAB = {
    "client_id": "lab-jinjiang",
    "kind": "machine",
    "name": "晋江市医院检验科",
    "region": "350582",
    "role": "laboratory",
    "party": "lab-jinjiang",
}
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def command(district: District, scope: str = "") -> httpx.AsyncClient:
    return district.caller("gateway", Role.COMMAND, scope=scope)


async def registered(district: District, **changed: Any) -> dict[str, Any]:
    answer = await command(district).post("/gateway/v1/clients", json={**LAB, **changed})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ask(client: httpx.AsyncClient, secret: str, name: str = "lab-jinjiang") -> httpx.Response:
    return await client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=(name, secret))


async def test_a_machine_is_what_was_declared_whatever_it_asks_for(district: District) -> None:
    made = await registered(district)
    async with outside(district) as client:
        asked = {
            "grant_type": "client_credentials",
            "client_id": "lab-jinjiang",
            "client_secret": made["client_secret"],
            "scope": "openid everything",
            "role": "command",
            "region": "",
        }
        for answer in (await ask(client, made["client_secret"]), await client.post("/oauth/token", data=asked)):
            said = answer.json()
            assert (answer.status_code, said["expires_in"], "refresh_token" in said) == (200, 600, False)
            actor = Issuer.from_files(district.contexts["gateway"].settings.keys).actor_of(said["access_token"])
            assert actor == Actor("client:lab-jinjiang", Role.LABORATORY, ("350582", "350582~"), party="lab-jinjiang")


async def test_two_secrets_are_good_while_one_is_changed(district: District) -> None:
    made = await registered(district)
    path = f"/gateway/v1/clients/{made['id']}/rotate"
    second = (await command(district).post(path)).json()["client_secret"]
    async with outside(district) as client:
        assert [(await ask(client, one)).status_code for one in (made["client_secret"], second)] == [200, 200]
        third = (await command(district).post(path)).json()["client_secret"]
        codes = [(await ask(client, one)).status_code for one in (made["client_secret"], second, third)]
        assert codes == [401, 200, 200]
        district.move_clock(hours=24, seconds=1)
        assert [(await ask(client, one)).status_code for one in (second, third)] == [401, 200]


async def test_rotation_under_load_loses_no_request(district: District) -> None:
    made = await registered(district)
    secret, answers = made["client_secret"], [list[int]() for _ in range(4)]
    done = asyncio.Event()

    async def machine(client: httpx.AsyncClient, own: list[int]) -> None:
        while not done.is_set():
            own.append((await ask(client, secret)).status_code)

    async with outside(district) as client:
        working = [asyncio.create_task(machine(client, own)) for own in answers]
        for _ in range(5):
            secret = (await command(district).post(f"/gateway/v1/clients/{made['id']}/rotate")).json()["client_secret"]
            seen = [len(own) for own in answers]
            # Until nobody is under way any more with the secret before: of three, the oldest ends.
            await until(
                lambda seen=seen: all(len(own) >= before + 2 for own, before in zip(answers, seen, strict=True))
            )
        done.set()
        await asyncio.gather(*working)
    assert {status for own in answers for status in own} == {200}


async def test_a_revoked_machine_is_out_within_a_second(district: District) -> None:
    made = await registered(district)
    async with outside(district) as client:
        token = (await ask(client, made["client_secret"])).json()["access_token"]
        path = "/testing/v1/retests"
        assert (await client.get(path, headers={"authorization": f"Bearer {token}"})).status_code != 401
        revoked = await command(district).post(f"/gateway/v1/clients/{made['id']}/revoke")
        assert revoked.json()["revoked_at"] is not None
        assert (await ask(client, made["client_secret"])).json()["error"] == "invalid_client"
        await until_refused(client, token, path)
    rotated = await command(district).post(f"/gateway/v1/clients/{made['id']}/rotate")
    assert rotated.json()["code"] == "client_revoked"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Basic !!"},
        {"authorization": "Basic bm9jb2xvbg=="},
        {"authorization": "Basic bGFiLWppbmppYW5nOg=="},
        {"authorization": "Basic bGFiLWppbmppYW5nOndyb25n"},
        {"authorization": "Basic /////w=="},
        {},
    ],
    ids=["no base64", "no colon", "no secret", "wrong", "no text", "nothing"],
)
async def test_who_does_not_prove_it_is_no_client(district: District, headers: dict[str, str]) -> None:
    await registered(district)
    async with outside(district) as client:
        answer = await client.post("/oauth/token", data={"grant_type": "client_credentials"}, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert answer.headers["www-authenticate"].startswith("Basic")


# A key of its own ---------------------------------------------------------------------------------------------------

KEYS: dict[str, Any] = {
    "ES256": ECKey.generate_key("P-256", {"kid": "k"}),
    "Ed25519": OKPKey.generate_key("Ed25519", {"kid": "k"}),
    "RS256": RSAKey.generate_key(2048, {"kid": "k"}),
}


def public(algorithm: str) -> dict[str, Any]:
    return {**KEYS[algorithm].as_dict(private=False), "kid": "k", "alg": algorithm}


def assertion(algorithm: str = "ES256", key: Any = None, head: Any = None, **changed: Any) -> str:
    now = int(clock.now().timestamp())
    claims = {
        "iss": "lab-jinjiang",
        "sub": "lab-jinjiang",
        "aud": "http://127.0.0.1:8000/oauth/token",
        "jti": str(new_id()),
        "exp": now + 60,
        **changed,
    }
    header = {"alg": algorithm, "kid": "k", **(head or {})}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(header, claims, key or KEYS[algorithm], algorithms=[algorithm])


async def assert_it(client: httpx.AsyncClient, text: str) -> httpx.Response:
    asked = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION, "client_assertion": text}
    return await client.post("/oauth/token", data=asked)


@pytest.mark.parametrize("algorithm", list(KEYS))
async def test_a_machine_signs_in_by_its_own_key_each_assertion_once(district: District, algorithm: str) -> None:
    await registered(district, public_keys=[public(algorithm)])
    async with outside(district) as client:
        text = assertion(algorithm)
        answers = await asyncio.gather(*(assert_it(client, text) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 4
        assert (await assert_it(client, assertion(algorithm))).status_code == 200


def bad_assertions() -> dict[str, Any]:
    now = int(clock.now().timestamp())
    as_secret = OctKey.import_key(str(public("ES256")))
    return {
        "foreign key": lambda: assertion(key=ECKey.generate_key("P-256", {"kid": "k"})),
        "unknown kid": lambda: assertion(head={"kid": "../../../etc/passwd"}),
        "public key as secret": lambda: assertion("HS256", as_secret),
        "none": lambda: "eyJhbGciOiJub25lIiwia2lkIjoiayJ9." + assertion().split(".")[1] + ".",
        "another's": lambda: assertion(sub="lab-other"),
        "issued by another": lambda: assertion(iss="lab-other"),
        "for another": lambda: assertion(aud="https://elsewhere.example/oauth/token"),
        "expired": lambda: assertion(exp=now - 1),
        "far too long": lambda: assertion(exp=now + 3700),
        "without end": lambda: assertion(exp=None),
        "without id": lambda: assertion(jti=None),
        "cut": lambda: assertion()[:-5],
        "no token": lambda: "x.y",
        "deep": lambda: "e30." + "W1tb" * 900 + ".x",
    }


@pytest.mark.parametrize("which", list(bad_assertions()))
async def test_a_bad_assertion_proves_nothing(district: District, which: str) -> None:
    await registered(district, public_keys=[public("ES256")])
    async with outside(district) as client:
        answer = await assert_it(client, bad_assertions()[which]())
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


# Who registers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"role": "command"}, "machine_incomplete"),
        ({"role": "service"}, "machine_incomplete"),
        ({"role": None}, "machine_incomplete"),
        ({"party": ""}, "machine_incomplete"),
        ({"redirect_uris": ["https://x.example/"]}, "machine_incomplete"),
        ({"kind": "app"}, "app_incomplete"),
        ({"client_id": "Lab Jinjiang"}, "string_pattern_mismatch"),
    ],
    ids=str,
)
async def test_a_client_that_makes_no_sense(district: District, changed: dict[str, Any], code: str) -> None:
    answer = await command(district).post("/gateway/v1/clients", json={**LAB, **changed})
    assert [error["code"] for error in answer.json()["errors"]] == [code]


@pytest.mark.parametrize(
    "key",
    [
        {**KEYS["ES256"].as_dict(private=True), "kid": "k", "alg": "ES256"},
        {"kty": "oct", "k": "AAAA", "kid": "k", "alg": "HS256"},
        {**public("ES256"), "alg": "RS256"},
        {**public("ES256"), "x": "AAAA"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "k", "alg": "RS256"},
    ],
    ids=["private", "symmetric", "other kind", "off the curve", "tiny"],
)
async def test_a_key_that_cannot_be_trusted_is_not_taken(district: District, key: dict[str, Any]) -> None:
    answer = await command(district).post("/gateway/v1/clients", json={**LAB, "public_keys": [key]})
    assert (answer.status_code, answer.json()["code"]) == (422, "public_key_invalid")


async def test_clients_are_within_the_range_of_who_registers_them(district: District) -> None:
    made = await registered(district)
    narrow = command(district, "350582005")
    refused = await narrow.post("/gateway/v1/clients", json={**LAB, "client_id": "wide", "region": "350582"})
    assert refused.json()["code"] == "region_outside"
    assert (await narrow.get("/gateway/v1/clients")).json()["items"] == []
    for act in ("rotate", "revoke"):
        assert (await narrow.post(f"/gateway/v1/clients/{made['id']}/{act}")).json()["code"] == "not_found"
    again = await command(district).post("/gateway/v1/clients", json=LAB)
    assert again.json()["code"] == "client_taken"
    shown = (await command(district).get(f"/gateway/v1/clients/{made['id']}")).text
    assert made["client_secret"] not in shown
    (kept,) = await district.sql("SELECT secrets FROM gateway.clients")
    assert made["client_secret"] not in kept["secrets"]


@pytest.mark.parametrize(
    ("uri", "good"),
    [
        ("https://app.example.com/cb", True),
        ("https://app.example.com:8443/cb?x=1", True),
        ("http://127.0.0.1:51234/cb", True),
        ("http://[::1]/cb", True),
        ("com.example.app:/cb", True),
        ("http://app.example.com/cb", False),
        ("https://app.example.com/cb#x", False),
        ("https://user@app.example.com/cb", False),
        ("https:///cb", False),
        ("https://app.example.com\\@evil.example/", False),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("app:/cb", False),
        ("//app.example.com/cb", False),
        ("https://app.example.com/ cb", False),
        ("https://[::1/cb", False),
        ("https://应用.example/", False),
        ("", False),
    ],
)
def test_where_a_code_may_be_sent(uri: str, good: bool) -> None:
    assert rules.is_redirect(uri) is good


async def test_only_who_commands_all_of_it_registers_a_party(district: District) -> None:
    """A party is known in every region: a laboratory's name would else open its tubes of the whole city."""
    narrow = command(district, "350582005001")
    answer = await narrow.post("/gateway/v1/clients", json={**LAB, "region": "350582005001"})
    assert (answer.status_code, answer.json()["code"]) == (403, "party_everywhere")
    source = {"source": "hospital", "party": "hospital-one", "region": "350582005001"}
    answer = await narrow.post("/gateway/v1/hook-sources", json=source)
    assert (answer.status_code, answer.json()["code"]) == (403, "party_everywhere")
    app = {"client_id": "own-app", "kind": "app", "name": "x", "redirect_uris": ["https://app.example.cn/back"]}
    made = await narrow.post("/gateway/v1/clients", json={**app, "region": "350582005001"})
    assert made.status_code == 201, made.text


async def test_an_app_without_pages_has_no_redirect_uri_and_no_page(district: District) -> None:
    new = {"client_id": "resident-app", "kind": "app", "name": "居民", "region": "", "people": "residents"}
    made = await command(district).post("/gateway/v1/clients", json=new)
    assert (made.status_code, made.json()["redirect_uris"]) == (201, [])
    async with outside(district) as client:
        asked = {"response_type": "code", "client_id": "resident-app", "redirect_uri": "https://evil.example/"}
        assert (await client.get("/sign-in/authorize", params=asked)).status_code == 400
        opened = (await client.post("/gateway/v1/phone-challenges", json={"phone": "15400005678"})).json()
        proof = {"challenge_id": opened["challenge_id"], "challenge_secret": opened["challenge_secret"], "code": "x"}
        kind = {"grant_type": "urn:fangxian:params:oauth:grant-type:phone-code", "client_id": "resident-app"}
        answer = await client.post("/oauth/token", data={**kind, **proof})
        assert answer.json()["error_code"] == "phone_code_wrong"
    staff = await command(district).post("/gateway/v1/clients", json={**new, "client_id": "x-app", "people": "staff"})
    assert [error["code"] for error in staff.json()["errors"]] == ["app_incomplete"]


async def test_a_password_is_no_grant_and_times_are_whole_seconds(district: District) -> None:
    made = await registered(district)
    async with outside(district) as client:
        for who in ({"auth": ("lab-jinjiang", made["client_secret"])}, {}):
            answer = await client.post(
                "/oauth/token", data={"grant_type": "password", "client_id": "lab-jinjiang"}, **who
            )
            assert answer.json()["error"] == ("unsupported_grant_type" if who else "invalid_client")
        token = (await ask(client, made["client_secret"])).json()["access_token"]
        claims = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
        assert all(isinstance(claims[name], int) for name in ("iat", "nbf", "exp"))
