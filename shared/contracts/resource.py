"""What a public resource is: the one class that the API answers, the feed carries and webhooks deliver."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, TypeAdapter


class Said(BaseModel):
    """Anything said in a request or an answer: nothing unknown is accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Resource(BaseModel):
    """The public state of one thing, without name, number, phone or address.

    `type` is the versioned noun under which it travels (`testing.tube.v1`). `version` grows with every change; whoever
    holds a newer version ignores an older one. Readers ignore fields they do not know.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: ClassVar[str] = ""

    id: UUID
    version: int
    region: str

    def __init_subclass__(cls, *, type: str = "", **options: Any) -> None:  # noqa: A002
        super().__init_subclass__(**options)
        cls.type = type

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        if cls.type:
            if cls.type in RESOURCES:
                raise ValueError(f"{cls.type} is declared twice")
            RESOURCES[cls.type] = cls


RESOURCES: dict[str, type[Resource]] = {}
"""All resource types by name: JSON Schemas and the AsyncAPI document are made from this."""

R = TypeVar("R", bound=Resource)


def read_all(kind: type[R], states: Iterable[bytes]) -> list[R]:
    """Resources as they were written down. All at once, since each by itself takes half as long again."""
    return _many(kind).validate_json(b"[" + b",".join(states) + b"]")


@lru_cache(maxsize=256)
def _many(kind: type[R]) -> TypeAdapter[list[R]]:
    return TypeAdapter(list[kind])  # type: ignore[valid-type]


def schema_path(type_name: str) -> str:
    """Where the gateway serves the JSON Schema of a resource type."""
    return f"/schemas/{type_name}.json"


def owner_of(type_name: str) -> str:
    """The service that owns a resource type: `testing` of `testing.tube.v1`."""
    return type_name.split(".", 1)[0]
