"""What becomes of exceptions in an application: problems, each with its place and its words."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
import pytest
import structlog
from fastapi import FastAPI, Header, HTTPException, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticKnownError, _pydantic_core

from shared.http import handlers
from shared.http.validation_messages import MESSAGES
from shared.problems import Invalid, LocalizedText
from tests.shared.shelves import ShelfFull


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")
    phone: Annotated[str, Field(pattern=r"^1\d{10}$")]
    born: date | None = None
    colour: Literal["red", "green"] = "green"

    @field_validator("phone")
    @classmethod
    def _never(cls, value: str) -> str:
        if value == "13900000000":
            raise Invalid("phone_reserved", LocalizedText(zh="号码已保留", en="This number is reserved"))
        if value == "13800000000":
            raise ValueError(f"{value} belongs to Chen")
        return value


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    bark: str


class Body(BaseModel):
    items: list[Item] = []
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    either: int | list[int] | None = None
    names: dict[int, str] = {}
    seen_at: AwareDatetime | None = None
    slash: Annotated[int, Field(alias="a/b")] = 0


class Broken(Exception):  # noqa: N818
    pass


def make_app() -> FastAPI:
    app = FastAPI()

    @app.post("/bodies")
    async def take(body: Body) -> Body:
        return body

    @app.get("/things/{thing_id}")
    async def thing(
        thing_id: UUID,
        limit: Annotated[int, Query(le=200)] = 50,
        ids: Annotated[list[int], Query()] = [],  # noqa: B006
        if_match: Annotated[int | None, Header()] = None,
    ) -> None: ...

    @app.put("/things/{thing_id}")
    async def put(thing_id: str) -> None: ...

    @app.get("/fails/{how}")
    async def fail(how: str) -> None:
        raise {
            "bug": Broken("Chen Dawen 13912345678"),
            "full": ShelfFull(number=1),
            "refused": ConnectionRefusedError(111, "no"),
            "timeout": TimeoutError(),
            "teapot": HTTPException(418),
            "gone": HTTPException(503),
            "assertion": AssertionError(),
        }[how]

    handlers.install(app)
    return app


def client(app: FastAPI | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app or make_app(), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers={"accept-language": "en"})


async def faults(json: Any) -> list[tuple[str, str]]:
    async with client() as http:
        response = await http.post("/bodies", json=json)
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"items": [{"phone": "13900000001"}, {"phone": "1"}]}, [("#/items/1/phone", "string_pattern_mismatch")]),
        ({"items": [{}]}, [("#/items/0/phone", "missing")]),
        ({"items": [{"phone": "13900000001", "x/y": 1}]}, [("#/items/0/x~1y", "extra_forbidden")]),
        ({"items": [{"phone": "13900000000"}]}, [("#/items/0/phone", "phone_reserved")]),
        ({"items": [{"phone": "13800000000"}]}, [("#/items/0/phone", "value_error")]),
        ({"pet": {"kind": "dog"}}, [("#/pet/bark", "missing")]),
        ({"pet": {"kind": "cow"}}, [("#/pet", "union_tag_invalid")]),
        ({"either": ["x"]}, [("#/either", "int_type"), ("#/either/0", "int_parsing")]),
        ({"names": {"x": "y"}}, [("#/names/x", "int_parsing")]),
        ({"seen_at": "2022-03-14T08:30:00"}, [("#/seen_at", "timezone_aware")]),
        ({"a/b": "z"}, [("#/a~1b", "int_parsing")]),
        ([], [("#", "model_attributes_type")]),
    ],
)
async def test_faults_of_a_body_have_their_pointers(body: Any, expected: list[tuple[str, str]]) -> None:
    assert await faults(body) == expected


async def test_no_fault_repeats_the_value() -> None:
    secret = "13800000000"
    bodies: list[Any] = [
        {"items": [{"phone": secret}]},
        {"items": [{"phone": "x" + secret, "born": secret, "colour": secret}]},
        {"pet": {"kind": secret}},
        {"seen_at": secret + "x", "either": secret + "x"},
        secret,
    ]
    for body in bodies:
        for language in ("zh", "en"):
            async with client() as http:
                response = await http.post("/bodies", json=body, headers={"accept-language": language})
            assert response.status_code == 422
            assert secret not in response.text


async def test_faults_of_parameters_have_their_names() -> None:
    async with client() as http:
        response = await http.get("/things/x", params={"limit": 900, "ids": [1, "x"]}, headers={"if-match": "y"})
    places = {(error["in"], error["parameter"], error["code"]) for error in response.json()["errors"]}
    assert places == {
        ("path", "thing_id", "uuid_parsing"),
        ("query", "limit", "less_than_equal"),
        ("query", "ids", "int_parsing"),
        ("header", "if-match", "int_parsing"),
    }
    assert "at most 200" in response.text


async def test_texts_are_in_the_callers_language() -> None:
    async with client() as http:
        body = {"items": [{"phone": "13900000001", "colour": "blue"}]}
        chinese = await http.post("/bodies", json=body, headers={"accept-language": "zh"})
        english = await http.post("/bodies", json=body)
    assert chinese.json()["errors"][0]["detail"] == "只能是 'red'、'green'。"
    assert english.json()["errors"][0]["detail"] == "This must be 'red' or 'green'."


NOT_OF_REQUESTS = {
    "no_such_attribute",
    "needs_python_object",
    "get_attribute_error",
    "default_factory_not_called",
    "missing_sentinel_error",
    "ellipsis_error",
    "is_instance_of",
    "is_subclass_of",
    "callable_type",
}


def test_every_kind_of_finding_has_its_text() -> None:
    errors = {error["type"]: error for error in _pydantic_core.list_all_errors()}
    assert set(errors) - set(MESSAGES) == NOT_OF_REQUESTS
    assert set(MESSAGES) <= set(errors)
    for kind, text in MESSAGES.items():
        context: dict[str, Any] = errors[kind]["example_context"] or {}
        assert text.names <= set(context), kind
        if kind not in ("value_error", "assertion_error"):
            PydanticKnownError(kind, context or None)  # type: ignore[arg-type]  # the kind and context do exist
        assert "…" not in text.render("zh-CN", context) + text.render("en", context)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "no_such_path"),
        ("DELETE", "/things/1", 405, "method_not_allowed"),
        ("GET", "/fails/full", 409, "test_shelf_full"),
        ("GET", "/fails/bug", 500, "internal_error"),
        ("GET", "/fails/assertion", 500, "internal_error"),
        ("GET", "/fails/refused", 503, "unavailable"),
        ("GET", "/fails/timeout", 503, "unavailable"),
        ("GET", "/fails/teapot", 400, "malformed_request"),
        ("GET", "/fails/gone", 503, "unavailable"),
    ],
)
async def test_whatever_escapes_is_a_problem(method: str, path: str, status: int, code: str) -> None:
    async with client() as http:
        response = await http.request(method, path)
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert body["code"] == code
    assert response.status_code == body["status"] == status
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)
    assert "Chen" not in response.text


async def test_allow_names_the_methods_of_all_routes_and_options_answers_it() -> None:
    async with client() as http:
        wrong = await http.delete("/things/1")
        options = await http.options("/things/1")
        nowhere = await http.options("/nowhere")
    assert wrong.headers["allow"] == options.headers["allow"] == "GET, PUT, HEAD, OPTIONS"
    assert (options.status_code, options.content, nowhere.status_code) == (204, b"", 404)


async def test_a_body_that_is_not_said_to_be_json_is_415() -> None:
    async with client() as http:
        plain = await http.post("/bodies", content=b"{}", headers={"content-type": "text/plain"})
        broken = await http.post("/bodies", content=b"{x", headers={"content-type": "application/json"})
    assert (plain.status_code, plain.json()["code"]) == (415, "unsupported_media_type")
    assert (broken.status_code, broken.json()["code"]) == (400, "malformed_json")


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


async def test_a_fault_of_ours_is_logged_with_its_place_and_without_its_message(logged: list[Any]) -> None:
    async with client() as http:
        await http.get("/fails/bug")
    [entry] = logged
    assert entry["event"] == "request_failed"
    assert entry["error"][0].endswith("Broken")
    assert any("test_problem_answers.py" in line and line.endswith(" fail") for line in entry["trace"])
    assert "Chen" not in str(logged)
