"""The decision for reverse proxies: the same for every request that shows the same token and receipt."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from services.gateway.app import create_app
from services.gateway.edge.forward_auth import slug_of
from services.gateway.points import protecting
from shared.core.actors import Role
from shared.database.engine import engine_of
from shared.runtime.context import ServiceContext
from tests.gateway.behind_reverse_proxies import EXPECTED, opened, shown_by
from tests.harness import District
from tests.until import until

PATH = "/gateway/v1/forward-auth"
TIGHT = {
    "requests_a_minute_per_client": 1,
    "requests_a_minute_per_resident": 1,
    "requests_in_flight": 2,
    "browser_origins": ("https://a.example.cn",),
}
"""Limits that the second request of anybody exceeds."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "BREW", "get")
SUFFIXES = ("", "/", "/a", "/a/b.js", "//", "/%2e%2e/fever-clinic", "/%ff", "?a=b", "/a?b=%zz")
NASTY: dict[str, list[str]] = {
    "accept": ["text/html", "text/event-stream", "application/fhir+json", "image/*;q=0", ";;;q=", "\xff"],
    "accept-language": ["en", "xx-yy;q=9", ",,,;q=\xff", "a" * 5_000],
    "content-encoding": ["gzip", "br, gzip", "nonsense"],
    "content-type": ["text/plain", "application/json; charset=utf-16", "\xff/;"],
    "content-length": ["99999999999", "0"],
    "transfer-encoding": ["chunked"],
    "x-deadline-ms": ["0", "1", "-1", "9" * 30, "soon"],
    "idempotency-key": ["x", "k" * 500],
    "if-match": ['W/"1"', "*", "\xff"],
    "if-none-match": ["*", '"1"'],
    "if-modified-since": ["yesterday"],
    "range": ["bytes=0-", "bytes=9-1", "lines=1"],
    "expect": ["200-ok"],
    "origin": ["https://a.example.cn", "null", "https://evil.example.cn"],
    "access-control-request-method": ["POST", ""],
    "access-control-request-headers": ["authorization"],
    "upgrade": ["websocket", "h2c"],
    "service-worker": ["script"],
    "x-request-id": ["\xff", "r" * 9_000, "mine-12345"],
    "x-forwarded-for": ["1.2.3.4", ", ,", "\xff"],
    "x-http-method-override": ["OPTIONS"],
    "x-original-uri": [f"{PATH}/fever-clinic"],
    "x-fangxian-resident": [str(UUID(int=7))],
    "x-service-point": ["fever-clinic"],
    "cookie": ["c=" + "d" * 20_000],
    "traceparent": ["nonsense"],
}


def asks(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


def another(district: District, **settings: Any) -> ServiceContext:
    """The gateway's context, as another process has it."""
    context = district.contexts["gateway"]
    return replace(context, settings=context.settings.model_copy(update=settings))


@pytest.fixture
async def client(district: District) -> AsyncIterator[httpx.AsyncClient]:
    context = another(district, **TIGHT)
    async with asks(create_app(context.settings, context)) as made:
        yield made


def drawn(draw: random.Random) -> list[tuple[bytes, bytes]]:
    """Some nasty headers, some of them twice."""
    names = draw.sample(sorted(NASTY), draw.randint(1, 6))
    chosen = [(name, draw.choice(NASTY[name])) for name in names for _ in range(draw.choice((1, 1, 1, 2)))]
    return [(name.encode(), value.encode("latin-1")) for name, value in chosen]


async def test_nothing_but_the_token_and_the_receipt_counts(district: District, client: httpx.AsyncClient) -> None:
    resident = uuid4()
    hall = await opened(district, slug="service-hall")
    await opened(district, slug="fever-clinic", medical=True)
    shown = shown_by(district, resident, hall)
    draw = random.Random(20210120)
    for _ in range(12):
        for what, credentials in shown.items():
            plain = await client.get(f"{PATH}/service-hall", headers=credentials)
            assert plain.status_code == EXPECTED[what], what
            headers = [(name.encode(), value.encode()) for name, value in credentials.items()] + drawn(draw)
            method, suffix = draw.choice(METHODS), draw.choice(SUFFIXES)
            case = (what, method, suffix, headers)
            answer = await client.request(method, f"{PATH}/service-hall{suffix}", headers=headers)
            assert answer.status_code == plain.status_code, case
            named = "x-fangxian-resident"
            assert answer.headers.get(named) == plain.headers.get(named), case
            assert (answer.status_code != 200) or answer.content == b"", case
            assert answer.headers["cache-control"] == "no-store"
            care = await client.request(method, f"{PATH}/fever-clinic{suffix}", headers=headers)
            assert (care.status_code, care.content) == (200, b""), case
            known = what not in ("no token", "nothing", "garbage token", "basic")
            assert care.headers[named] == (str(resident) if known else ""), case
            assert not any(name.startswith("access-control-") for name in answer.headers)


@pytest.mark.parametrize(
    ("raw", "slug"),
    [
        (b"/service-hall", "service-hall"),
        (b"/service-hall/", "service-hall"),
        (b"/service-hall/../fever-clinic", "service-hall"),
        (b"/service-hall%2F..%2Ffever-clinic", "service-hall%2F..%2Ffever-clinic"),
        (b"//fever-clinic", ""),
        (b"", ""),
    ],
)
def test_a_suffix_leads_to_no_other_slug(raw: bytes, slug: str) -> None:
    assert slug_of({"raw_path": PATH.encode() + raw, "path": f"{PATH}/fever-clinic"}) == slug
    assert slug_of({"raw_path": b"/gateway/v1/forward%2Dauth/fever-clinic", "path": f"{PATH}/fever-clinic"}) == ""


async def test_a_problem_says_why_and_an_unknown_slug_is_forbidden(
    district: District, client: httpx.AsyncClient
) -> None:
    hall = await opened(district, slug="service-hall")
    shown = shown_by(district, uuid4(), hall)
    codes = {
        "no receipt": "receipt_missing",
        "another person's": "receipt_foreign",
        "another point's": "receipt_foreign",
        "expired": "receipt_expired",
        "garbage receipt": "receipt_foreign",
        "nothing": "unauthenticated",
    }
    for what, code in codes.items():
        answer = await client.post(f"{PATH}/service-hall/x", headers=shown[what])
        assert answer.json()["code"] == code
        assert ("www-authenticate" in answer.headers) is (answer.status_code == 401)
    for unknown in ("nothing", "{slug}", "%7Bslug%7D", "a%20b", "service%2Dhall", "SERVICE-HALL", "%00", "", "/"):
        answer = await client.get(f"{PATH}/{unknown}", headers=shown["good"])
        assert answer.status_code == 403, unknown
    assert (await client.get(PATH, headers=shown["good"])).status_code == 403


async def test_a_preflight_of_a_named_page_opens_nothing(district: District, client: httpx.AsyncClient) -> None:
    """A proxy that keeps the method would take the answer of CORS for a yes."""
    await opened(district, slug="service-hall")
    headers = {"origin": "https://a.example.cn", "access-control-request-method": "POST"}
    answer = await client.options(f"{PATH}/service-hall", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_a_point_that_only_proxies_ask_for_needs_no_upstream(
    district: District, client: httpx.AsyncClient
) -> None:
    command = district.caller("gateway", Role.COMMAND)
    new = {"name": "x", "region": "350582005001", "slug": "service-hall"}
    made = await command.post("/gateway/v1/service-points", json=new)
    assert (made.status_code, made.json()["upstream_url"]) == (201, None)
    headers = shown_by(district, uuid4(), UUID(made.json()["id"]))["good"]
    assert (await client.get(f"{PATH}/service-hall", headers=headers)).status_code == 200
    here = district.apps["gateway"]
    async with asks(here) as outside:
        passed_on = await outside.get("/services/service-hall/a", headers=headers)
        assert (passed_on.status_code, passed_on.json()["code"]) == (404, "not_found")
        assert (await outside.get("/services/service-hall/a")).status_code == 401
    officer = district.caller("gateway", Role.COMMUNITY_OFFICER)
    assert (await officer.post("/gateway/v1/service-points", json=new | {"slug": "other"})).status_code == 403
    path = f"/gateway/v1/service-points/{made.json()['id']}"
    for change in ({"medical": True}, {"slug": "other"}):
        assert (await officer.patch(path, json=change, headers={"if-match": '"1"'})).status_code == 403
    assert (await officer.patch(path, json={"name": "y"}, headers={"if-match": '"1"'})).status_code == 200


async def test_care_passes_while_the_database_is_away_and_the_hall_is_closed(district: District) -> None:
    context = another(district)
    app = create_app(context.settings, context)
    hall = await opened(district, slug="service-hall")
    await opened(district, slug="fever-clinic", medical=True)
    good = shown_by(district, uuid4(), hall)["good"]
    async with asks(app) as client:
        for slug in ("service-hall", "fever-clinic"):
            assert (await client.get(f"{PATH}/{slug}", headers=good)).status_code == 200
        away = context.settings.database_url.get_secret_value().partition("@")[0] + "@127.0.0.1:1/nothing"
        dead = context.settings.model_copy(update={"database_url": type(context.settings.database_url)(away)})
        context.engine = engine_of(dead)
        for headers in (good, {}, {"authorization": "Bearer garbage"}):
            assert (await client.get(f"{PATH}/fever-clinic", headers=headers)).status_code == 200
            closed = await client.get(f"{PATH}/service-hall", headers=headers)
            assert (closed.status_code, closed.json()["code"]) == (503, "unavailable")
            assert (await client.get(f"{PATH}/never-seen", headers=headers)).status_code == 503
        await context.engine.dispose()


async def test_clinics_are_known_from_the_start(district: District) -> None:
    await opened(district, slug="fever-clinic", medical=True)
    await opened(district, slug="closed-clinic", medical=True)
    await district.sql("UPDATE gateway.points SET closed_at = now() WHERE slug = 'closed-clinic'")
    points = protecting.ProtectingPoints(another(district))
    async with points.kept():
        await until(lambda: points.remembered("fever-clinic"))
    assert points.remembered("closed-clinic") is None


async def test_care_waits_only_a_moment_for_a_database_that_hangs(
    district: District, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protecting, "FIND_SECONDS", 0.2)
    await opened(district, slug="service-hall")
    await opened(district, slug="fever-clinic", medical=True)
    # A busy machine may take longer than FIND_SECONDS for an answer. Yield, because an immediate 503 does not suspend:
    # without it the answer of the database would never be read.
    while (await client.get(f"{PATH}/fever-clinic")).status_code != 200:  # noqa: ASYNC110
        await asyncio.sleep(0)
    connection = await asyncpg.connect(district.database.owner_url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE gateway.points IN ACCESS EXCLUSIVE MODE")
        assert {(await client.get(f"{PATH}/fever-clinic")).status_code for _ in range(5)} == {200}
        assert {(await client.get(f"{PATH}/service-hall")).status_code for _ in range(5)} == {503}
    await connection.close()
    while (await client.get(f"{PATH}/service-hall")).status_code != 401:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_many_at_once_share_a_query(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    await opened(district, slug="fever-clinic", medical=True)
    points = protecting.ProtectingPoints(another(district))
    asked: list[int] = []
    rows = points._rows

    async def counted(statement: Any, **values: Any) -> Any:
        asked.append(len(values["slugs"]))
        return await rows(statement, **values)

    monkeypatch.setattr(points, "_rows", counted)
    slugs = ["fever-clinic", *(f"nothing-{number}" for number in range(50))] * 4
    found = await asyncio.gather(*map(points.find, slugs))
    assert [point is not None for point in found] == [slug == "fever-clinic" for slug in slugs]
    assert sum(asked) == 51
    assert len(asked) <= 2
