"""The problems as documents: the catalogue behind `GET /problems`, and what OpenAPI says of each operation."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, Field

from shared.problems.problem import MAX_ERRORS, MEDIA_TYPE, Place, Problem, registry
from shared.problems.texts import LANGUAGES, Language, sentences


def catalogue(language: Language) -> list[dict[str, Any]]:
    """Every problem there is, for `GET /problems` and the documents, in the order of codes."""
    return [
        {
            "type": problem.type_uri(),
            "code": code,
            "status": problem.status,
            "title": problem.title.say(language),
            "what": sentences(language, (problem.what or problem.title).say(language)),
            "fix": sentences(language, problem.fix.say(language)),
        }
        for code, problem in sorted(registry.items())
    ]


class ProblemError(BaseModel):
    """One fault of a request, and where it is."""

    pointer: str | None = Field(None, description="JSON Pointer into the body, as a URI fragment: `#/items/3/phone`.")
    parameter: str | None = Field(None, description="Name of the parameter, if the fault is in one.")
    place: Place | None = Field(None, alias="in", description="Where that parameter is.")
    code: str = Field(description="Stable name of the fault.")
    detail: str = Field(description="What is wrong there, in the caller's language.")


class ProblemDetails(BaseModel):
    """A problem (RFC 9457): what is wrong, where, and what to do."""

    type: str = Field(description="Stable; also the path of its explanation.", examples=["/problems/invalid_input"])
    title: str = Field(description="What kind of problem it is, in the caller's language.")
    status: int = Field(ge=400, le=599, description="The HTTP status.")
    detail: str = Field(description="What is wrong, where, and what to do, in the caller's language.")
    code: str = Field(description="Stable name of the problem, for programs.", examples=["invalid_input"])
    request_id: str = Field(description="Name of the request, for whoever is asked for help.")
    errors: list[ProblemError] | None = Field(None, max_length=MAX_ERRORS, description="Each fault with its place.")
    retry_after: int | None = Field(None, ge=0, description="Seconds after which to try again; as in Retry-After.")


EXAMPLES = "#/components/examples/"
HEADERS = "#/components/headers/"

_TEXT = {"type": "string"}
_SAID: dict[str, tuple[str, dict[str, Any]]] = {
    "Accept": ("Formats of a body that are read here.", _TEXT),
    "Accept-Encoding": ("Encodings of a body that are read here.", _TEXT),
    "Allow": ("Methods that the path takes.", _TEXT),
    "Content-Language": ("The language of the texts.", {"type": "string", "enum": list(LANGUAGES)}),
    "ETag": ("The version of the answer, for `If-Match` and `If-None-Match`.", _TEXT),
    "Retry-After": ("Seconds after which to try again.", {"type": "integer", "minimum": 0}),
    "Vary": ("Header fields of the request on which the answer depends.", _TEXT),
    "WWW-Authenticate": ("How to authenticate.", _TEXT),
}
"""Header fields of answers that a client may act on."""


def openapi_responses(problems: Iterable[type[Problem]]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of an operation that can meet these problems, an example of each included."""
    by_status: dict[int | str, list[type[Problem]]] = {}
    for problem in sorted(set(problems), key=lambda problem: (problem.status, problem.code)):
        by_status.setdefault(problem.status, []).append(problem)
    return {status: _openapi_response(kinds) for status, kinds in by_status.items()}


def _openapi_response(kinds: Sequence[type[Problem]]) -> dict[str, Any]:
    examples = {kind.code: {"$ref": f"{EXAMPLES}{kind.code}"} for kind in kinds}
    said = {name for kind in kinds for name in kind.headers} | {"Content-Language", "Vary"}
    if any(kind.retry_after is not None for kind in kinds):
        said.add("Retry-After")
    return {
        "description": "; ".join(kind.title.en for kind in kinds),
        "headers": openapi_headers(said & _SAID.keys()),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}, "examples": examples}},
    }


def openapi_headers(names: Iterable[str]) -> dict[str, Any]:
    """The `headers` of an answer that carries these."""
    return {name: {"$ref": f"{HEADERS}{name}"} for name in sorted(names)}


def openapi_header_components() -> dict[str, Any]:
    """What `components.headers` must hold for `openapi_headers` to be understood."""
    return {name: {"description": description, "schema": schema} for name, (description, schema) in _SAID.items()}


def openapi_examples(codes: Iterable[str]) -> dict[str, Any]:
    """What `components.examples` must hold: the named problems, each once, however many operations can meet it."""
    return {code: _example(registry[code]) for code in sorted(codes)}


def _example(kind: type[Problem]) -> dict[str, Any]:
    return {
        "summary": kind.title.en,
        "value": kind.unspecified().body("zh-CN") | {"request_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"},
    }


def openapi_schemas() -> dict[str, Any]:
    """What `components.schemas` must hold for `openapi_responses` to be understood."""
    schema = ProblemDetails.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "ProblemDetails": schema}
