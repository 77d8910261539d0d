"""G1: the API's document is whole: whoever reads it, a person or a tool, needs nothing else."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

from services.gateway.issuer.document import OF_PAGES, PATHS
from services.gateway.issuer.refusals import REFUSALS
from shared.http.route import Route
from shared.http.router import ALWAYS
from tests.harness import District

OPEN = {"unauthenticated", "forbidden"}
"""Problems that no route open to everybody can meet."""

Operation = tuple[str, dict[str, Any]]


@pytest.fixture
async def document(district: District) -> dict[str, Any]:
    transport = httpx.ASGITransport(district.apps["gateway"], raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


def each(document: dict[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def resolved(thing: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in thing:
        _, kind, name = thing["$ref"].removeprefix("#/").split("/")
        thing = document["components"][kind][name]
    return thing


def examples_of(media: dict[str, Any], document: dict[str, Any]) -> list[Any]:
    if "example" in media:
        return [media["example"]]
    if "examples" in media:
        named = media["examples"]
        return named if isinstance(named, list) else [resolved(one, document)["value"] for one in named.values()]
    if "oneOf" in media:
        return [example for one in media["oneOf"] for example in examples_of(resolved(one, document), document)]
    schema = media.get("schema")
    return [] if schema is None else examples_of(resolved(schema, document), document)


def faults(media: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the examples of one body or parameter."""
    examples = examples_of(media, document)
    if not examples:
        yield "no example"
    whole = {**media.get("schema", {}), "components": document["components"]}
    validator = Draft202012Validator(whole, format_checker=FormatChecker())
    for example in examples:
        yield from (f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(example))


def bodies(operation: dict[str, Any], document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        yield f"request {kind}", media
    for status, response in operation["responses"].items():
        for kind, media in resolved(response, document).get("content", {}).items():
            yield f"{status} {kind}", media


async def test_every_body_has_examples_that_are_right(document: dict[str, Any]) -> None:
    wrong = [
        f"{name}, {where}: {fault}"
        for name, operation in each(document)
        for where, media in bodies(operation, document)
        for fault in faults(media, document)
    ]
    assert wrong == []


async def test_every_json_body_shows_its_example_where_it_is_asked_for(document: dict[str, Any]) -> None:
    """Not every tool follows a schema to its examples."""
    asked = {
        name: operation["requestBody"]["content"]["application/json"]
        for name, operation in each(document)
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert len(asked) >= 60
    assert [name for name, media in asked.items() if not {"example", "examples"} & media.keys()] == []


async def test_every_parameter_is_described_and_every_one_of_a_path_has_an_example(document: dict[str, Any]) -> None:
    wrong = []
    for name, operation in each(document):
        for parameter in operation.get("parameters", ()):
            where = f"{name}, {parameter['name']}"
            if not parameter.get("description"):
                wrong.append(f"{where}: no description")
            if parameter["in"] == "path" or examples_of(parameter, document):
                wrong += [f"{where}: {fault}" for fault in faults(parameter, document)]
            if parameter["in"] != "path" and {"type": "null"} in parameter["schema"].get("anyOf", ()):
                wrong.append(f"{where}: a parameter cannot be null")
    assert wrong == []


async def test_the_issuer_documents_its_forms_and_every_error_it_answers(document: dict[str, Any]) -> None:
    token = document["paths"]["/oauth/token"]["post"]
    asked = token["requestBody"]["content"]["application/x-www-form-urlencoded"]
    examples = {one["value"]["grant_type"] for one in asked["examples"].values()}
    assert examples == set(asked["schema"]["properties"]["grant_type"]["enum"])
    shown = {
        code
        for path in PATHS
        for response in document["paths"][path].get("post", {"responses": {}})["responses"].values()
        for code in resolved(response, document).get("content", {}).get("application/json", {}).get("examples", ())
    }
    asked_at_the_application = {code for code in REFUSALS if code not in shown}
    assert asked_at_the_application == set(OF_PAGES)


async def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    validate(document)
    for name, operation in each(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        assert any(status.startswith("2") for status in operation["responses"]), name


def documented(operation: dict[str, Any], document: dict[str, Any]) -> set[str]:
    return {
        code
        for response in operation["responses"].values()
        for code in resolved(response, document)
        .get("content", {})
        .get("application/problem+json", {})
        .get("examples", ())
    }


async def test_every_problem_a_route_declares_is_documented(district: District, document: dict[str, Any]) -> None:
    """What is raised without being declared is an error of the route in every test (`route.strict_problems`)."""
    operations = {operation["operationId"]: operation for _, operation in each(document)}
    seen = 0
    for app in district.apps.values():
        for route in routes_of(app.router.routes):
            found = [one for name, one in operations.items() if name.endswith(route.operation_id or "")]
            if not route.include_in_schema or not found:
                continue
            contract = route.endpoint.__contract__  # type: ignore[attr-defined]
            declared = {problem.code for problem in contract.problems}
            assert any(declared <= documented(operation, document) for operation in found), route.operation_id
            seen += 1
    of_the_issuer = {name.partition(" ")[2] for name, _ in each(document)} & PATHS.keys()
    assert seen == len(operations) - len(of_the_issuer)
    for name, operation in each(document):
        if "/forward-auth/" in name:  # proxies understand these and no others
            assert set(operation["responses"]) == {"200", "401", "403", "503"}, name
            continue
        always = {problem.code for problem in ALWAYS} - (OPEN if operation.get("security") == [] else set())
        assert always <= documented(operation, document), name


def routes_of(routes: Any) -> Iterator[Route]:
    return (route for route in routes if isinstance(route, Route))


async def test_from_what_is_made_tools_walk_to_all_that_can_be_done_with_it(document: dict[str, Any]) -> None:
    walked = 0
    for path, found in document["paths"].items():
        responses = found.get("post", {}).get("responses", {})
        assert not {"201", "202"} & {one for verb in found for one in found[verb]["responses"] if verb != "post"}, path
        made = responses.get("201") or responses.get("202")
        if made is None:
            continue
        assert made.get("headers", {}).get("Location", {}).get("description"), f"POST {path} says not where it is made"
        assert "self" in made.get("links", {}), f"POST {path} leads to no operation that reads what it made"
        linked = {link["operationId"] for link in made["links"].values()}
        item = next(one for one, methods in document["paths"].items() if "get" in methods and serves(methods, made))
        for other, methods in document["paths"].items():
            if other == item or other.startswith(f"{item}/"):
                assert {operation["operationId"] for operation in methods.values()} <= linked, f"{path} → {other}"
        walked += 1
    assert walked >= 28


def serves(methods: dict[str, Any], made: dict[str, Any]) -> bool:
    return bool(methods["get"]["operationId"] == made["links"]["self"]["operationId"])


async def test_links_name_parameters_and_fields_that_exist(document: dict[str, Any]) -> None:
    operations = {operation["operationId"]: operation for _, operation in each(document)}
    for name, operation in each(document):
        for status, response in operation["responses"].items():
            for link in response.get("links", {}).values():
                target = operations[link["operationId"]]
                assert link["parameters"].keys() <= {one["name"] for one in target["parameters"]}, name
                [example, *_] = examples_of(response["content"]["application/json"], document)
                for expression in link["parameters"].values():
                    here = example
                    for step in expression.removeprefix("$response.body#/").split("/"):
                        here = here[int(step) if step.isdigit() else step]
                    assert isinstance(here, str | int), f"{name} {status}"
