"""The catalogue of problems for `GET /problems`, and the problem responses in OpenAPI documents."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, Field

from shared.problems.localized_text import LANGUAGES, Language, sentences
from shared.problems.problem import MAX_ERRORS, MEDIA_TYPE, ParameterLocation, Problem, registry


def catalogue(language: Language) -> list[dict[str, Any]]:
    """List every declared problem, ordered by code, for `GET /problems` and the documentation."""
    return [
        {
            "type": problem.type_uri(),
            "code": code,
            "status": problem.status,
            "title": problem.title.render(language),
            "what": sentences(language, (problem.what or problem.title).render(language)),
            "fix": sentences(language, problem.fix.render(language)),
        }
        for code, problem in sorted(registry.items())
    ]


class ProblemError(BaseModel):
    """One fault of a request, and its location."""

    pointer: str | None = Field(None, description="JSON Pointer into the body, as a URI fragment: `#/items/3/phone`.")
    parameter: str | None = Field(None, description="Name of the parameter, if a parameter is at fault.")
    location: ParameterLocation | None = Field(None, alias="in", description="Location of the parameter.")
    code: str = Field(description="Stable name of the fault.")
    detail: str = Field(description="What is wrong, in the caller's language.")


class ProblemDetails(BaseModel):
    """A problem (RFC 9457): what is wrong, where, and what to do."""

    type: str = Field(description="Stable URI; its path explains the problem.", examples=["/problems/invalid_input"])
    title: str = Field(description="Short summary of the problem type, in the caller's language.")
    status: int = Field(ge=400, le=599, description="The HTTP status.")
    detail: str = Field(description="What is wrong, where, and what to do, in the caller's language.")
    code: str = Field(description="Stable name of the problem, for programs.", examples=["invalid_input"])
    request_id: str = Field(description="Id of the request. Quote it when you ask for help.")
    errors: list[ProblemError] | None = Field(None, max_length=MAX_ERRORS, description="Each fault and its location.")
    retry_after: int | None = Field(None, ge=0, description="Seconds to wait before retrying, as in Retry-After.")


EXAMPLES = "#/components/examples/"
HEADERS = "#/components/headers/"

_TEXT = {"type": "string"}
_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Accept": ("Body formats that the path accepts.", _TEXT),
    "Accept-Encoding": ("Body encodings that the path accepts.", _TEXT),
    "Allow": ("Methods that the path supports.", _TEXT),
    "Content-Language": ("The language of the texts.", {"type": "string", "enum": list(LANGUAGES)}),
    "ETag": ("The version of the answer, for `If-Match` and `If-None-Match`.", _TEXT),
    "Retry-After": ("Seconds to wait before retrying.", {"type": "integer", "minimum": 0}),
    "Vary": ("Request header fields that affect the answer.", _TEXT),
    "WWW-Authenticate": ("How to authenticate.", _TEXT),
}
"""Response header fields that a client may act on."""


def openapi_responses(problems: Iterable[type[Problem]]) -> dict[int | str, dict[str, Any]]:
    """Build the `responses=` of an operation that can return these problems, with an example of each."""
    by_status: dict[int | str, list[type[Problem]]] = {}
    for problem in sorted(set(problems), key=lambda problem: (problem.status, problem.code)):
        by_status.setdefault(problem.status, []).append(problem)
    return {status: _openapi_response(kinds) for status, kinds in by_status.items()}


def _openapi_response(kinds: Sequence[type[Problem]]) -> dict[str, Any]:
    examples = {kind.code: {"$ref": f"{EXAMPLES}{kind.code}"} for kind in kinds}
    names = {name for kind in kinds for name in kind.headers} | {"Content-Language", "Vary"}
    if any(kind.retry_after is not None for kind in kinds):
        names.add("Retry-After")
    return {
        "description": "; ".join(kind.title.en for kind in kinds),
        "headers": openapi_headers(names & _HEADERS.keys()),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}, "examples": examples}},
    }


def openapi_headers(names: Iterable[str]) -> dict[str, Any]:
    """Build the OpenAPI `headers` of an answer that has these header fields."""
    return {name: {"$ref": f"{HEADERS}{name}"} for name in sorted(names)}


def openapi_header_components() -> dict[str, Any]:
    """Build the `components.headers` that `openapi_headers` refers to."""
    return {name: {"description": description, "schema": schema} for name, (description, schema) in _HEADERS.items()}


def openapi_examples(codes: Iterable[str]) -> dict[str, Any]:
    """Build `components.examples`: each named problem once, for all operations that can return it."""
    return {code: _example(registry[code]) for code in sorted(codes)}


def _example(kind: type[Problem]) -> dict[str, Any]:
    return {
        "summary": kind.title.en,
        "value": kind.unspecified().body("zh-CN") | {"request_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"},
    }


def openapi_schemas() -> dict[str, Any]:
    """Build the `components.schemas` that `openapi_responses` refers to."""
    schema = ProblemDetails.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "ProblemDetails": schema}
