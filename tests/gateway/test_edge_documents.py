"""G1: what the edge says of all services together."""

import copy
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from openapi_spec_validator import validate
from starlette.applications import Starlette

from services.gateway.edge import pages
from services.gateway.edge.documents import Documents
from services.gateway.edge.internal_tokens import ALGORITHM, Issuer
from services.gateway.edge.merging import merge, operations
from shared.core.actors import Actor, Role
from shared.core.settings import SERVICES
from shared.problems import Unavailable
from tests.harness import District


@pytest.fixture
async def outside(district: District):
    transport = httpx.ASGITransport(district.apps["gateway"], raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


async def test_one_valid_document_of_all_services(district: District, outside: httpx.AsyncClient) -> None:
    document = (await outside.get("/openapi.json")).json()
    validate(document)
    assert document["servers"] == [{"url": "/"}]
    for service in SERVICES:
        own = district.apps[service].openapi()
        assert own["paths"].keys() <= document["paths"].keys()
    ids = [operation["operationId"] for operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert not any(path.startswith("/internal") for path in document["paths"])


async def test_every_operation_says_who_may_call_it(outside: httpx.AsyncClient) -> None:
    document = (await outside.get("/openapi.json")).json()
    schemes = document["components"]["securitySchemes"]
    assert document["security"] == [{"bearer": []}, {"openIdConnect": []}, {"oauth2": []}]
    assert schemes["bearer"]["scheme"] == "bearer"
    flows = schemes["oauth2"]["flows"]
    discovered = (await outside.get(schemes["openIdConnect"]["openIdConnectUrl"])).json()
    assert discovered["authorization_endpoint"].endswith(flows["authorizationCode"]["authorizationUrl"])
    assert discovered["token_endpoint"].endswith(flows["clientCredentials"]["tokenUrl"])
    token = document["paths"]["/gateway/v1/development/tokens"]["post"]
    assert token["security"] == []
    assert "401" not in token["responses"]
    assert document["paths"]["/registry/v1/regions"]["post"]["x-roles"] == ["community_officer", "command"]
    for operation in operations(document):
        assert ("x-roles" in operation) != (operation.get("security") == []), operation["operationId"]


def _document(name: str, schema: dict[str, Any], operation: str) -> dict[str, Any]:
    answer = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Outer"}}}, "description": "x"}
    link = {"self": {"operationId": operation}}
    get = {"operationId": operation, "tags": [name], "responses": {"200": {**answer, "links": link}}}
    outer = {"type": "object", "properties": {"inner": {"$ref": "#/components/schemas/Inner"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": "1"},
        "paths": {f"/{name}/v1/things": {"get": get}},
        "components": {"schemas": {"Outer": outer, "Inner": schema, "Same": {"type": "string"}}},
    }


def test_what_differs_carries_its_services_name_and_what_is_alike_is_kept_once() -> None:
    given = {
        "registry": _document("registry", {"type": "string"}, "list_things"),
        "testing": _document("testing", {"type": "integer"}, "list_things"),
        "observation": _document("observation", {"type": "integer"}, "other_things"),
    }
    before = copy.deepcopy(given)
    merged = merge(given)
    assert given == before
    validate(merged)
    schemas = merged["components"]["schemas"]
    assert "Inner" not in schemas
    assert schemas["Same"] == {"type": "string"}
    for service, kind in (("registry", "string"), ("testing", "integer"), ("observation", "integer")):
        get = merged["paths"][f"/{service}/v1/things"]["get"]
        outer = get["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
        inner = schemas[outer]["properties"]["inner"]["$ref"].rsplit("/", 1)[-1]
        assert schemas[inner] == {"type": kind}
        link = get["responses"]["200"]["links"]["self"]["operationId"]
        assert link == get["operationId"] == ("other_things" if service == "observation" else f"{service}_list_things")
    assert [tag["name"] for tag in merged["tags"]] == ["observation", "registry", "testing"]


async def test_a_service_that_is_away_is_described_as_it_was(district: District, monkeypatch) -> None:
    gateway = district.contexts["gateway"]
    documents = Documents(gateway, district.apps["gateway"].openapi)
    before = await documents.openapi()
    assert "/registry/v1/regions" in before["paths"]
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False) as nowhere:
        monkeypatch.setitem(gateway.service_clients._clients, "registry", nowhere)
        documents._openapi["registry"]._asked_at = -1e9
        assert await documents.openapi() == before
        assert documents.is_whole
        never = Documents(gateway, district.apps["gateway"].openapi)
        assert "/registry/v1/regions" not in (await never.openapi())["paths"]
        assert not never.is_whole
        said = await never.status()
    assert said["ready"] is False
    assert said["services"]["registry"] == {"reachable": False, "ready": False}
    assert said["services"]["testing"]["ready"] is True


async def test_a_document_that_misses_a_service_is_kept_by_nobody(district: District, monkeypatch) -> None:
    """A cache would hide the service for a minute after it is there."""
    gateway = district.contexts["gateway"]
    issuer = Issuer.from_files(gateway.settings.keys)
    app = Starlette(routes=pages.routes(gateway, issuer))
    app.openapi = district.apps["gateway"].openapi  # type: ignore[attr-defined]
    nowhere = httpx.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False)
    transport = httpx.ASGITransport(app)
    async with nowhere, httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        with monkeypatch.context() as away:
            away.setitem(gateway.service_clients._clients, "registry", nowhere)
            for path in ("/openapi.json", "/docs"):
                answer = await client.get(path)
                assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
            with pytest.raises(Unavailable):
                await client.get("/docs/api/residents")


async def test_what_a_service_says_again_is_not_made_again(district: District) -> None:
    documents = Documents(district.contexts["gateway"], district.apps["gateway"].openapi)
    before = await documents.openapi()
    for remembered in documents._openapi.values():
        remembered._asked_at = -1e9
    assert await documents.openapi() is before


async def test_problems_of_every_service_are_explained_in_both_languages(outside: httpx.AsyncClient) -> None:
    chinese = (await outside.get("/problems")).json()
    assert {"region_taken", "unauthenticated"} <= {problem["code"] for problem in chinese}
    english = await outside.get("/problems/region_taken", headers={"accept-language": "en"})
    assert english.json()["title"] == "This region code already exists"
    assert english.headers["content-language"] == "en"
    assert (await outside.get("/problems/region_taken")).json()["title"] == "该区划代码已存在"
    assert (await outside.get("/problems/nothing")).json()["code"] == "no_such_path"


async def test_the_status_page(outside: httpx.AsyncClient) -> None:
    said = (await outside.get("/status")).json()
    assert said["ready"] is True
    assert list(said["services"]) == list(SERVICES)
    assert said["services"]["testing"]["checks"]["postgresql"]["ok"] is True


async def test_others_can_check_our_tokens_by_the_published_key(district: District, outside: httpx.AsyncClient) -> None:
    published = (await outside.get("/.well-known/jwks.json")).json()
    assert all("d" not in key for key in published["keys"])
    token = Issuer.from_files(district.contexts["gateway"].settings.keys).issue(Actor("x", Role.COMMAND), None, 60)
    assert jwt.decode(token, KeySet.import_key_set(published), algorithms=[ALGORITHM]).claims["sub"] == "x"
