"""What the demo notes: a check that fails is seen, in the table and in the exit code."""

import asyncio
import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from standardwebhooks import Webhook

from deploy.demo import journey
from deploy.demo.installation import Installation
from deploy.demo.parties import Refused
from deploy.demo.receiver import Municipality, SampleService, serving
from deploy.demo.table import Checks, show, stopwatch
from deploy.demo.world import until

SECRET = "whsec_" + "QUFB" * 11


def test_what_is_as_expected_is_well() -> None:
    checks = Checks()
    assert checks.equal("colours", Counter(green=2), Counter(green=2, red=0))
    assert checks.each("grids", {"a": 1}, {"a": 1})
    assert checks.within("time", 1.0, 0.999)
    assert not checks.failed


@pytest.mark.parametrize("got", [{"a": 1}, {"a": 1, "b": 3}, {"a": 1, "b": 2, "c": 0}])
def test_one_too_few_another_or_one_too_many_is_a_failure(got: dict[str, int]) -> None:
    checks = Checks()
    assert not checks.each("grids", {"a": 1, "b": 2}, got)
    assert not checks.equal("grids", {"a": 1, "b": 2}, got)
    assert len(checks.failed) == 2


def test_too_late_is_a_failure() -> None:
    checks = Checks()
    assert not checks.within("time", 1.0, 1.001)
    assert [check.what for check in checks.failed] == ["time"]


def test_the_table_says_what_failed() -> None:
    checks = Checks(step="3")
    checks.equal("yellow [people]", 10, 10, 0.5)
    checks.equal("red", 1, 2)
    text = io.StringIO()
    show(checks, Console(file=text, width=120))
    assert "yellow [people]" in text.getvalue()
    assert "0.50 s" in text.getvalue()
    assert text.getvalue().count("FAILED") == 1
    assert "2 checks, 1 failed." in text.getvalue()


@contextlib.contextmanager
def nothing_running(*_: object) -> Iterator[Installation]:
    yield Installation("http://127.0.0.1:1", 2**22 + 1, Path("nowhere"))


@pytest.mark.parametrize(("expected", "got", "well"), [(1, 1, True), (1, 2, False)])
def test_the_demo_ends_well_only_if_every_check_is(
    monkeypatch: pytest.MonkeyPatch, expected: int, got: int, well: bool
) -> None:
    async def story(_people: int, _seed: int, _url: str, checks: Checks, _progression: object) -> None:
        checks.equal("one thing", expected, got)

    monkeypatch.setattr(journey, "running", nothing_running)
    monkeypatch.setattr(journey, "_journey", story)
    assert journey.demonstrate(600, 1, None, None) is well


@pytest.mark.parametrize("trouble", [Refused("GET /x", 500, {}), KeyError("id"), None])
def test_a_story_that_breaks_off_or_checks_nothing_does_not_end_well(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception | None
) -> None:
    async def story(*_: object) -> None:
        if trouble:
            raise trouble

    monkeypatch.setattr(journey, "running", nothing_running)
    monkeypatch.setattr(journey, "_journey", story)
    assert journey.demonstrate(600, 1, None, None) is False


async def test_patience_has_an_end() -> None:
    async def never() -> int:
        return 0

    with stopwatch() as lap:
        assert await until(never, lambda answer: answer == 1, patience=0.2, every=0.05) == 0
    assert lap.seconds >= 0.2


def event(version: int, colour: str) -> str:
    data = {"id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11", "version": version, "colour": colour}
    return json.dumps({"type": "gateway.code.v1", "data": data})


def signed(body: str, secret: str = SECRET, at: datetime | None = None) -> dict[str, str]:
    now = at or datetime.now(UTC)
    signature = Webhook(secret).sign("msg_1", now, body)
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


async def test_the_city_believes_only_what_is_signed() -> None:
    city = Municipality(secrets={"/grid": SECRET})
    body = event(2, "red")
    old = datetime.now(UTC) - timedelta(minutes=6)
    with serving(city.handle) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:

            async def post(path: str, content: str, headers: dict[str, str]) -> int:
                return (await client.post(path, content=content, headers=headers)).status_code

            assert await post("/grid", body, signed(body)) == 200
            assert await post("/grid", event(1, "green"), signed(event(1, "green"))) == 200
            assert await post("/grid", body + " ", signed(body)) == 400
            assert await post("/grid", body, signed(body, "whsec_" + "QkJC" * 11)) == 400
            assert await post("/grid", body, signed(body, at=old)) == 400
            assert await post("/grid", body, {}) == 400
            assert await post("/elsewhere", body, signed(body)) == 404
    assert city.refused == 4
    assert [code["colour"] for code in city.latest("/grid", "gateway.code.v1")] == ["red"]
    assert city.latest("/grid", "testing.tube.v1") == []


async def test_a_computer_behind_the_edge_counts_who_gets_there() -> None:
    service = SampleService()
    with serving(service.handle) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            answers = await asyncio.gather(*(client.get("/hall/") for _ in range(3)))
    assert [answer.json() for answer in answers] == [{"served": "/hall/"}] * 3
    assert service.served == ["/hall/"] * 3
