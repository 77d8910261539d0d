"""Describe a value in OpenAPI by another type than the one that validates it at run time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class DescribedBy:
    """`Annotated[Job, DescribedBy(lambda: ImportJob)]`: any job at run time, an import job in the OpenAPI document.

    Use it for values that were validated when they were stored. Validating them again would fail for a row that an
    older version wrote.
    """

    type: Callable[[], Any]
    """Returns the type when the document is built, so that processes do not build it at their start."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # A chain of one step has no name. A model has one, and Pydantic would store the other description under that
        # name.
        return core_schema.chain_schema([handler(source)])

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # Also a chain, because Pydantic builds a component for a step of a chain, but not for a single schema.
        return handler(core_schema.chain_schema([TypeAdapter(self.type()).core_schema]))
