"""Strict request bodies: no type coercion.

First `strict_json` checks that the text is unambiguous. Then Pydantic validates it in strict mode: no string for a
number, no number for a date, no `1` for true. Dates, times and ids are strings in JSON and are parsed from strings. A
number counts by its value and not by its notation: `17.0` is the integer 17, as in JSON Schema.
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

from shared.crypto.encrypted_files import Spool
from shared.http import strict_json
from shared.http.strict_json import Body
from shared.http.validation_messages import faults_of
from shared.problems import InvalidInput

M = TypeVar("M", bound=BaseModel)
Q = TypeVar("Q", bound="FastBody")
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class FastBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A large body that msgspec decodes directly. Pydantic validates it only if that fails.

    All fields are required, even if the Pydantic model has a default. Lists contain structs without nested structs.
    """

    says: ClassVar[type[BaseModel]]
    """The Pydantic model for OpenAPI and for error messages."""

    def keys(self) -> int:
        """Count the keys of its JSON text without repetitions: its own, and those of the structs in its lists."""
        lists = (items for name in self.__struct_fields__ if isinstance(items := getattr(self, name), list))
        return len(self.__struct_fields__) + sum(len(item.__struct_fields__) for items in lists for item in items)


class StrictRequest(Request):
    """A request whose `json()` refuses ambiguous JSON and whose files are never on disk unencrypted."""

    async def json(self) -> Body:
        """Return the body. It is read once."""
        if not hasattr(self, "_json"):
            self._json = Body(await self.body())
        body: Body = self._json
        return body

    async def _get_form(self, **limits: Any) -> FormData:
        if self._form is None and self.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            try:
                async with aclosing(self.stream()) as stream:
                    self._form = await _EncryptedParts(self.headers, stream, **limits).parse()
            except MultiPartException as error:
                raise HTTPException(400, error.message) from error
        return await super()._get_form(**limits)


class _EncryptedParts(MultiPartParser):
    """Keeps the files of a form in memory, and large ones encrypted on disk."""

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        upload = self._current_part.file
        if upload is not None:
            upload.file.close()
            upload.file = spool = cast("Any", Spool(max_size=self.spool_max_size))
            self._files_to_close_on_error[-1] = spool


def parsed(model: type[M], written: bytes) -> M:
    """Parse a body as a model, for routes that bypass FastAPI. Raises MalformedJson or InvalidInput."""
    body = Body(written)
    try:
        return _read(model, body)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise InvalidInput(errors=faults_of(faults, body.value)) from None


def strictly(endpoint: Endpoint) -> Endpoint:
    """Validate the bodies of an endpoint strictly, because FastAPI itself coerces types."""
    signature = inspect.signature(endpoint, eval_str=True)
    parameters = [one.replace(annotation=_strict(one.annotation)) for one in signature.parameters.values()]
    endpoint.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return endpoint


def _strict(annotation: Any) -> Any:
    if not isinstance(annotation, type) or not issubclass(annotation, BaseModel | FastBody):
        return annotation
    if issubclass(annotation, FastBody):
        return Annotated[annotation.says, WrapValidator(_reader(partial(decode_fast, annotation)))]
    return Annotated[annotation, WrapValidator(_reader(partial(_read, annotation)))]


def _reader(read: Callable[[Body], Any]) -> Callable[[Any, Callable[[Any], Any]], Any]:
    def reader(value: Any, otherwise: Callable[[Any], Any]) -> Any:
        return read(value) if isinstance(value, Body) else otherwise(value)

    return reader


def decode_fast(kind: type[Q], body: Body) -> Q:
    """Decode a body with msgspec; if it fails or is not certainly unambiguous, validate it with the Pydantic model."""
    try:
        quick = msgspec.json.decode(body.written, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        quick = None
    # Without backslashes no string contains a NUL or a half surrogate pair. Equal key counts exclude repeated keys.
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
    """Replace whole floats that fit into 64 bits by integers, because Pydantic in strict mode refuses `17.0`."""
    if isinstance(value, dict):
        return {key: _with_plain_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_plain_integers(item) for item in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < strict_json.MAX_INTEGER
    return int(value) if is_whole else value
