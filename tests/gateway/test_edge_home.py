"""The first page: whoever opens the address learns what it is and finds the documents."""

import re

import httpx
import pytest

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("language", "words"),
    [("zh-CN", "先验码、后服务"), ("en", "Verify the code before the service")],
    ids=["zh-CN", "en"],
)
async def test_people_get_a_page_in_their_language(outside: httpx.AsyncClient, language: str, words: str) -> None:
    answer = await outside.get("/", headers={"accept": BROWSER, "accept-language": language})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-language"] == language
    assert f'<html lang="{language}">' in answer.text
    assert f"<h1>{words}</h1>" in answer.text


async def test_the_page_loads_nothing_and_runs_nothing(outside: httpx.AsyncClient) -> None:
    answer = await outside.get("/", headers={"accept": BROWSER})
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'; base-uri 'none'" in policy
    assert not re.search(r"<(script|img|link|form|iframe)|https?:|\son\w+=", answer.text)
    assert not answer.cookies


async def test_all_it_leads_to_is_there_and_open_to_everybody(outside: httpx.AsyncClient) -> None:
    page = await outside.get("/", headers={"accept": BROWSER})
    links = re.findall(r'href="([^"]+)"', page.text)
    assert {
        "/docs",
        "/openapi.json",
        "/asyncapi.json",
        "/livez",
        "/readyz",
        "/.well-known/openid-configuration",
    } <= set(links)
    assert [(path, (await outside.get(path)).status_code) for path in links] == [(path, 200) for path in links]


async def test_who_asks_for_json_gets_the_same_links(outside: httpx.AsyncClient) -> None:
    page = await outside.get("/", headers={"accept": BROWSER, "accept-language": "en"})
    answer = await outside.get("/", headers={"accept": "application/json", "accept-language": "en"})
    said = answer.json()
    assert [link["href"] for link in said["links"]] == re.findall(r'href="([^"]+)"', page.text)
    assert said["links"][1]["title"] == "All operations (OpenAPI 3.1)"
    assert {"accept", "accept-language"} == set(answer.headers["vary"].split(", "))


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_it_says_the_same_whoever_asks(outside: httpx.AsyncClient, accept: str) -> None:
    stranger = await outside.get("/", headers={"accept": accept})
    known = await outside.get("/", headers={"accept": accept, "authorization": "Bearer nonsense"})
    assert (known.status_code, known.content) == (200, stranger.content)


async def test_another_format_is_refused(outside: httpx.AsyncClient) -> None:
    answer = await outside.get("/", headers={"accept": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
