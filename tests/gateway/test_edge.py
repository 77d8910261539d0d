"""G1: the edge. Who calls, and how a request reaches the service behind."""

import json
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from services.gateway.edge.internal_tokens import AUDIENCE, ISSUER, Issuer
from services.gateway.edge.paths import is_plain, upstream_path
from shared.core import clock
from shared.core.actors import Actor, Role
from shared.problems import Unauthenticated
from tests.gateway.tokens import bearer, token_of
from tests.harness import District

REGIONS = "/registry/v1/regions/350582005"


# Who calls ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [role for role in Role.ANYONE if role is not Role.RESIDENT], ids=lambda r: r.label)
async def test_a_token_says_role_scope_and_party(district: District, outside: httpx.AsyncClient, role: Role) -> None:
    token = await token_of(outside, role=role.label, region="350582", party="lab-1", subject="who")
    actor = Issuer.from_files(district.contexts["gateway"].settings.keys).actor_of(token)
    assert actor == Actor("who", role, ("350582", "350582~"), party="lab-1")


async def test_a_resident_has_no_range_but_themselves(district: District, outside: httpx.AsyncClient) -> None:
    person = uuid4()
    token = await token_of(outside, role="resident", resident_id=str(person), region="350582")
    actor = Issuer.from_files(district.contexts["gateway"].settings.keys).actor_of(token)
    assert (actor.residents, actor.range) == ((person,), ("~", ""))


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"role": "service"}, "role_unknown"),
        ({"role": "emperor"}, "role_unknown"),
        ({"role": "resident"}, "resident_needed"),
        ({"role": "command"}, "region_needed"),
        ({"role": "command", "region": "350582~"}, "string_pattern_mismatch"),
        ({"role": "command", "region": "", "lifetime_seconds": 43_201}, "less_than_equal"),
    ],
)
async def test_a_token_that_makes_no_sense_is_not_given(outside: httpx.AsyncClient, asked: object, code: str) -> None:
    answer = await outside.post("/gateway/v1/development/tokens", json=asked)
    assert answer.status_code == 422
    assert [error["code"] for error in answer.json()["errors"]] == [code]


async def test_production_has_no_development_issuer(district: District) -> None:
    from services.gateway.app import create_app

    app = create_app(district.database.settings("gateway", development_issuer=False), district.contexts["gateway"])
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answer = await client.post("/gateway/v1/development/tokens", json={"role": "command", "region": ""})
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_path")


def claims(**changed: object) -> dict[str, object]:
    now = int(clock.now().timestamp())
    given = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "iat": now, "nbf": now, "exp": now + 600,
        "role": "command", "region": "350582005", "residents": [], "party": "",
    }  # fmt: skip
    return {name: value for name, value in {**given, **changed}.items() if value is not None}


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": 1},
        {"exp": None},
        {"nbf": 9_999_999_999, "exp": 9_999_999_999 + 60},
        {"exp": 9_999_999_999},
        {"iss": "elsewhere"},
        {"aud": "registry"},
        {"aud": None},
        {"role": "service"},
        {"role": "people"},
        {"role": None},
        {"residents": ["x"]},
        {"residents": 5},
    ],
    ids=str,
)
async def test_a_token_with_a_wrong_claim_is_nobodys(
    district: District, outside: httpx.AsyncClient, changed: dict[str, object]
) -> None:
    key = Issuer.from_files(district.contexts["gateway"].settings.keys).key
    good = jwt.encode({"alg": "Ed25519"}, claims(), key, algorithms=["Ed25519"])
    assert (await outside.get(REGIONS, headers=bearer(good))).status_code == 200
    bad = jwt.encode({"alg": "Ed25519"}, claims(**changed), key, algorithms=["Ed25519"])
    answer = await outside.get(REGIONS, headers=bearer(bad))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_only_our_key_and_our_algorithm_sign(district: District, outside: httpx.AsyncClient) -> None:
    issuer = Issuer.from_files(district.contexts["gateway"].settings.keys)
    public = json.dumps(issuer.public).encode()
    head = jwt.encode({"alg": "Ed25519"}, claims(), issuer.key, algorithms=["Ed25519"]).split(".")
    none = "eyJhbGciOiJub25lIn0." + head[1] + "."
    foreign = jwt.encode(
        {"alg": "Ed25519", "kid": issuer.key.kid}, claims(), OKPKey.generate_key("Ed25519"), algorithms=["Ed25519"]
    )
    confused = jwt.encode({"alg": "HS256"}, claims(), OctKey.import_key(public), algorithms=["HS256"])
    inside = district.contexts["gateway"].signer.token_for("gateway", Actor("x", Role.COMMAND, ("", "~")))
    for token in (none, foreign, confused, inside, head[0] + "." + head[1] + ".", "x", "", "a" * 9_000, "é"):
        raw = [(b"authorization", b"Bearer " + token.encode()), (b"host", b"gateway")]
        answer = await outside.get(REGIONS, headers=raw)
        assert answer.json()["code"] == "unauthenticated", token[:40]
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_two_tokens_at_once_are_none(outside: httpx.AsyncClient) -> None:
    token = await token_of(outside, role="command", region="")
    headers = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]
    assert (await outside.get(REGIONS, headers=headers)).status_code == 401


def test_a_remembered_token_still_ends(district: District) -> None:
    issuer = Issuer.from_files(district.contexts["gateway"].settings.keys)
    token = issuer.issue(Actor("x", Role.COMMAND, ("", "~")), "", 60)
    assert issuer.actor_of(token) is issuer.actor_of(token)
    clock.move(timedelta(seconds=61))
    with pytest.raises(Unauthenticated):
        issuer.actor_of(token)
    clock.move(timedelta(0))


async def test_what_is_internal_takes_internal_tokens_only(district: District, outside: httpx.AsyncClient) -> None:
    feed = "/internal/feed?types=gateway.code.v1"
    from_outside = await token_of(outside, role="command", region="")
    assert (await outside.get(feed, headers=bearer(from_outside))).status_code == 401
    service = district.contexts["testing"].signer.token_for("gateway", Actor("service:testing", Role.SERVICE))
    assert (await outside.get(feed, headers=bearer(service))).status_code == 200


# Through to the services --------------------------------------------------------------------------------------------


async def test_a_request_passes_with_the_callers_scope_language_and_key(outside: httpx.AsyncClient) -> None:
    token = await token_of(outside, role="command", region="350582005")
    new = {"code": "35058200500177", "name": "第七片"}
    headers = bearer(token, **{"idempotency-key": "through-the-edge", "x-request-id": "asked-by-me-1"})
    made = await outside.post("/registry/v1/regions", json=new, headers=headers)
    assert made.status_code == 201, made.text
    assert made.headers.get_list("x-request-id") == ["asked-by-me-1"]
    assert made.headers.get_list("x-content-type-options") == ["nosniff"]
    again = await outside.post("/registry/v1/regions", json=new, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    found = await outside.get(made.headers["location"], headers=headers)
    assert found.json() == made.json()

    elsewhere = bearer(await token_of(outside, role="command", region="350582004"), **{"accept-language": "en"})
    refused = await outside.get("/registry/v1/regions/350582005", headers=elsewhere)
    assert (refused.status_code, refused.json()["title"]) == (404, "Not found")


async def test_nobody_passes_without_a_token(outside: httpx.AsyncClient) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        answer = await outside.request(method, "/registry/v1/regions")
        assert answer.json()["code"] == "unauthenticated", method


DETOURS = [
    "/registry/../internal/feed",
    "/registry/v1/../../internal/feed",
    "/registry/%2e%2e/internal/feed",
    "/registry/v1/%2e%2e/%2e%2e/internal/feed",
    "/registry/v1/..%2f..%2finternal/feed",
    "/registry/v1/%252e%252e/%252e%252e/internal/feed",
    "/registry/v1/.%2e/x",
    "/registry/v1/..;x/..;x/internal/feed",
    "/registry//internal/feed",
    "/registry/v1//regions",
    "/registry/v1/./regions",
    "/registry/v1/%5c..%5cinternal",
    "/registry/v1/regions%0d%0ax",
    "/registry/internal/feed",
    "/metrics",
    "/metrics/gateway",
    "/registry/metrics",
    "/registry/metrics/gateway",
    "/registry/readyz",
    "/registry/openapi.json",
    "/registry/",
    "/registry/testing/v1/rolls",
    "/registry/V1/regions",
]


@pytest.mark.parametrize("path", DETOURS)
async def test_no_detour_leads_inside(district: District, outside: httpx.AsyncClient, path: str) -> None:
    token = await token_of(outside, role="command", region="")
    status, body = await raw_get(district, path, token)
    assert status == 404, body
    assert json.loads(body)["code"] == "no_such_path"


async def raw_get(district: District, path: str, token: str) -> tuple[int, bytes]:
    """A GET whose path no client has tidied up: the scope as a server would make it."""
    from urllib.parse import unquote

    sent: list[dict[str, object]] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"gateway"), (b"authorization", f"Bearer {token}".encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: object) -> None:
        sent.append(message)  # type: ignore[arg-type]

    await district.apps["gateway"](scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])  # type: ignore[misc]
    return sent[0]["status"], body  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("path", "passed"),
    [
        ("/testing/v1/rolls", "/testing/v1/rolls"),
        ("/testing/v1", "/testing/v1"),
        ("/testing/v1/rolls/", "/testing/v1/rolls/"),
        ("/testing/v1/a b/中?#", "/testing/v1/a%20b/%E4%B8%AD%3F%23"),
        ("/testing/v1/100%", "/testing/v1/100%25"),
        ("/registry/v1/rolls", None),
        ("/testing/v1/..", None),
        ("/testing/v1/a\x7f", None),
    ],
)
def test_paths(path: str, passed: str | None) -> None:
    assert upstream_path(path, "testing") == passed


def test_a_plain_path_has_no_detour() -> None:
    assert is_plain("/")
