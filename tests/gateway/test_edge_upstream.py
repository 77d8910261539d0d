"""Behind the edge: what passes to a service, and what becomes of one that breaks off, hangs or is down."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from shared.http.handlers import BrokenOff
from tests.gateway.tokens import bearer, token_of
from tests.harness import District


class Upstream:
    """A service that answers what it is told to, over a real socket."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], int]] = []
        self.most_waiting = 0
        self.answers: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
            how = self.answers.pop(0) if self.answers else "ok"
            if how == "drop":
                self.seen.append((head[0], headers, 0))
                return
            size = 0
            remaining = int(headers.get("content-length", 0))
            while remaining:
                chunk = await reader.read(min(65_536, remaining))
                remaining -= len(chunk)
                size += len(chunk)
            self.seen.append((head[0], headers, size))
            if how == "hang":
                await asyncio.sleep(30)
            hop = b"Connection: close, x-secret\r\nx-secret: 1\r\nset-cookie: a=b\r\nserver: mine\r\n"
            if how == "break":
                writer.write(b"HTTP/1.1 200 OK\r\n" + hop + b"content-length: 100\r\n\r\nhalf")
                return
            writer.write(b"HTTP/1.1 200 OK\r\n" + hop + b"content-type: text/csv\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()
        finally:
            writer.close()


@pytest.fixture
async def upstream(district: District, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Upstream]:
    """A service of our own making in the place of testing, and of the registry, which takes files."""
    made = Upstream()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        for service in ("testing", "registry"):
            monkeypatch.setitem(district.contexts["gateway"].service_clients._clients, service, client)
        yield made
    server.close()


async def test_what_passes_and_what_stays_behind(upstream: Upstream, outside: httpx.AsyncClient) -> None:
    token = await token_of(outside, role="sampler", region="350582005")
    headers = bearer(
        token,
        **{
            "accept-language": "en",
            "if-match": '"3"',
            "cookie": "c=d",
            "x-forwarded-for": "1.1.1.1",
            "x-deadline-ms": "9000",
        },
    )
    answer = await outside.get("/testing/v1/rolls?a=%2F&b=", headers=headers)
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "ok", "text/csv")
    for kept in ("x-secret", "set-cookie", "server"):
        assert kept not in answer.headers
    line, seen, _ = upstream.seen[0]
    assert line == "GET /testing/v1/rolls?a=%2F&b= HTTP/1.1"
    assert token not in seen["authorization"]
    assert (seen["accept-language"], seen["if-match"]) == ("en", '"3"')
    assert 0 < int(seen["x-deadline-ms"]) <= 9000
    assert seen["x-request-id"] == answer.headers["x-request-id"]
    assert not {"cookie", "x-forwarded-for"} & seen.keys()


async def test_a_lost_connection_is_tried_again_once_for_what_changes_nothing(
    upstream: Upstream, outside: httpx.AsyncClient
) -> None:
    headers = bearer(await token_of(outside, role="sampler", region="350582005"), **{"accept-language": "en"})
    upstream.answers = ["drop"]
    assert (await outside.get("/testing/v1/rolls", headers=headers)).text == "ok"
    assert len(upstream.seen) == 2
    upstream.answers = ["drop"]
    answer = await outside.post("/testing/v1/rolls", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_failed")
    assert answer.json()["title"] == "A connected system failed"
    assert len(upstream.seen) == 3


async def test_half_an_answer_is_not_taken_for_a_whole_one(
    district: District, upstream: Upstream, outside: httpx.AsyncClient
) -> None:
    headers = bearer(await token_of(outside, role="sampler", region="350582005"))
    upstream.answers = ["break"]
    transport = httpx.ASGITransport(district.apps["gateway"], raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        with pytest.raises(BrokenOff):
            await client.get("/testing/v1/rolls", headers=headers)
    assert len(upstream.seen) == 1


async def test_a_service_that_hangs_is_given_up(upstream: Upstream, outside: httpx.AsyncClient) -> None:
    headers = bearer(await token_of(outside, role="sampler", region="350582005"), **{"x-deadline-ms": "200"})
    upstream.answers = ["hang"]
    answer = await outside.get("/testing/v1/rolls", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream_timeout")


async def test_a_service_that_is_down(outside: httpx.AsyncClient, district: District, monkeypatch) -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False) as client:
        monkeypatch.setitem(district.contexts["gateway"].service_clients._clients, "observation", client)
        headers = bearer(await token_of(outside, role="sampler", region="350582005"))
        answer = await outside.get("/observation/v1/orders", headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (502, "关联系统处理失败")
    assert answer.headers["retry-after"] == "5"


async def test_an_upload_streams_through_in_bounded_memory(upstream: Upstream, outside: httpx.AsyncClient) -> None:
    import tracemalloc

    headers = bearer(await token_of(outside, role="command", region="350582005"))
    size = 64 << 20

    async def file() -> AsyncIterator[bytes]:
        chunk = bytes(1 << 16)
        for _ in range(size // len(chunk)):
            yield chunk

    tracemalloc.start()
    answer = await outside.post(
        "/registry/v1/imports", content=file(), headers={**headers, "content-length": str(size)}
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 200
    assert upstream.seen[0][2] == size
    assert peak < 16 << 20


async def test_too_large_is_refused_without_reading_it(upstream: Upstream, outside: httpx.AsyncClient) -> None:
    token = await token_of(outside, role="command", region="")
    for path, most in (("/registry/v1/imports", 256 << 20), ("/testing/v1/seals", 4 << 20), ("/testing/v1/x", 1 << 20)):
        headers = bearer(token, **{"content-length": str(most + 1)})
        answer = await outside.post(path, content=b"", headers=headers)
        assert answer.status_code == 413, path
    assert upstream.seen == []


async def test_figures_are_for_the_inside(district: District, outside: httpx.AsyncClient) -> None:
    """The gateway's own port is everybody's: its figures are asked for behind it, with a token of ours."""
    assert (await outside.get("/metrics")).status_code == 404
    assert (await outside.get("/internal/metrics")).status_code == 401
    token = await token_of(outside, role="command", region="")
    answer = await outside.get("/internal/metrics", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    for service in ("registry", "testing", "observation"):
        transport = httpx.ASGITransport(district.apps[service])
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{service}") as inside:
            own = await inside.get("/metrics")
            edge = await inside.get("/metrics/gateway")
        assert own.status_code == edge.status_code == 200, edge.text
        assert edge.headers["content-type"] == own.headers["content-type"]
        assert "fangxian_request_seconds_count" in edge.text
