"""`private_key_jwt` as unmodified libraries make it, and what is said of an assertion that proves nothing."""

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

import httpx
import jwt as pyjwt
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, OKPKey

from tests.gateway.signing_in import outside
from tests.gateway.test_clients import ASSERTION, assert_it, assertion, public, registered
from tests.harness import District

TOKEN = "http://127.0.0.1:8000/oauth/token"
MADE: dict[str, Any] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RS256": rsa.generate_private_key(65537, 2048),
    "PS256": rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
TO_JWK: dict[str, Any] = {
    "ES256": pyjwt.algorithms.ECAlgorithm,
    "RS256": pyjwt.algorithms.RSAAlgorithm,
    "PS256": pyjwt.algorithms.RSAPSSAlgorithm,
    "EdDSA": pyjwt.algorithms.OKPAlgorithm,
}


def jwk_of(algorithm: str, **more: str) -> dict[str, Any]:
    """The public key as PyJWT writes it: with neither kid nor alg."""
    found = json.loads(TO_JWK[algorithm].to_jwk(MADE[algorithm].public_key()))
    return {**{name: value for name, value in found.items() if name not in ("kid", "alg", "key_ops")}, **more}


def key_of(algorithm: str) -> Any:
    """The private key as Authlib takes it: RSA as PEM, others as keys of its JOSE library."""
    pem = MADE[algorithm].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {"ES256": ECKey, "EdDSA": OKPKey}[algorithm].import_key(pem) if algorithm in ("ES256", "EdDSA") else pem


@pytest.mark.parametrize("algorithm", list(MADE))
async def test_pyjwt_proves_a_machine(district: District, algorithm: str) -> None:
    await registered(district, public_keys=[jwk_of(algorithm)])
    claims = {"iss": "lab-jinjiang", "sub": "lab-jinjiang", "aud": TOKEN, "jti": str(uuid4()), "exp": time.time() + 300}
    async with outside(district) as client:
        answer = await assert_it(client, pyjwt.encode(claims, MADE[algorithm], algorithm))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("algorithm", list(MADE))
@pytest.mark.parametrize("stated", [{}, {"kid": "one", "alg": "Ed25519"}], ids=["bare", "named"])
async def test_authlib_proves_a_machine(district: District, algorithm: str, stated: dict[str, str]) -> None:
    """As its documentation says, with its own life of an hour and without a kid."""
    stated = {**stated, "alg": algorithm} if stated and algorithm != "EdDSA" else stated
    await registered(district, public_keys=[jwk_of(algorithm, **stated)])
    transport = httpx.ASGITransport(district.apps["gateway"])
    client = AsyncOAuth2Client(
        "lab-jinjiang", key_of(algorithm), token_endpoint_auth_method="private_key_jwt", transport=transport
    )
    client.register_client_auth_method(PrivateKeyJWT(TOKEN, alg=algorithm))
    async with client:
        token = await client.fetch_token(TOKEN, grant_type="client_credentials")
    assert token["expires_in"] == 600


async def test_a_machine_with_several_keys_needs_no_kid(district: District) -> None:
    others = [ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(2)]
    keys = [json.loads(pyjwt.algorithms.ECAlgorithm.to_jwk(key)) for key in others]
    await registered(district, public_keys=[*keys, jwk_of("RS256"), jwk_of("ES256")])
    claims = {"iss": "lab-jinjiang", "sub": "lab-jinjiang", "aud": TOKEN, "jti": str(uuid4()), "exp": time.time() + 60}
    async with outside(district) as client:
        answer = await assert_it(client, pyjwt.encode(claims, MADE["ES256"], "ES256"))
    assert answer.status_code == 200, answer.text


def faulty() -> dict[str, Any]:
    now = int(time.time())
    return {
        "assertion_malformed": lambda: "x.y",
        "assertion_algorithm": lambda: pyjwt.encode({"sub": "lab-jinjiang"}, "x" * 32, "HS256"),
        "assertion_no_key": lambda: pyjwt.encode({"sub": "lab-jinjiang"}, MADE["RS256"], "RS256"),
        "assertion_kid_unknown": lambda: assertion(head={"kid": "another"}),
        "assertion_signature": lambda: pyjwt.encode(
            {"sub": "lab-jinjiang", "exp": now - 1}, MADE["ES256"], "ES256", headers={"kid": "k"}
        ),
        "assertion_claims": lambda: assertion(jti=None),
        "assertion_issuer": lambda: assertion(iss="lab-other"),
        "assertion_audience": lambda: assertion(aud="https://elsewhere.example/oauth/token"),
        "assertion_expired": lambda: assertion(exp=now - 1),
        "assertion_too_long": lambda: assertion(exp=now + 3_700),
        "assertion_early": lambda: assertion(nbf=now + 600),
    }


@pytest.mark.parametrize("code", list(faulty()))
async def test_an_assertion_that_proves_nothing_is_told_why(district: District, code: str) -> None:
    await registered(district, public_keys=[public("ES256")])
    async with outside(district, **{"accept-language": "zh"}) as client:
        answer = await assert_it(client, faulty()[code]())
        said = answer.json()
        assert (answer.status_code, said["error"], said["error_code"]) == (401, "invalid_client", code)
        assert said["error_description"].isascii()  # RFC 6749, 5.2
        assert not said["message"].isascii()


async def test_an_assertion_that_was_used_is_told_so_for_as_long_as_it_lives(district: District) -> None:
    await registered(district, public_keys=[public("ES256")])
    text = assertion(exp=int(time.time()) + 3_600)
    async with outside(district) as client:
        answers = await asyncio.gather(*(assert_it(client, text) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 4
        district.move_clock(minutes=59)
        assert (await assert_it(client, text)).json()["error_code"] == "assertion_replayed"


async def test_a_client_has_no_more_than_so_many_used_assertions(district: District) -> None:
    await registered(district, public_keys=[public("ES256")])
    await district.sql(
        "INSERT INTO gateway.attempts (lane, count, since) VALUES ($1, 1, now() + interval '1 hour')",
        (await _lane()).key,
    )
    async with outside(district) as client:
        answer = await assert_it(client, assertion())
        assert (answer.status_code, answer.json()["error_code"]) == (429, "assertions_too_many")
        assert int(answer.headers["retry-after"]) > 0
    assert await district.sql("SELECT FROM gateway.assertions") == []


async def _lane() -> Any:
    from services.gateway.accounts.rules import assertion_lanes

    return assertion_lanes("lab-jinjiang")[0]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({}, "client_unidentified"),
        ({"client_id": "nobody"}, "client_unknown"),
        ({"client_id": "lab-jinjiang"}, "client_unproven"),
        ({"client_id": "lab-jinjiang", "client_secret": "x"}, "secret_wrong"),
        ({"client_id": "lab-jinjiang", "client_secret": "x", "client_assertion": "a.b.c"}, "proof_ambiguous"),
        ({"client_id": "lab-jinjiang", "client_assertion": "a.b.c"}, "assertion_type_wrong"),
        (
            {"client_id": "lab-jinjiang", "client_assertion": "a.b.c", "client_assertion_type": ASSERTION},
            "assertion_malformed",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_who_is_no_client_is_told_why(district: District, asked: dict[str, str], code: str) -> None:
    await registered(district)
    async with outside(district) as client:
        answer = await client.post("/oauth/token", data={"grant_type": "client_credentials", **asked})
    assert (answer.status_code, answer.json()["error"], answer.json()["error_code"]) == (401, "invalid_client", code)
