"""The page about the code's token is a program: it reads the published vectors as it says."""

import json
import re
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.exceptions import InvalidSignature

from services.gateway.codes.policy import Colour
from tests.harness import District

PAGE = (Path(__file__).parents[2] / "docs" / "code-token.md").read_text("utf-8")
VECTORS = json.loads(resources.files("services.gateway.tokens").joinpath("vectors.json").read_text("utf-8"))
KEYS = [bytes.fromhex(key) for key in VECTORS["public_keys"]]


@pytest.fixture(scope="module")
def read() -> Any:
    """The reader of the page, as it stands there."""
    (program,) = re.findall(r"^```python code-token\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    code = [line for line in program.splitlines() if line.strip() and not line.startswith(("import", "from", "def"))]
    assert len(code) <= 10, "ten lines"
    names: dict[str, Any] = {}
    exec(program, names)
    return names["read"]


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=[vector["title"] for vector in VECTORS["vectors"]])
def test_the_reader_of_the_page_says_what_the_vectors_say(read: Any, vector: dict[str, Any]) -> None:
    now = datetime.fromisoformat(vector["now"]).timestamp()
    if "fault" in vector:
        with pytest.raises((AssertionError, ValueError, LookupError, InvalidSignature)):
            read(vector["text"], KEYS, now)
        return
    says = vector["says"]

    def seconds(name: str) -> int:
        return int(datetime.fromisoformat(says[name]).timestamp()) if says[name] else 0

    def number(name: str) -> int:
        return int(Colour[says[name].upper()]) if says[name] else 0

    assert read(vector["text"], KEYS, now) == (
        says["resident_id"].replace("-", ""),
        says["shown_by"] and says["shown_by"].replace("-", ""),
        seconds("issued_at"),
        number("colour"),
        number("colour_after"),
        seconds("until"),
        seconds("last_negative"),
    )


def test_the_example_of_the_page_is_a_vector() -> None:
    (example,) = re.findall(r"^FX1\.\S+$", PAGE, re.MULTILINE)
    assert example in {vector["text"] for vector in VECTORS["vectors"]}


async def test_the_addresses_of_the_page_answer_without_a_token(district: District) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(district.apps["gateway"]), base_url="http://gateway"
    ) as anybody:
        for path in re.findall(r"GET (/\.well-known/\S+\.json)", PAGE):
            answer = await anybody.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), path
            assert answer.json() == VECTORS or answer.json()["format"] == "FX1"
