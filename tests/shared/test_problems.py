"""Problems: how they read, in which language, with which pointers, and what becomes of any exception."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
import pytest
import structlog
from fastapi import FastAPI, Header, HTTPException, Query
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticKnownError, _pydantic_core

from shared.http import handlers
from shared.http.texts import TEXTS
from shared.problems import (
    MAX_ERRORS,
    Conflict,
    Fault,
    Invalid,
    InvalidInput,
    MethodNotAllowed,
    Problem,
    ProblemDetails,
    Text,
    Unavailable,
    catalogue,
    for_constraint,
    fragment,
    language_of,
    openapi_examples,
    openapi_responses,
    openapi_schemas,
    pointer,
    registry,
)


class ShelfFull(Problem):
    """A problem of these tests."""

    status = 409
    code = "test_shelf_full"
    title = Text(zh="架子已满", en="The shelf is full")
    fix = Text(zh="请换 {number}", en="Use {number}")


def test_a_problem_says_what_where_and_what_to_do() -> None:
    status, headers, body = ShelfFull(number="S2", at="/shelf_id").render("en", "request-1")
    assert status == 409
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Content-Language"] == "en"
    assert body == {
        "type": "/problems/test_shelf_full",
        "title": "The shelf is full",
        "status": 409,
        "detail": "The shelf is full (#/shelf_id). Use S2.",
        "code": "test_shelf_full",
        "request_id": "request-1",
        "errors": [{"pointer": "#/shelf_id", "code": "test_shelf_full", "detail": "The shelf is full."}],
    }
    assert ShelfFull(number="S2").body("zh-CN")["detail"] == "架子已满。请换 S2。"


def test_retry_after_is_in_header_and_body() -> None:
    _, headers, body = Unavailable(retry_after=7).render("zh-CN", "x")
    assert (headers["Retry-After"], body["retry_after"]) == ("7", 7)


def test_method_not_allowed_names_the_methods() -> None:
    assert MethodNotAllowed(allow="GET, HEAD").render("en", "x")[1]["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("values", [{}, {"nummer": 1}, {"number": 1, "more": 2}])
def test_wrong_values_are_refused_when_raised(values: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="number"):
        ShelfFull(**values)


def test_a_code_belongs_to_one_problem() -> None:
    with pytest.raises(TypeError, match="test_shelf_full"):
        type("Other", (ShelfFull,), {"code": "test_shelf_full"})


@pytest.mark.parametrize(
    "members",
    [
        {"code": "Test-Bad"},
        {"code": "t" * 64},
        {"code": "test_varying", "title": Text(zh="{a}", en="{a}")},
    ],
)
def test_a_bad_declaration_does_not_import(members: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        type("Bad", (ShelfFull,), members)


def test_a_declaration_without_texts_does_not_import() -> None:
    with pytest.raises(TypeError, match="title"):
        type("Bare", (Problem,), {"code": "test_bare"})


@pytest.mark.parametrize(("zh", "en"), [("{a}", "{b}"), ("{a.b}", "{a.b}"), ("{0}", "{0}"), ("", "{a}")])
def test_texts_must_agree_on_their_names(zh: str, en: str) -> None:
    with pytest.raises(ValueError, match="plain names"):
        Text(zh=zh, en=en)


def test_many_errors_are_cut() -> None:
    faults = [Fault("missing", TEXTS["missing"], at=pointer("items", n)) for n in range(MAX_ERRORS + 50)]
    body = InvalidInput(errors=faults).body("en")
    assert len(body["errors"]) == MAX_ERRORS
    assert f"and {MAX_ERRORS + 47} more" in body["detail"]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "zh-CN"),
        ("", "zh-CN"),
        ("en", "en"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("zh-TW,en;q=0.5", "zh-CN"),
        ("en;q=0.5, zh-CN;q=0.6", "zh-CN"),
        ("en, zh", "en"),
        ("zh, en", "zh-CN"),
        ("fr", "zh-CN"),
        ("fr, en;q=0.1", "en"),
        ("*", "zh-CN"),
        ("*;q=0.5, zh;q=0.1", "en"),
        ("en;q=0, *", "zh-CN"),
        ("zh;q=0, en;q=0", "zh-CN"),
        ("en;q=2", "zh-CN"),
        ("EN-us", "en"),
        (";;q=,,\x00", "zh-CN"),
    ],
)
def test_languages_are_negotiated(header: str | None, language: str) -> None:
    assert language_of(header) == language


@given(st.text())
def test_no_accept_language_breaks(header: str) -> None:
    assert language_of(header) in ("zh-CN", "en")


def test_pointers_are_escaped() -> None:
    assert pointer("a/b", 0, "m~n") == "/a~1b/0/m~0n"
    assert fragment("/姓名/a b") == "#/%E5%A7%93%E5%90%8D/a%20b"
    assert fragment(pointer("\ud800")) == "#"
    assert [pointer("items", step, 1) for step in ("姓名", "13900000001", "张三")] == ["/items"] * 3
    assert pointer("items", "k" * 1_000, 2) == "/items"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("test_shelf_full", ShelfFull),
        ("visits_p20250102_test_shelf_full", ShelfFull),
        ("test_shelf_full_1", ShelfFull),
        ("latest_shelf_full", None),
        ("household_not_found_fkey", None),
        ("tube_conflict_key", None),
        ("", None),
    ],
)
def test_a_constraint_names_its_problem(name: str, kind: type[Problem] | None) -> None:
    assert for_constraint(name) is kind


def test_every_problem_renders_in_both_languages() -> None:
    for kind in registry.values():
        for language in ("zh-CN", "en"):
            status, headers, body = kind.unspecified().render(language, "x")  # type: ignore[arg-type]
            assert 400 <= status == body["status"] <= 599
            assert headers["Content-Type"] == "application/problem+json"
            ProblemDetails.model_validate(body)
    assert len(catalogue("en")) == len(registry) > 20
    assert all(entry["title"].isascii() for entry in catalogue("en"))
    assert not any(entry["title"].isascii() for entry in catalogue("zh-CN"))


def test_openapi_has_an_example_of_each_problem() -> None:
    responses = openapi_responses([ShelfFull, Conflict, InvalidInput])
    assert set(responses) == {409, 422}
    content = responses[409]["content"]["application/problem+json"]
    assert set(content["examples"]) == {"test_shelf_full", "conflict"}
    schemas = openapi_schemas()
    root = {"$ref": content["schema"]["$ref"], "components": {"schemas": schemas}}
    named = openapi_examples(content["examples"])
    assert {code: example["$ref"] for code, example in content["examples"].items()} == {
        code: f"#/components/examples/{code}" for code in named
    }
    for example in named.values():
        Draft202012Validator(root).validate(example["value"])


def test_the_document_of_an_application_can_be_resolved() -> None:
    app = FastAPI()
    app.add_api_route("/x", lambda: None, responses=openapi_responses([ShelfFull]))
    handlers.install(app)
    document = app.openapi()
    OpenAPIV31SpecValidator(document).validate()
    assert {"ProblemDetails", "ProblemError"} <= set(document["components"]["schemas"])


# What becomes of exceptions in an application.


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")
    phone: Annotated[str, Field(pattern=r"^1\d{10}$")]
    born: date | None = None
    colour: Literal["red", "green"] = "green"

    @field_validator("phone")
    @classmethod
    def _never(cls, value: str) -> str:
        if value == "13900000000":
            raise Invalid("phone_reserved", Text(zh="号码已保留", en="This number is reserved"))
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
    assert set(errors) - set(TEXTS) == NOT_OF_REQUESTS
    assert set(TEXTS) <= set(errors)
    for kind, text in TEXTS.items():
        context: dict[str, Any] = errors[kind]["example_context"] or {}
        assert text.names <= set(context), kind
        if kind not in ("value_error", "assertion_error"):
            PydanticKnownError(kind, context or None)  # type: ignore[arg-type]  # the kind and context do exist
        assert "…" not in text.say("zh-CN", context) + text.say("en", context)


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
    assert any("test_problems.py" in line and line.endswith(" fail") for line in entry["trace"])
    assert "Chen" not in str(logged)
