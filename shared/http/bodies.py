"""Request bodies: what JSON says is taken for what it is, and nothing that could pass for it.

`strict_json` has found that a text means one thing only; then Pydantic reads it as a model, strictly: no text for a
number, no number for a date, no `1` for true. Dates, times and ids are texts in JSON, and are read as such.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ValidationError, WrapValidator
from starlette.requests import Request

from shared.http import strict_json
from shared.http.strict_json import Body
from shared.http.texts import faults_of
from shared.problems import InvalidInput

M = TypeVar("M", bound=BaseModel)
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class StrictRequest(Request):
    """A request whose `json()` refuses what could be read in two ways."""

    async def json(self) -> Body:
        """The body, read once."""
        if not hasattr(self, "_json"):
            written = await self.body()
            self._json = Body(strict_json.loads(written), written)
        found: Body = self._json
        return found


def parsed(model: type[M], written: bytes) -> M:
    """A body as a model, for routes without a framework. Raises MalformedJson or InvalidInput."""
    value = strict_json.loads(written)
    try:
        return model.model_validate_json(written, strict=True)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise InvalidInput(errors=faults_of(faults, value)) from None


def strictly(endpoint: Endpoint) -> Endpoint:
    """Let an endpoint's bodies be read strictly: FastAPI itself reads them as Python values, with good will."""
    signature = inspect.signature(endpoint, eval_str=True)
    parameters = [
        one.replace(annotation=Annotated[one.annotation, WrapValidator(_reader(one.annotation))])
        if isinstance(one.annotation, type) and issubclass(one.annotation, BaseModel)
        else one
        for one in signature.parameters.values()
    ]
    endpoint.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return endpoint


def _reader(model: type[BaseModel]) -> Callable[[Any, Callable[[Any], Any]], Any]:
    def read(value: Any, otherwise: Callable[[Any], Any]) -> Any:
        return model.model_validate_json(value.written, strict=True) if isinstance(value, Body) else otherwise(value)

    return read
