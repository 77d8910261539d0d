"""Adapt schemas for client generators: one name each, standard keywords, binary files.

The functions change the document of FastAPI in place. The description repeats what they remove from a schema.
"""

import re
from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]

BODY = "Body_"
"""The prefix of FastAPI's name for the schema of a form."""

BOUNDS = {"ge": "At least", "gt": "More than", "le": "At most", "lt": "Less than"}
"""Bounds of dates and times. JSON Schema has no keywords for them, and no tool knows those of Pydantic."""

IN_SCHEMAS = ("items", "additionalProperties", "propertyNames", "contains", "not")
IN_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")


def tidy(document: Document) -> None:
    """Rewrite every schema of a document for client generators."""
    _name(document)
    _drop_unused(document)
    tidied(document["components"]["schemas"])
    _make_files(document)
    for parameter in _parameters(document):
        _describe_once(parameter)
    for schema in of_operations(document):
        for part in parts(schema):
            _tidy(part)
    for parameter in _parameters(document):
        _describe_once(parameter)


def tidied(schemas: dict[str, Document]) -> dict[str, Document]:
    """Rewrite named schemas and use the name of each as its title."""
    for name, schema in schemas.items():
        for part in parts(schema):
            _tidy(part)
        schema["title"] = name
    return schemas


def parts(schema: Any) -> Iterator[Document]:
    """Yield a schema and every schema inside it. References are not followed."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key in IN_SCHEMAS:
        yield from parts(schema.get(key))
    for key in IN_LISTS:
        for one in schema.get(key, ()):
            yield from parts(one)
    for one in schema.get("properties", {}).values():
        yield from parts(one)


def of_operations(document: Document) -> Iterator[Document]:
    """Yield the schemas inside operations: of parameters, bodies, answers and headers."""
    for item in document["paths"].values():
        for operation in item.values():
            yield from (parameter["schema"] for parameter in operation.get("parameters", ()) if "schema" in parameter)
            for message in (operation.get("requestBody", {}), *operation.get("responses", {}).values()):
                media = (*message.get("content", {}).values(), *message.get("headers", {}).values())
                yield from (one["schema"] for one in media if "schema" in one)


def _parameters(document: Document) -> Iterator[Document]:
    for item in document["paths"].values():
        for operation in item.values():
            yield from (parameter for parameter in operation.get("parameters", ()) if "schema" in parameter)


def _describe_once(parameter: Document) -> None:
    """Move the description of a parameter's schema to the parameter, because FastAPI writes it twice."""
    inner = parameter["schema"].pop("description", None)
    if inner is not None:
        outer = parameter.get("description", "")
        parameter["description"] = outer if inner == outer else f"{outer} {inner}".strip()


def _make_files(document: Document) -> None:
    """Declare answers that are neither JSON nor HTML as binary, so that clients do not decode them as text."""
    for item in document["paths"].values():
        for operation in item.values():
            for status, answer in operation.get("responses", {}).items():
                for kind, media in answer.get("content", {}).items() if status.startswith("2") else ():
                    if "json" not in kind and kind != "text/html":
                        media["schema"] = {"type": "string", "format": "binary"}


def rename_schemas(document: Document, names: dict[str, str]) -> None:
    """Rename schemas and all references to them."""
    references = {f"#/components/schemas/{old}": f"#/components/schemas/{new}" for old, new in names.items()}
    schemas = document["components"]["schemas"]
    document["components"]["schemas"] = {names.get(name, name): schema for name, schema in schemas.items()}

    def follow(thing: Any) -> None:
        if isinstance(thing, dict):
            if isinstance(thing.get("$ref"), str):
                thing["$ref"] = references.get(thing["$ref"], thing["$ref"])
            for one in thing.values():
                follow(one)
        elif isinstance(thing, list):
            for one in thing:
                follow(one)

    follow(document)


def camel(name: str) -> str:
    """Turn `start_import` into `StartImport`."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))


def _name(document: Document) -> None:
    """Name each schema after its class, and a form after its operation: `RegionPage`, `StartImportForm`."""
    names = {}
    for name, schema in document["components"]["schemas"].items():
        form = f"{camel(name.removeprefix(BODY))}Form" if name.startswith(BODY) else None
        title = form or schema.get("title", name)
        if title != name and title.isidentifier():
            names[name] = title
    rename_schemas(document, names)


def _drop_unused(document: Document) -> None:
    """Remove the schemas without references."""
    schemas = document["components"]["schemas"]
    used: set[str] = set()
    waiting = [document["paths"]]
    while waiting:
        new = _names_in(waiting.pop()) - used
        used |= new
        waiting += [schemas[name] for name in new if name in schemas]
    document["components"]["schemas"] = {name: schema for name, schema in schemas.items() if name in used}


def _names_in(thing: Any) -> set[str]:
    if isinstance(thing, dict):
        reference = thing.get("$ref")
        here = {reference.rsplit("/", 1)[-1]} if isinstance(reference, str) and "/schemas/" in reference else set()
        return here.union(*(_names_in(one) for one in thing.values()))
    if isinstance(thing, list):
        return set().union(*(_names_in(one) for one in thing))
    return set()


def _tidy(schema: Document) -> None:
    """Replace the keywords of one schema that tools do not know by standard keywords or words."""
    if isinstance(schema.get("title"), str):
        del schema["title"]  # Pydantic repeats the name of the field.
    if schema.get("contentMediaType") == "application/octet-stream":
        schema["format"] = "binary"
    for bound, words in BOUNDS.items():
        if bound in schema:
            _describe(schema, f"{words} {schema.pop(bound)}.")
    for field in schema.get("properties", {}).values():
        default = field.pop("default", None)
        if default not in (None, [], {}):
            # A TypeScript generator treats a field with `default` as required.
            _describe(field, f"If left out: `{_literal(default)}`.")


def _describe(schema: Document, sentence: str) -> None:
    schema["description"] = f"{schema['description']} {sentence}" if schema.get("description") else sentence


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
