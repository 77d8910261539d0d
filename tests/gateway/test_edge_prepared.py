"""The documents are large and change rarely: they are sent compressed, and not again to whom has them."""

import gzip

import httpx
import pytest

from shared.http.prepared import takes_gzip
from tests.harness import District

DOCUMENTS = ["/openapi.json", "/asyncapi.json", "/gateway/openapi.json"]


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_a_document_is_compressed_for_who_takes_that(outside: httpx.AsyncClient, path: str) -> None:
    plain = await outside.get(path, headers={"accept-encoding": "identity"})
    small = await outside.get(path, headers={"accept-encoding": "br, gzip;q=0.5"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert small.content == plain.content
    assert int(small.headers["content-length"]) < int(plain.headers["content-length"]) / 4
    for answer in (plain, small):
        assert "accept-encoding" in answer.headers["vary"]
        assert answer.headers["cache-control"] == "public, max-age=60"
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_who_has_a_document_is_not_sent_it_again(outside: httpx.AsyncClient, path: str) -> None:
    plain = await outside.get(path, headers={"accept-encoding": "identity"})
    small = await outside.get(path, headers={"accept-encoding": "gzip"})
    tags = plain.headers["etag"], small.headers["etag"]
    assert tags[0] != tags[1]
    assert all(tag.startswith('"') for tag in tags)
    for held in (*tags, f"W/{tags[0]}", f'"other", {tags[1]}', "*"):
        answer = await outside.get(path, headers={"if-none-match": held})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] in tags
        assert answer.headers["cache-control"] == "public, max-age=60"
        assert "accept-encoding" in answer.headers["vary"]
    other = await outside.get(path, headers={"if-none-match": '"other"'})
    assert (other.status_code, other.content) == (200, plain.content)


async def test_each_service_compresses_its_own_too(district: District) -> None:
    for service in ("registry", "testing", "observation"):
        transport = httpx.ASGITransport(district.apps[service])
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{service}") as client:
            answer = await client.get("/openapi.json", headers={"accept-encoding": "gzip"})
            known = await client.get("/openapi.json", headers={"if-none-match": answer.headers["etag"]})
        assert answer.headers["content-encoding"] == "gzip"
        assert known.status_code == 304


async def test_the_compressed_bytes_are_whole(outside: httpx.AsyncClient) -> None:
    async with outside.stream("GET", "/openapi.json", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert gzip.decompress(raw) == (await outside.get("/openapi.json", headers={"accept-encoding": "identity"})).content


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("*, gzip;q=0", False),
        ("br, gzip;q=0.001", True),
        ("identity", False),
    ],
)
def test_what_a_caller_takes(header: str, takes: bool) -> None:
    assert takes_gzip(header) is takes
