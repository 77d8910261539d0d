"""Problems: how they read, in which language, with which pointers, and what becomes of any exception."""

from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.registry.residents.problems import RevealLimit
from shared.http import handlers
from shared.http.validation_messages import MESSAGES
from shared.problems import (
    MAX_ERRORS,
    Conflict,
    Fault,
    InvalidInput,
    LocalizedText,
    MethodNotAllowed,
    Problem,
    ProblemDetails,
    TooManyRequests,
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
from tests.shared.shelves import ShelfFull


def test_a_problem_says_what_where_and_what_to_do() -> None:
    status, headers, body = ShelfFull(number="S2", at="/shelf_id").render("en", "request-1")
    assert status == 409
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Content-Language"] == "en"
    assert body == {
        "type": "/problems/test_shelf_full",
        "title": "The shelf is full",
        "status": 409,
        "detail": "The shelf is full (shelf id). Use S2.",
        "code": "test_shelf_full",
        "request_id": "request-1",
        "errors": [{"pointer": "#/shelf_id", "code": "test_shelf_full", "detail": "The shelf is full."}],
    }
    assert ShelfFull(number="S2").body("zh-CN")["detail"] == "架子已满。请换 S2。"


def test_retry_after_is_in_header_and_body() -> None:
    _, headers, body = Unavailable(retry_after=7).render("zh-CN", "x")
    assert (headers["Retry-After"], body["retry_after"]) == ("7", 7)


@pytest.mark.parametrize("kind", [TooManyRequests, Unavailable, RevealLimit], ids=lambda kind: kind.code)
def test_how_long_to_wait_is_said_in_the_sentence_itself(kind: type[Problem]) -> None:
    told = kind(retry_after=37, **dict.fromkeys(kind.names(), 20))
    assert "请 37 秒后再试" in told.detail("zh-CN")
    assert "in 37 seconds" in told.detail("en")


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
        {"code": "test_varying", "title": LocalizedText(zh="{a}", en="{a}")},
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
        LocalizedText(zh=zh, en=en)


def test_many_errors_are_cut() -> None:
    faults = [Fault("missing", MESSAGES["missing"], at=pointer("items", n)) for n in range(MAX_ERRORS + 50)]
    body = InvalidInput(errors=faults).body("en")
    assert len(body["errors"]) == MAX_ERRORS
    assert f"{MAX_ERRORS + 49} more" in body["detail"]


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
