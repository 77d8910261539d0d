"""Documents a value by another type than the one that checks it at run time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class DescribedBy:
    """`Annotated[Job, DescribedBy(lambda: ImportJob)]`: any job at run time, an import's in the OpenAPI document.

    For what was checked when it was stored and is only shown now. Checking it again would turn a row that an older
    version wrote into an error.
    """

    type: Callable[[], Any]
    """Gives the type when the document is made, so that no process makes it at its start."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # The chain of one step has no name of its own. A model has one, and Pydantic would keep the other
        # description under it.
        return core_schema.chain_schema([handler(source)])

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # Again a chain: of a step in one Pydantic makes a component, of what stands alone it does not.
        return handler(core_schema.chain_schema([TypeAdapter(self.type()).core_schema]))
