"""`/docs`: every operation and every guide, readable in a browser that has no network and runs no script."""

import base64
import hashlib
import html
import re
import runpy
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.gateway.edge.merging import operations
from services.gateway.edge.reference import guides
from services.gateway.edge.tags import TAGS

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
LINK = re.compile(r'href="([^"]+)"')
ANCHOR = re.compile(r'id="([^"]+)"')


async def page(outside: httpx.AsyncClient, path: str, language: str = "en") -> str:
    answer = await outside.get(path, headers={"accept": BROWSER, "accept-language": language})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), path
    assert answer.headers["content-language"] == language
    return answer.text


@pytest.fixture
async def document(outside: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await outside.get("/openapi.json")).json()
    return found


async def test_the_first_page_names_every_operation(outside: httpx.AsyncClient, document: dict[str, Any]) -> None:
    chinese, english = [await page(outside, "/docs", language) for language in ("zh-CN", "en")]
    assert '<html lang="zh-CN">' in chinese
    assert "<h1>防线接口文档</h1>" in chinese
    assert "<h1>Fangxian documentation</h1>" in english
    for operation in operations(document):
        assert f"#{operation['operationId']}" in chinese
        assert html.escape(operation["summary"]) in english
    for tag in document["tags"]:
        assert html.escape(TAGS[tag["name"]].zh) in chinese, tag["name"]


async def test_each_operation_is_shown_whole(outside: httpx.AsyncClient) -> None:
    shown = await page(outside, "/docs/api/residents")
    at = shown.index('id="change_resident"')
    section = shown[at : shown.index("</section>", at)]
    for words in ("PATCH", "/registry/v1/residents/{resident_id}", "If-Match", "phone", "Roles:", "curl -X PATCH"):
        assert words in section, words
    assert '<a href="/docs/problems#version_mismatch">' in section
    assert "003582********0019" in section  # the example of the answer


async def test_every_link_leads_somewhere(outside: httpx.AsyncClient, document: dict[str, Any]) -> None:
    """All pages under `/docs`, from the first one, with the places in them that links name."""
    seen: dict[str, set[str]] = {}
    named: set[tuple[str, str, str]] = set()
    waiting = ["/docs"]
    while waiting:
        path = waiting.pop()
        text = await page(outside, path)
        seen[path] = set(ANCHOR.findall(text))
        for link in map(html.unescape, LINK.findall(text)):
            to, _, place = link.partition("#")
            if to.startswith("/docs") or not to:
                named.add((path, to or path, place))
                if to and to not in seen and to not in waiting:
                    waiting.append(to)
    assert [one for one in named if one[2] and one[2] not in seen[one[1]]] == []
    tags = {tag for operation in operations(document) for tag in operation["tags"]}
    assert len(seen) == 2 + len(tags) + len(guides.guides())
    for path in ("/", "/openapi.json", "/asyncapi.json"):
        assert (await outside.get(path)).status_code == 200


async def test_every_guide_of_the_repository_is_served(outside: httpx.AsyncClient, repository: Path) -> None:
    for file in [repository / "README.md", repository / "SECURITY.md", *(repository / "docs").glob("*.md")]:
        text = file.read_text(encoding="utf-8")
        heading = re.search(r"^# (.+)$", text, re.MULTILINE)
        assert heading is not None
        shown = await page(outside, f"/docs/{file.stem}", "zh-CN")
        assert html.escape(heading[1].replace("`", ""), quote=False) in re.sub(r"</?code>", "", shown)
        assert shown.count("<pre>") == text.count("\n```") // 2 + text.startswith("```")
    assert '<a href="/docs/running' in await page(outside, "/docs/README")


@pytest.mark.parametrize("path", ["/docs", "/docs/api/service-points", "/docs/integrating", "/docs/problems"])
async def test_a_page_loads_nothing_and_runs_nothing(outside: httpx.AsyncClient, path: str) -> None:
    answer = await outside.get(path, headers={"accept": BROWSER})
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "form-action 'none'; frame-ancestors 'none'; base-uri 'none'" in policy
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in policy
    assert not re.search(r"<(script|img|link|form|iframe|object|embed)\b|<[^>]+\s(on\w+|style|src)=", answer.text)
    again = await outside.get(path, headers={"accept": BROWSER, "if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert {"accept-language", "accept-encoding"} == set(again.headers["vary"].split(", "))


@pytest.mark.parametrize("path", ["/docs/nothing", "/docs/api/nothing", "/docs/..%2Fpyproject", "/docs/api/docs/x"])
async def test_an_unknown_page_is_not_found(outside: httpx.AsyncClient, path: str) -> None:
    answer = await outside.get(path, headers={"accept": BROWSER})
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_path")


async def test_another_format_is_refused(outside: httpx.AsyncClient) -> None:
    answer = await outside.get("/docs", headers={"accept": "application/pdf"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


async def test_problems_are_explained_in_both_languages(outside: httpx.AsyncClient) -> None:
    for language, words in (("zh-CN", "该区划代码已存在"), ("en", "This region code already exists")):
        assert words in await page(outside, "/docs/problems", language)


def test_html_in_a_guide_is_shown_and_not_taken_for_markup() -> None:
    guide = guides.Guide(
        "docs/x.md", "x", "# x\n\n<script>1</script> [a](../services/x.py) [b](javascript:1)\n\n## x\n"
    )
    shown = guides.rendered(guide)
    assert "<script>" not in shown
    assert "javascript:" not in "".join(LINK.findall(shown))
    assert ">a<" not in shown  # a file of the source is not served: its words stay
    assert "a" in shown
    assert ANCHOR.findall(shown) == ["x", "x-1"]


def test_a_wheel_carries_the_guides(tmp_path: Path, repository: Path) -> None:
    from setuptools import Distribution

    build = runpy.run_path(str(repository / "setup.py"))["BuildWithGuides"](Distribution({"name": "x"}))
    build.initialize_options()
    build.build_lib = str(tmp_path)
    build.finalize_options()
    build.run()
    inside = guides.PACKAGED.relative_to(repository)
    carried = {file.relative_to(tmp_path / inside).as_posix() for file in (tmp_path / inside).rglob("*.md")}
    assert carried == {guide.source for guide in guides.guides().values()}
    assert {"README.md", "docs/integrating.md"} <= carried
