"""Trust in other issuers: found by discovery, pinned to one algorithm, and no burden to anybody else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey, RSAKey

from services.gateway.edge.internal_tokens import Issuer
from services.gateway.edge.trusted_issuers import ForeignIssuer, TrustedIssuers
from shared.core import clock
from shared.core.actors import Actor, Role
from shared.core.settings import TrustedIssuer
from shared.problems import Problem, Unauthenticated, Unavailable
from tests.harness import District

CITY = "https://sso.jinjiang.example"
KEY = RSAKey.generate_key(2048, {"kid": "one"})
NEXT_KEY = RSAKey.generate_key(2048, {"kid": "two"})


def trusted(**changed: Any) -> TrustedIssuer:
    given = {
        "issuer": CITY,
        "audience": "fangxian",
        "roles": {"city-command": "command", "auditor": "auditor", "clinic": "hospital"},
        "region": "350582",
        "role_claim": "position",
        "region_claim": "area",
        **changed,
    }
    return TrustedIssuer(**given)


@dataclass
class City:
    """The city's issuer, as a server of its own would answer."""

    keys: list[Any] = field(default_factory=lambda: [KEY])
    asked: int = 0
    discovery: dict[str, Any] = field(default_factory=dict)
    body: bytes | None = None
    delay: float = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        await asyncio.sleep(self.delay)
        if request.url.path == "/.well-known/openid-configuration":
            return httpx.Response(200, json={"issuer": CITY, "jwks_uri": f"{CITY}/keys", **self.discovery})
        if self.body is not None:
            return httpx.Response(200, content=self.body)
        return httpx.Response(200, json={"keys": [published(key) for key in self.keys]})


def published(key: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), "kid": key.kid, "use": "sig"}


def token(key: Any = KEY, algorithm: str = "RS256", head: Any = None, **changed: Any) -> str:
    now = int(clock.now().timestamp())
    claims = {
        "iss": CITY,
        "aud": ["fangxian", "other"],
        "sub": "u-1",
        "iat": now,
        "exp": now + 600,
        "position": "city-command",
        "area": "350582005",
        **changed,
    }
    header = {"alg": algorithm, "kid": key.kid if hasattr(key, "kid") else "one", **(head or {})}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(header, kept, key, algorithms=[algorithm])


@asynccontextmanager
async def trusting(
    district: District, city: City, *others: ForeignIssuer, **changed: Any
) -> AsyncIterator[TrustedIssuers]:
    foreign = ForeignIssuer(trusted(**changed), httpx.MockTransport(city))
    all_of_them = {one.trusted.issuer: one for one in (foreign, *others)}
    found = TrustedIssuers(Issuer.from_files(district.contexts["gateway"].settings.keys), all_of_them)
    async with found.running():
        await until(lambda: city.asked >= 1 and (foreign._keys is not None or city.delay > 0 or city.body is not None))
        yield found


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - what is waited for is in the middle of other tasks
            await asyncio.sleep(0.01)


def refusal(found: TrustedIssuers, text: str) -> type[Problem] | None:
    try:
        found.actor_of(text)
    except Problem as problem:
        return type(problem)
    return None


async def test_the_citys_people_act_as_far_as_its_word_goes(district: District) -> None:
    async with trusting(district, City()) as found:
        actor = found.actor_of(token())
        assert actor == Actor(f"{CITY}#u-1", Role.COMMAND, ("350582005", "350582005~"))
        clinic = found.actor_of(token(position="clinic", party="hospital-one"))
        assert (clinic.role, clinic.party) == (Role.HOSPITAL, "hospital-one")
        own = found.own.issue(Actor("me", Role.COMMAND), "", 60)
        assert found.actor_of(own).subject == "me"


NOT_ITS_TO_SAY: dict[str, Callable[[], str]] = {
    "role unknown": lambda: token(position="emperor"),
    "our role by our name": lambda: token(position="command"),
    "service": lambda: token(position="service"),
    "a machine of nobody": lambda: token(position="clinic"),
    "a machine without a name": lambda: token(position="clinic", party=""),
    "no role": lambda: token(position=None),
    "another region": lambda: token(area="350583"),
    "the whole": lambda: token(area=""),
    "above its own": lambda: token(area="3505"),
    "no region": lambda: token(area="350582~"),
    "another audience": lambda: token(aud="other"),
    "no audience": lambda: token(aud=None),
    "expired": lambda: token(exp=1),
    "no end": lambda: token(exp=None),
    "not yet": lambda: token(nbf=int(clock.now().timestamp()) + 60),
    "for a year": lambda: token(exp=int(clock.now().timestamp()) + 365 * 86_400),
    "a thousand scopes": lambda: token(scope=" ".join(f"s{n}" for n in range(1_000))),
    "101 scopes": lambda: token(scope="s " * 101),
    "another issuer": lambda: token(iss="https://elsewhere.example"),
    "our own issuer": lambda: token(iss="fangxian"),
    "foreign key": lambda: token(RSAKey.generate_key(2048, {"kid": "one"})),
    "PS256": lambda: token(KEY, "PS256"),
    "public key as secret": lambda: token(OctKey.import_key(json.dumps(published(KEY))), "HS256", {"kid": "one"}),
    "pem as secret": lambda: token(OctKey.import_key(b"-" + KEY.as_pem(private=False)), "HS256", {"kid": "one"}),
    "none": lambda: "eyJhbGciOiJub25lIiwia2lkIjoib25lIn0." + token().split(".")[1] + ".",
    "cut": lambda: token()[:-4],
    "no token": lambda: "a.b.c",
    "nested": lambda: "W1tb" * 1_000 + ".e30.x",
    "jku": lambda: token(RSAKey.generate_key(2048, {"kid": "one"}), head={"jku": "https://evil.example/keys"}),
}


@pytest.mark.parametrize("which", list(NOT_ITS_TO_SAY))
async def test_what_an_issuer_may_not_say_is_nobody(district: District, which: str) -> None:
    async with trusting(district, City()) as found:
        assert refusal(found, NOT_ITS_TO_SAY[which]()) is Unauthenticated


@pytest.mark.parametrize(
    "kid", ["../../../../etc/passwd", "one' OR '1'='1", "one\0", "", "x" * 1_000, "https://evil.example/k", "two"]
)
async def test_a_kid_is_looked_up_and_nothing_else(district: District, kid: str) -> None:
    city = City()
    async with trusting(district, city) as found:
        asked = city.asked
        assert refusal(found, token(head={"kid": kid})) is Unauthenticated
        assert city.asked == asked


async def test_keys_change_without_a_restart(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{TrustedIssuers.__module__}.AGAIN_SECONDS", 0.2)
    city = City()
    async with trusting(district, city) as found:
        old = token()
        assert refusal(found, old) is None
        city.keys = [NEXT_KEY]
        await asyncio.sleep(0.3)
        new = token(NEXT_KEY)
        # Its key is fetched off the request's way; whoever comes first is asked to come again in a second.
        assert refusal(found, new) is Unavailable
        await until(lambda: refusal(found, new) is None)
        # The old key was withdrawn: also tokens that had been found good no longer hold.
        await asyncio.sleep(0.3)
        assert refusal(found, old) in (Unauthenticated, Unavailable)


async def test_nobody_can_make_us_fetch_often(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{TrustedIssuers.__module__}.AGAIN_SECONDS", 0.3)
    city = City()
    async with trusting(district, city) as found:
        began, asked = asyncio.get_running_loop().time(), city.asked
        for number in range(3_000):
            assert refusal(found, token(head={"kid": f"k{number}"})) in (Unauthenticated, Unavailable)
            if number % 100 == 0:
                await asyncio.sleep(0.01)
        seconds = asyncio.get_running_loop().time() - began
        assert city.asked - asked <= 2 * (seconds / 0.3 + 1)


async def test_a_slow_issuer_keeps_only_its_own_people_waiting(district: District) -> None:
    slow = ForeignIssuer(trusted(issuer="https://slow.example"), httpx.MockTransport(City(delay=3600)))
    async with trusting(district, City(), slow) as found:
        assert refusal(found, token()) is None
        assert refusal(found, token(iss="https://slow.example")) is Unavailable


@pytest.mark.parametrize(
    "city",
    [
        City(body=b'{"keys": [' + b" " * (10 << 20) + b"]}"),
        City(body=json.dumps({"keys": [published(KEY)] * 51}).encode()),
        City(body=b"[]"),
        City(body=b"<html>"),
        City(body=b'{"keys": 5}'),
        City(body=b"{}"),
        City(body=b"[" * 100_000),
        City(body=b"", discovery={"issuer": "https://elsewhere.example"}),
        City(body=b"", discovery={"jwks_uri": "http://169.254.169.254/keys"}),
        City(body=b"", discovery={"jwks_uri": "file:///etc/passwd"}),
        City(body=b"", discovery={"jwks_uri": 5}),
    ],
    ids=["10 MB", "many", "list", "html", "number", "empty", "deep", "issuer", "http", "file", "uri"],
)
async def test_keys_that_make_no_sense_are_not_taken(district: District, city: City) -> None:
    async with trusting(district, city) as found:
        await asyncio.sleep(0.1)
        assert refusal(found, token()) is Unavailable
        own = found.own.issue(Actor("me", Role.COMMAND), "", 60)
        assert refusal(found, own) is None


async def test_keys_of_other_kinds_and_uses_are_left_out(district: District) -> None:
    sets = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {**published(KEY), "use": "enc", "kid": "enc"},
        {**published(KEY), "alg": "RS512", "kid": "other"},
        OKPKey.generate_key("Ed25519", {"kid": "ed"}).as_dict(private=False) | {"kid": "ed"},
        {**published(KEY), "n": 5, "kid": "number"},
        {**published(KEY), "n": "AQAB", "kid": "tiny"},
        "nonsense",
        published(KEY),
    ]
    city = City(body=json.dumps({"keys": sets}).encode())
    async with trusting(district, city) as found:
        foreign = found.foreign[CITY]
        await until(lambda: foreign._keys is not None)
        assert set(foreign._keys or ()) == {"one"}
        assert refusal(found, token()) is None


async def test_a_remembered_token_still_ends(district: District) -> None:
    async with trusting(district, City()) as found:
        text = token()
        assert refusal(found, text) is None
        district.move_clock(seconds=602)
        assert refusal(found, text) is None  # a clock may be five seconds off
        district.move_clock(seconds=606)
        assert refusal(found, text) is Unauthenticated
