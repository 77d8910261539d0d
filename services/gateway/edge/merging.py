"""Merges the OpenAPI documents of several services into one. Pure functions.

Components with the same name and content are kept once. If the content differs, the service's name becomes a prefix.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from services.gateway.edge.sharing import share_errors
from services.gateway.edge.tags import TAGS

METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})

INFO = {
    "title": "Fangxian 防线",
    "version": "1",
    "description": "Verify the code before the service (先验码、后服务). All four services at one address.",
    "contact": {"name": "Fangxian 防线"},
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
SCOPES = {"openid": "Sign in, and find out who signed in."}
SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token with one role and one scope.",
    },
    "openIdConnect": {
        "type": "openIdConnect",
        "openIdConnectUrl": "/.well-known/openid-configuration",
        "description": "People get a token when they sign in from an app.",
    },
    "oauth2": {
        "type": "oauth2",
        "description": "Machines get a token here. People too, if a tool does not support OpenID Connect.",
        "flows": {
            "clientCredentials": {"tokenUrl": "/oauth/token", "scopes": {}},
            "authorizationCode": {
                "authorizationUrl": "/sign-in/authorize",
                "tokenUrl": "/oauth/token",
                "refreshUrl": "/oauth/token",
                "scopes": SCOPES,
            },
        },
    },
}

Document = dict[str, Any]


def merge(documents: Mapping[str, Document]) -> Document:
    """Merge documents by service name into one. The given documents are not changed."""
    renamed = {service: _with_own_names(service, documents) for service in documents}
    merged: Document = {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in SECURITY_SCHEMES],
        "tags": [],
        "paths": {},
        "components": {"securitySchemes": SECURITY_SCHEMES},
    }
    for document in renamed.values():
        for path, item in document.get("paths", {}).items():
            merged["paths"].setdefault(path, {}).update(item)
        for kind, things in document.get("components", {}).items():
            if kind != "securitySchemes":
                merged["components"].setdefault(kind, {}).update(things)
    for name, schema in merged["components"].get("schemas", {}).items():
        if "title" in schema:
            schema["title"] = name  # code generators use the title as class name
    share_errors(merged)
    merged["tags"] = [_tag(name) for name in _tags(merged)]
    return merged


def operations(document: Document) -> Iterator[dict[str, Any]]:
    """Yield every operation of a document."""
    for item in document.get("paths", {}).values():
        yield from (operation for method, operation in item.items() if method in METHODS)


def _with_own_names(service: str, documents: Mapping[str, Document]) -> Document:
    """Return a service's document, with new names for components that another service defines differently."""
    document = copy.deepcopy(documents[service])
    references = {}
    for kind, things in document.get("components", {}).items():
        for name in _conflicting(service, kind, documents):
            references[f"#/components/{kind}/{name}"] = f"#/components/{kind}/{_named(service, name)}"
            things[_named(service, name)] = things.pop(name)
    taken = _taken_operation_ids(service, documents)
    ids = {one: f"{service}_{one}" for one in taken}

    def rename(key: str, value: str) -> str:
        if key == "operationId":
            return ids.get(value, value)
        return references.get(value, value)

    _each_text(document, rename)
    return document


def _conflicting(service: str, kind: str, documents: Mapping[str, Document]) -> list[str]:
    """Return the component names that another service defines differently."""
    own = documents[service].get("components", {}).get(kind, {})
    others = [other.get("components", {}).get(kind, {}) for name, other in documents.items() if name != service]
    differing = {name for name in own for other in others if name in other and other[name] != own[name]}
    # A component that refers to a renamed one differs from its namesake too, even if their texts are equal.
    while True:
        more = {
            name
            for name, thing in own.items()
            if name not in differing and any(name in other for other in others) and _refers(thing, kind, differing)
        }
        if not more:
            return sorted(differing)
        differing |= more


def _refers(thing: Any, kind: str, names: set[str]) -> bool:
    references = {f"#/components/{kind}/{name}" for name in names}
    texts: list[str] = []

    def collect(_: str, value: str) -> str:
        texts.append(value)
        return value

    _each_text(copy.deepcopy(thing), collect)
    return not references.isdisjoint(texts)


def _taken_operation_ids(service: str, documents: Mapping[str, Document]) -> set[str]:
    counts = Counter(
        operation["operationId"]
        for document in documents.values()
        for operation in operations(document)
        if "operationId" in operation
    )
    return {
        operation["operationId"]
        for operation in operations(documents[service])
        if counts.get(operation.get("operationId", ""), 0) > 1
    }


def _each_text(thing: Any, change: Callable[[str, str], str], key: str = "") -> Any:
    """Apply a function to every operation id and every reference to a component, at any depth."""
    if isinstance(thing, dict):
        for name, value in thing.items():
            thing[name] = _each_text(value, change, name)
        return thing
    if isinstance(thing, list):
        thing[:] = [_each_text(value, change, key) for value in thing]
        return thing
    return change(key, thing) if isinstance(thing, str) and _is_name(key, thing) else thing


def _is_name(key: str, value: str) -> bool:
    return key == "operationId" or value.startswith("#/components/")


def _named(service: str, name: str) -> str:
    return f"{service.capitalize()}{name}"


def _tag(name: str) -> dict[str, str]:
    return {"name": name, "description": TAGS[name].en} if name in TAGS else {"name": name}


def _tags(document: Document) -> list[str]:
    return sorted({tag for operation in operations(document) for tag in operation.get("tags", ())})
