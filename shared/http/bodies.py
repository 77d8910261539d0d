"""Request bodies: what JSON says is taken for what it is, and nothing that could pass for it.

`strict_json` has found that a text means one thing only; then Pydantic reads it as a model, strictly: no text for a
number, no number for a date, no `1` for true. Dates, times and ids are texts in JSON, and are read as such. A number is
what it says, however it is written: `17.0` is the integer 17, as in JSON Schema.
"""

import inspect
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, ClassVar, TypeVar, cast

import msgspec
from pydantic import BaseModel, ValidationError, WrapValidator
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from shared.http import strict_json
from shared.http.strict_json import Body
from shared.http.texts import faults_of
from shared.problems import InvalidInput
from shared.sealed_files import Spool

M = TypeVar("M", bound=BaseModel)
Q = TypeVar("Q", bound="QuickBody")
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class QuickBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A large body as its endpoint takes it: what is plainly right is read at once, past Pydantic's model of it.

    All fields are required, also those the model has a default for. Its lists hold structs, and those hold no others.
    """

    says: ClassVar[type[BaseModel]]
    """Its declaration, in OpenAPI and to whoever is told what is wrong."""

    def keys(self) -> int:
        """With how many keys it is written, each of them once: its own, and those of what its lists hold."""
        lists = (items for name in self.__struct_fields__ if isinstance(items := getattr(self, name), list))
        return len(self.__struct_fields__) + sum(len(item.__struct_fields__) for items in lists for item in items)


class StrictRequest(Request):
    """A request whose `json()` refuses what could be read in two ways, and whose files lie nowhere in clear."""

    async def json(self) -> Body:
        """The body, read once."""
        if not hasattr(self, "_json"):
            self._json = Body(await self.body())
        found: Body = self._json
        return found

    async def _get_form(self, **limits: Any) -> FormData:
        if self._form is None and self.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            try:
                async with aclosing(self.stream()) as stream:
                    self._form = await _SealedParts(self.headers, stream, **limits).parse()
            except MultiPartException as error:
                raise HTTPException(400, error.message) from error
        return await super()._get_form(**limits)


class _SealedParts(MultiPartParser):
    """Keeps the files of a form in memory, and the large ones sealed on the disk."""

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        upload = self._current_part.file
        if upload is not None:
            upload.file.close()
            upload.file = spool = cast("Any", Spool(max_size=self.spool_max_size))
            self._files_to_close_on_error[-1] = spool


def parsed(model: type[M], written: bytes) -> M:
    """A body as a model, for routes without a framework. Raises MalformedJson or InvalidInput."""
    body = Body(written)
    try:
        return _read(model, body)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise InvalidInput(errors=faults_of(faults, body.value)) from None


def strictly(endpoint: Endpoint) -> Endpoint:
    """Let an endpoint's bodies be read strictly: FastAPI itself reads them as Python values, with good will."""
    signature = inspect.signature(endpoint, eval_str=True)
    parameters = [one.replace(annotation=_strict(one.annotation)) for one in signature.parameters.values()]
    endpoint.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return endpoint


def _strict(annotation: Any) -> Any:
    if not isinstance(annotation, type) or not issubclass(annotation, BaseModel | QuickBody):
        return annotation
    if issubclass(annotation, QuickBody):
        return Annotated[annotation.says, WrapValidator(_reader(partial(read_quickly, annotation)))]
    return Annotated[annotation, WrapValidator(_reader(partial(_read, annotation)))]


def _reader(read: Callable[[Body], Any]) -> Callable[[Any, Callable[[Any], Any]], Any]:
    def reader(value: Any, otherwise: Callable[[Any], Any]) -> Any:
        return read(value) if isinstance(value, Body) else otherwise(value)

    return reader


def read_quickly(kind: type[Q], body: Body) -> Q:
    """A body that is plainly right, at once; whatever leaves it in doubt is read by the model that declares it."""
    try:
        quick = msgspec.json.decode(body.written, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        quick = None
    # So no text holds what may not be stored, and no key is written twice.
    if quick and b"\\" not in body.written and strict_json.keys_at_most(body.written) == quick.keys():
        return quick
    return msgspec.json.decode(_read(kind.says, body).model_dump_json(), type=kind)


def _read(model: type[M], body: Body) -> M:
    body.require_one_meaning()
    try:
        return model.model_validate_json(body.written, strict=True)
    except ValidationError as error:
        if not any(isinstance(fault["input"], float) for fault in error.errors(include_url=False)):
            raise
    return model.model_validate_json(msgspec.json.encode(_with_plain_integers(body.value)), strict=True)


def _with_plain_integers(value: Any) -> Any:
    """A value with its whole numbers written as integers, if they fit into 64 bits: Pydantic refuses `17.0`."""
    if isinstance(value, dict):
        return {key: _with_plain_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_plain_integers(item) for item in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < strict_json.MAX_INTEGER
    return int(value) if is_whole else value
