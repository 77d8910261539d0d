"""A page that names a problem names one that exists: readers decide by it."""

import re
from pathlib import Path

import httpx
import pytest

from tests.harness import District

NAMED = re.compile(r"\b[45]\d\d `([a-z][a-z0-9_]*)`")
"""`422 key_reused`, as the pages write it."""


@pytest.fixture
async def codes(district: District) -> set[str]:
    transport = httpx.ASGITransport(district.apps["gateway"])
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return {problem["code"] for problem in (await client.get("/problems")).json()}


def test_every_problem_that_a_page_names_exists(codes: set[str], repository: Path) -> None:
    pages = [*(repository / "docs").glob("*.md"), *repository.glob("*.md")]
    named = {(page.name, code) for page in pages for code in NAMED.findall(page.read_text(encoding="utf-8"))}
    assert ("integrating.md", "key_reused") in named
    assert {(page, code) for page, code in named if code not in codes} == set()
