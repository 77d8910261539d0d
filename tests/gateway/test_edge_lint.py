"""The merged document is what generators of clients and linters understand. `tests/clients/` runs them themselves."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.gateway.edge.merging import operations
from shared.http.openapi_schemas import of_operations, parts

JSON_SCHEMA = {
    *("type", "format", "title", "description", "enum", "const", "examples", "pattern", "default", "$ref"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "multipleOf"),
    *("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contentMediaType"),
    *("properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"),
    *("anyOf", "oneOf", "allOf", "discriminator"),
}
FREE_FORM = {
    "Message.data": "the sender's own fields",
    "Posted.data": "the sender's own fields",
    "NewClient.public_keys": "a JWK: which members it has depends on its `kty` (RFC 7517)",
    "KeySet.keys": "JWKs, as above",
}
"""Objects of any shape, and why."""

ANSWERED_BY_ONE = {
    ("reveal_resident", "429"),
    ("reveal_referral", "429"),
    ("receive_message", "401"),
    ("ask_for_tokens", "401"),
    ("ask_for_tokens", "429"),
    ("ask_for_tokens", "503"),
    ("revoke_token", "429"),
    ("open_challenge", "503"),
}
"""Errors that one operation alone answers so."""

Document = dict[str, Any]


@pytest.fixture
async def document(outside: httpx.AsyncClient) -> Document:
    found: Document = (await outside.get("/openapi.json")).json()
    return found


def schemas(document: Document) -> Iterator[tuple[str, Document]]:
    for name, schema in document["components"]["schemas"].items():
        yield name, schema
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for schema in of_operations({"paths": {path: {method: operation}}}):
                yield f"{method} {path}", schema


def test_every_keyword_of_a_schema_is_one_of_json_schema(document: Document) -> None:
    """Bounds of dates, for example, are none: Pydantic writes `ge`, which the strict linters refuse."""
    unknown = {
        f"{name}: {word}"
        for name, schema in schemas(document)
        for part in parts(schema)
        for word in {*part} - JSON_SCHEMA
    }
    assert unknown == set()
    as_of = document["paths"]["/registry/v1/population"]["get"]["parameters"][1]
    assert as_of["name"] == "as_of"
    assert "At least 1900-01-01." in as_of["description"]


def test_every_schema_has_a_title_of_its_own_that_is_a_name(document: Document) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema["title"] == name
        assert name.isidentifier()
        assert "_" not in name, name


def test_every_list_has_one_envelope(document: Document) -> None:
    lists = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for status, answer in operation["responses"].items():
                schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
                assert schema.get("type") != "array", f"{method} {path} {status} is a bare array"
                if "$ref" not in schema or method != "get":
                    continue
                fields = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]].get("properties", {})
                if "items" in fields:
                    assert "next_cursor" in fields, f"{method} {path} has items and no next_cursor"
                    lists += 1
    assert lists >= 40


def test_files_are_files(document: Document) -> None:
    form = document["components"]["schemas"]["StartImportForm"]["properties"]
    assert (form["file"]["type"], form["file"]["format"]) == ("string", "binary")
    for operation in operations(document):
        for kind, media in operation["responses"].get("200", {}).get("content", {}).items():
            if not kind.startswith(("application/json", "text/html")):
                assert media["schema"] == {"type": "string", "format": "binary"}, operation["operationId"]


def free_form(schema: Document) -> bool:
    is_object = schema.get("type") == "object"
    return is_object and not schema.get("properties") and schema.get("additionalProperties") in (None, True)


def test_no_object_is_of_any_shape_without_a_reason(document: Document) -> None:
    found = set()
    for name, schema in schemas(document):
        for field, part in schema.get("properties", {}).items():
            if any(free_form(one) or one.keys() <= {"description"} for one in parts(part)):
                found.add(f"{schema.get('title', name)}.{field}")
    assert {
        one for one in found if one.split()[-1] not in FREE_FORM and not one.endswith("/hooks/{source}.data")
    } == set()


def test_a_union_of_objects_says_by_which_field_they_are_told_apart(document: Document) -> None:
    unions = 0
    for name, schema in schemas(document):
        for part in parts(schema):
            kinds = [one for one in (*part.get("anyOf", ()), *part.get("oneOf", ())) if "$ref" in one]
            if len(kinds) > 1:
                assert part["discriminator"]["mapping"].keys(), name
                unions += 1
    assert unions >= 2


def test_a_field_that_may_be_left_out_is_not_taken_for_one_that_must_be_there(document: Document) -> None:
    """openapi-typescript makes a field with `default` one that must be sent; so its default stands in the words."""
    for name, schema in document["components"]["schemas"].items():
        for field, part in schema.get("properties", {}).items():
            assert "default" not in part, f"{name}.{field}"
    resident = document["components"]["schemas"]["NewResident"]
    assert {"document_type", "pregnant", "dependent"}.isdisjoint(resident["required"])
    assert "If left out: `false`." in resident["properties"]["pregnant"]["description"]


def test_every_tag_is_described(document: Document) -> None:
    assert [tag["name"] for tag in document["tags"] if not tag.get("description")] == []
    assert {tag for one in operations(document) for tag in one["tags"]} == {tag["name"] for tag in document["tags"]}


def test_no_description_repeats_the_summary_and_each_says_who_may_call(document: Document) -> None:
    for operation in operations(document):
        assert operation["description"].rstrip(".") != operation["summary"]
        who = "Roles: `" if "x-roles" in operation else "Needs no token."
        assert operation["description"].rsplit("\n", 1)[-1].startswith(who), operation["operationId"]


def test_what_only_our_own_services_call_is_not_in_it(document: Document) -> None:
    assert [one["operationId"] for one in operations(document) if one.get("x-roles") == ["service"]] == []
    assert not any(path.startswith("/internal") or path.endswith("/recognise") for path in document["paths"])


def test_the_id_of_a_scan_is_a_uuid_of_version_7(document: Document) -> None:
    schema = document["components"]["schemas"]["Verification"]["properties"]["scan_id"]
    assert "UUIDv7" in schema["description"]
    assert "-7[" in schema["pattern"]


def test_what_many_answer_alike_stands_there_once(document: Document) -> None:
    """It was 1.2 MB when each of 185 operations carried all its errors itself."""
    inline = [
        (operation["operationId"], status)
        for operation in operations(document)
        for status, answer in operation["responses"].items()
        if status in ("401", "406", "414", "431", "429", "500", "502", "503", "504") and "$ref" not in answer
    ]
    assert {*inline} <= ANSWERED_BY_ONE
    assert len(document["components"]["responses"]["NotAcceptable"]["content"]) == 1
