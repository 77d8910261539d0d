"""Every operation the installation offers, as requests that are about somebody else's things.

They are found in the merged document, so that what is built later is walked without a change here; a parameter that no
thing of the state is known for is an error of the walk, and says so.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.gateway.edge.merging import METHODS

Things = Mapping[str, str]
"""What a parameter or a field of that name is of the state: `{"resident_id": "0199…"}`."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    file: bytes | None = None

    @property
    def text(self) -> str:
        """All that the caller says, who learns nothing by hearing it again."""
        return json.dumps([self.path, dict(self.params), self.body], ensure_ascii=False)


@dataclass(frozen=True)
class Operation:
    """One operation, as its document describes it."""

    service: str
    method: str
    path: str
    roles: frozenset[str]
    is_open: bool
    parameters: tuple[str, ...]
    queries: tuple[str, ...]
    example: Any = None
    has_file: bool = False

    @property
    def name(self) -> str:
        """As people say it."""
        return f"{self.method} {self.path}"

    def requests(self, things: Things, file: bytes, own: str | None) -> Iterator[Asked]:
        """On those things; again for each of them that narrows the answer; and in a region of one's own."""
        path = self.path
        for name in self.parameters:
            path = path.replace(f"{{{name}}}", self.thing(things, name))
        body = None if self.example is None else filled(self.example, things)
        upload = file if self.has_file else None
        yield Asked(self.method, path, {}, body, upload)
        for name in self.queries:
            if (thing := things.get(f"{self.service} {name}") or things.get(name)) is not None:
                yield Asked(self.method, path, {name: thing}, body, upload)
        if own is not None and isinstance(body, dict) and body.keys() & things_of_bodies(things) > {"region"}:
            yield Asked(self.method, path, {}, body | {"region": own}, upload)

    def thing(self, things: Things, name: str) -> str:
        """What a parameter of the path is. LookupError if the state holds no such thing."""
        for known in (f"{self.path} {name}", f"{self.service} {name}", name):
            if known in things:
                return things[known]
        raise LookupError(f"{self.name}: make one in tests/walk/state.py, and say in FOUND where {name} is found")


def filled(example: Any, things: Things) -> Any:
    """An example about somebody else's things."""
    if isinstance(example, dict):
        return {name: _value(name, value, things) for name, value in example.items()}
    return [filled(one, things) for one in example] if isinstance(example, list) else example


def _value(name: str, value: Any, things: Things) -> Any:
    known = things.get(f"body {name}")
    if known is None:
        return filled(value, things)
    return [known] if isinstance(value, list) else known


def things_of_bodies(things: Things) -> set[str]:
    """The fields of bodies that things are known for."""
    return {name.removeprefix("body ") for name in things if name.startswith("body ")}


def texts_of(body: Any) -> Iterator[str]:
    """Every text in a body, but the shortest."""
    if isinstance(body, dict | list):
        for part in body.values() if isinstance(body, dict) else body:
            yield from texts_of(part)
    elif isinstance(body, str) and len(body) > 5:
        yield body


def operations_of(document: dict[str, Any]) -> list[Operation]:
    """All of them, in the order of the document."""
    return [
        _operation(document, path, method, found)
        for path, item in document["paths"].items()
        for method, found in item.items()
        if method in METHODS
    ]


def _operation(document: dict[str, Any], path: str, method: str, found: dict[str, Any]) -> Operation:
    asked = found.get("parameters", [])
    content = found.get("requestBody", {}).get("content", {})
    first = path.split("/")[1]
    return Operation(
        service="gateway" if first == "services" else first,
        method=method.upper(),
        path=path,
        roles=frozenset(found.get("x-roles", ())),
        is_open=found.get("security") == [],
        parameters=tuple(one["name"] for one in asked if one["in"] == "path"),
        queries=tuple(one["name"] for one in asked if one["in"] == "query"),
        example=_example(document, content["application/json"]) if "application/json" in content else None,
        has_file="multipart/form-data" in content,
    )


def _example(document: dict[str, Any], media: dict[str, Any]) -> Any:
    if "example" in media:
        return media["example"]
    schema = media.get("schema", {})
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema.get("examples", [{}])[0]
