"""What a problem says is a sentence for a person; pointers and names of fields are for programs, in `errors`."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from shared.core.actors import Role
from shared.http.validation_messages import FORMS
from shared.problems import Fault, InvalidInput, LocalizedText, TooManyRequests, Unavailable
from shared.problems.names import CHINESE, location_of, name_of
from tests.harness import District

NEW = {"name": "李四", "document_type": 10, "document_number": "005582198001014825", "region": "350582005001"}
RESIDENTS = "/registry/v1/residents"


@pytest.mark.parametrize(
    ("wrong", "chinese", "english"),
    [
        ({"phone": "12"}, "手机号：号码不完整。", "Phone: The number is not complete."),
        (
            {"region": "35"},
            "区划代码：应为 12 位（社区）、14 位（片区）或 16 位（网格）数字。",
            "Region: This must be 12 digits (a community), 14 (a patch) or 16 (a grid).",
        ),
        ({"name": "", "sex": 1}, None, None),
    ],
)
async def test_detail_is_the_first_fault_in_words(
    district: District, wrong: dict[str, Any], chinese: str | None, english: str | None
) -> None:
    async with district.caller("registry", Role.GRID_WORKER) as worker:
        for language, words in (("zh-CN", chinese), ("en", english)):
            answer = await worker.post(RESIDENTS, json=NEW | wrong, headers={"accept-language": language})
            said = answer.json()
            assert (answer.status_code, said["code"]) == (422, "invalid_input")
            assert words is None or said["detail"] == words
            assert not re.search(r"#/|errors|\^", said["detail"])
            assert {fault["pointer"] for fault in said["errors"]} == {f"#/{name}" for name in wrong}
    if chinese is None:
        assert said["detail"].endswith("1 more to correct.")


@pytest.mark.parametrize(
    ("steps", "chinese", "english"),
    [
        (["phone"], "手机号", "phone"),
        (["items", "3", "document_number"], "第 4 项的证件号码", "document number of item 4"),
        (["tube_numbers", "0"], "管号第 1 项", "tube numbers item 1"),
        ([], "", ""),
    ],
)
def test_a_place_is_said_in_words(steps: list[str], chinese: str, english: str) -> None:
    assert (location_of(steps, "zh-CN"), location_of(steps, "en")) == (chinese, english)


def test_a_parameter_is_said_in_words() -> None:
    fault = Fault("x", LocalizedText(zh="应为整数", en="This must be an integer"), parameter="limit", location="query")
    assert InvalidInput(errors=[fault]).detail("zh-CN") == "每页条数：应为整数。"
    assert name_of("Idempotency-Key", "en") == "Idempotency-Key"


@pytest.mark.parametrize(
    ("seconds", "chinese", "english"),
    [
        (1, "1 秒", "1 second"),
        (59, "59 秒", "59 seconds"),
        (60, "1 分钟", "1 minute"),
        (3_541, "1 小时", "1 hour"),
        (3_600, "1 小时", "1 hour"),
        (3_601, "2 小时", "2 hours"),
    ],
)
def test_how_long_to_wait_is_said_in_a_persons_unit(seconds: int, chinese: str, english: str) -> None:
    problem = TooManyRequests(retry_after=seconds)
    assert problem.detail("zh-CN") == f"操作过于频繁。请 {chinese}后再试。"
    assert problem.detail("en") == f"Too many requests. Try again in {english}."
    assert problem.body("en")["retry_after"] == seconds
    assert problem.render("en", "x")[1]["Retry-After"] == str(seconds)
    assert chinese in Unavailable(retry_after=seconds).detail("zh-CN")


async def test_residents_are_not_spoken_to_as_staff(district: District) -> None:
    nowhere = f"{RESIDENTS}/0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"
    chinese = {"accept-language": "zh-CN"}
    async with (
        district.caller("registry", Role.RESIDENT) as resident,
        district.caller("registry", Role.COMMAND) as staff,
    ):
        found = [await one.get(nowhere, headers=chinese) for one in (resident, staff)]
        refused = await resident.get(RESIDENTS, headers=chinese)
    assert [one.status_code for one in found] == [404, 404]
    assert [one.json()["detail"] for one in found] == [
        "没有找到相关信息。",
        "未找到。请核对编号，并确认其属于您的辖区。",
    ]
    assert refused.json()["detail"] == "您没有此项权限。如需办理，请联系所在社区。"


async def test_a_stranger_is_told_to_sign_in(district: District) -> None:
    transport = httpx.ASGITransport(district.apps["registry"])
    async with httpx.AsyncClient(transport=transport, base_url="http://registry") as stranger:
        answer = await stranger.get(RESIDENTS)
    assert (answer.status_code, answer.json()["detail"]) == (401, "尚未登录或登录已失效。请重新登录。")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("service", "role", "path"),
    [
        ("registry", Role.COMMAND, RESIDENTS),
        ("testing", Role.COMMAND, "/testing/v1/campaigns"),
        ("observation", Role.COMMAND, "/observation/v1/orders"),
        ("gateway", Role.COMMAND, "/gateway/v1/service-points"),
        ("gateway", Role.RESIDENT, "/gateway/v1/code"),
    ],
)
async def test_a_parameter_that_nobody_knows_is_named(district: District, service: Any, role: Role, path: str) -> None:
    async with district.caller(service, role) as caller:
        answer = await caller.get(path, params={"colour_of_hair": "1"})
        assert answer.status_code == 422
        (fault,) = answer.json()["errors"]
        assert (fault["parameter"], fault["in"], fault["code"]) == ("colour_of_hair", "query", "parameter_unknown")
        assert "colour of hair" in answer.json()["detail"].lower()
        private = await caller.get(path, params={"15412345678": ""})
        assert (private.status_code, "15412345678" in private.text) == (422, False)


async def test_all_that_is_asked_for_has_a_name_and_each_pattern_its_words(district: District) -> None:
    names: set[str] = set()
    patterns: set[str] = set()
    for app in district.apps.values():
        document = app.openapi()
        for item in document["paths"].values():
            for operation in item.values():
                names |= {parameter["name"] for parameter in operation.get("parameters", ())}
                asked = [operation.get("parameters", []), operation.get("requestBody", {})]
                for name, pattern in _parts(asked, document, set()):
                    names |= {name} if name else set()
                    patterns |= {pattern} if pattern else set()
    assert names - CHINESE.keys() == set(), "add what these are called to shared/problems/names.py"
    assert patterns - FORMS.keys() == set(), "say in shared/http/validation_messages.py what these patterns ask for"


def _parts(thing: Any, document: dict[str, Any], seen: set[str]) -> Iterator[tuple[str, str]]:
    """The names of fields and the patterns in something and in all it refers to."""
    if isinstance(thing, list):
        for one in thing:
            yield from _parts(one, document, seen)
    if not isinstance(thing, dict):
        return
    if isinstance(thing.get("$ref"), str) and thing["$ref"].startswith("#/components/schemas/"):
        name = thing["$ref"].rsplit("/", 1)[-1]
        if name not in seen:
            seen.add(name)
            yield from _parts(document["components"]["schemas"][name], document, seen)
    if isinstance(thing.get("pattern"), str):
        yield "", thing["pattern"]
    properties = thing.get("properties")
    if isinstance(properties, dict):
        yield from ((name, "") for name in properties)
    for name, one in thing.items():
        if name not in ("example", "examples", "default"):
            yield from _parts(one, document, seen)
