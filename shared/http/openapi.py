"""The OpenAPI document, completed so that people and tools can explore the API with it.

It has an example of each body and each answer, also of lists, and links from a created or listed resource to the
operations on it. No parameter is nullable, because a URL or header parameter is either present or absent.
openapi_schemas.py adapts the schemas for client generators.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from shared.http.openapi_schemas import tidy

PARAMETER = re.compile(r"{(\w+)}")
METHODS = frozenset({"get", "put", "post", "delete", "patch"})

Document = dict[str, Any]

MUST = {"x-required": True}
"""Marks a parameter as required in the document. Code accepts it as optional to raise a specific problem."""

_NONE_KNOWN = object()
"""Means that there is no example. None would be an example of null."""


def describe(app: FastAPI) -> None:
    """Let the application build its document once, at the first request for it."""

    def document() -> Document:
        if app.openapi_schema is None:
            built = get_openapi(title=app.title, version=app.version, routes=app.routes)
            for schema in built["components"]["schemas"].values():
                for example in schema.get("examples", ()):
                    _with_nulls(example, schema, built)
            for operation in operations(built):
                _without_null(operation)
                _with_examples(operation, built)
                describe_callers(operation)
            tidy(built)
            add_links(built)
            app.openapi_schema = built
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def operations(document: Document) -> Iterator[Document]:
    """Yield every operation of a document."""
    for item in document["paths"].values():
        yield from (operation for method, operation in item.items() if method in METHODS)


def _without_null(operation: Document) -> None:
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            del schema["anyOf"]
            parameter["schema"] = schema = {**kinds[0], **schema}
        if schema.pop("x-required", False):
            parameter["required"] = True


def describe_callers(operation: Document) -> None:
    """Add the roles to the description, because tools do not show `x-roles`. Drop a description that is the summary."""
    description = operation.get("description", "").strip()
    rest = "" if description.rstrip(".") == operation["summary"] else description
    roles = operation.get("x-roles")
    who = "Needs no token." if roles is None else f"Roles: {', '.join(f'`{role}`' for role in roles)}."
    operation["description"] = f"{rest}\n\n{who}" if rest else who


def _with_nulls(example: Any, schema: Document, document: Document) -> None:
    """Restore the nulls that FastAPI drops from examples, at every level."""
    schema = _resolved(schema, document)
    for kind in schema.get("anyOf", ()):
        _with_nulls(example, kind, document)
    if isinstance(example, list):
        for item in example:
            _with_nulls(item, schema.get("items", {}), document)
    if isinstance(example, dict):
        for name, part in schema.get("properties", {}).items():
            if name in example:
                _with_nulls(example[name], part, document)
            elif {"type": "null"} in part.get("anyOf", ()) and name in schema.get("required", ()):
                example[name] = None


def _with_examples(operation: Document, document: Document) -> None:
    answers = [response for status, response in operation["responses"].items() if status.startswith("2")]
    for part in (operation.get("requestBody", {}), *answers):
        content = part.get("content", {}).get("application/json")
        if content is None or {"example", "examples"} & content.keys():
            continue
        # Some tools ignore the example of a schema, so request bodies repeat it. Answers do not, for document size.
        if part not in answers or not _has_example(content["schema"], document):
            example = _example(content["schema"], document)
            if example is not _NONE_KNOWN:
                content["example"] = example


def _has_example(schema: Document, document: Document) -> bool:
    schema = _resolved(schema, document)
    return "examples" in schema or any(_has_example(one, document) for one in schema.get("oneOf", ())[:1])


def _example(schema: Document, document: Document) -> Any:
    """Return the example of a schema, or build one from the examples of its parts."""
    schema = _resolved(schema, document)
    if "examples" in schema:
        return schema["examples"][0]
    if {"type": "null"} in schema.get("anyOf", ()):
        return None
    if "oneOf" in schema:
        return _example(schema["oneOf"][0], document)
    if "items" in schema:
        item = _example(schema["items"], document)
        return _NONE_KNOWN if item is _NONE_KNOWN else [item]
    if "properties" in schema:
        example = {name: _example(part, document) for name, part in schema["properties"].items()}
        return _NONE_KNOWN if any(value is _NONE_KNOWN for value in example.values()) else example
    return _NONE_KNOWN


def _resolved(schema: Document, document: Document) -> Document:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def add_links(document: Document) -> None:
    """Link answers that create (201, 202) or list (200) a resource to every operation on this resource."""
    locations = {
        path: location
        for path, methods in document["paths"].items()
        if (location := methods.get("post", {}).pop("x-location", None))
    }
    for path, location in locations.items():
        item = _path_like(location, document)
        if item is None:
            continue
        pairs = zip(PARAMETER.findall(item), PARAMETER.findall(location), strict=True)
        _link(document, path, "post", item, {name: f"$response.body#/{field}" for name, field in pairs})
    for path, methods in document["paths"].items():
        item = _path_like(f"{path}/{{}}", document)
        if "get" in methods and item is not None and "{" not in path:
            name = PARAMETER.findall(item)[-1]
            field = _field_of(document, path, name, locations.get(path))
            if field is not None:
                _link(document, path, "get", item, {name: f"$response.body#/items/0/{field}"})


def _path_like(pattern: str, document: Document) -> str | None:
    """Find the path, or prefix of a path, that differs from a pattern only in the names of its parameters."""
    wanted = PARAMETER.sub("{}", pattern)
    parts = wanted.count("/") + 1
    heads = ("/".join(path.split("/")[:parts]) for path in document["paths"])
    return next((head for head in heads if PARAMETER.sub("{}", head) == wanted), None)


def _field_of(document: Document, path: str, name: str, location: str | None) -> str | None:
    """Choose the field that identifies a listed item: the last in its Location, the parameter's name, or `id`."""
    schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    listed = _resolved(schema, document).get("properties", {}).get("items", {}).get("items", {})
    known = _resolved(listed, document).get("properties", {})
    wanted = [*(PARAMETER.findall(location)[-1:] if location else ()), name, "id"]
    return next((field for field in wanted if field in known), None)


def _link(document: Document, path: str, method: str, item: str, values: Mapping[str, str]) -> None:
    responses = document["paths"][path][method]["responses"]
    links = {}
    for other, methods in document["paths"].items():
        if other == item or other.startswith(f"{item}/"):
            for verb, operation in methods.items():
                name = "self" if (other, verb) == (item, "get") else operation["operationId"]
                links[name] = {"operationId": operation["operationId"], "parameters": dict(values)}
    for status in ("200", "201", "202"):
        if status in responses:
            responses[status]["links"] = links
