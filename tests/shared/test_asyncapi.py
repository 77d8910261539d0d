"""The AsyncAPI document says what travels, and no personal field travels."""

import json

import jsonschema
import pytest

from shared.contracts.asyncapi import asyncapi, resources
from shared.contracts.resource import Resource

PERSONAL = {"name", "full_name", "number", "document_number", "phone", "address", "birth_date", "sex"}
NOT_OF_PEOPLE = {"registry.region.v1": {"name"}, "testing.campaign.v1": {"name"}, "testing.tube.v1": {"number"}}


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi()
    for reference in _references(document):
        found = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


@pytest.mark.parametrize("resource", resources(), ids=lambda one: one.type)
def test_a_resource_has_a_sound_schema_and_no_personal_field(resource: type[Resource]) -> None:
    schema = resource.model_json_schema(mode="serialization")
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(resource.model_fields) & PERSONAL <= NOT_OF_PEOPLE.get(resource.type, set())
    assert schema.get("examples"), 'json_schema_extra={"examples": […]}: integrators begin with it'
    for example in schema["examples"]:
        jsonschema.validate(example, schema)


def test_the_document_is_json() -> None:
    assert json.loads(json.dumps(asyncapi()))["channels"].keys() == {one.type for one in resources()}


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in _references(item)]
    if isinstance(value, list):
        return [found for item in value for found in _references(item)]
    return []
