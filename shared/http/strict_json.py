"""Decode unambiguous JSON (RFC 8259, restricted as in I-JSON, RFC 7493). Other text raises a problem with a location.

A fast decoder accepts text that is certainly valid. All other text is decoded again by a slow decoder that knows the
location of each fault. The fast decoder may therefore refuse valid text, but must not accept invalid text.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import msgspec

from shared.problems import LocalizedText, MalformedJson, pointer

MAX_DEPTH = 32
"""The deepest nesting of objects and arrays."""
MAX_VALUES = 200_000
"""Values in one body, containers included."""
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
"""The range of a bigint column and of most languages."""

_BOM = b"\xef\xbb\xbf"
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NUL = b"\\u0000"
_BAD_CHARACTER = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class Body:
    """The text of a body."""

    written: bytes

    @cached_property
    def value(self) -> Any:
        """The value, decoded once. Raises MalformedJson."""
        return loads(self.written)

    def require_one_meaning(self) -> None:
        """Refuse invalid or ambiguous JSON. Raises MalformedJson."""
        _ = self.value


def loads(body: bytes) -> Any:
    """Decode a JSON text. Raises MalformedJson with the location of the fault: a byte offset or a JSON Pointer."""
    if _NUL in body or not _is_shallow(body):
        return _read_slowly(body)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _read_slowly(body)
    return value if _is_plainly_right(value, body) else _read_slowly(body)


def _is_shallow(body: bytes) -> bool:
    """Whether the brackets alone prove that the nesting is not too deep. Brackets in strings may prevent the proof."""
    brackets = body.translate(None, _ALL_BUT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return True
        shorter = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(shorter) == len(brackets):
            return False
        brackets = shorter
    return not brackets


def _is_plainly_right(value: Any, body: bytes) -> bool:
    """Whether no integer is too large and no key can be repeated. Raises MalformedJson for too many values."""
    keys, values = 0, 1
    containers: list[dict[str, Any] | list[Any]] = []
    items: Iterable[Any] = (value,)
    while True:
        for item in items:
            kind = type(item)
            if kind is dict or kind is list:
                containers.append(item)
            elif kind is int and not MIN_INTEGER <= item <= MAX_INTEGER:
                return False
        if not containers:
            return keys == keys_at_most(body)
        container = containers.pop()
        values += len(container)
        if values > MAX_VALUES:
            _refuse(_TOO_MANY)
        if isinstance(container, dict):
            keys += len(container)
            items = container.values()
        else:
            items = container


def keys_at_most(body: bytes) -> int:
    """Count quotes that are followed by a colon. This is at least the number of keys in the text, with repetitions."""
    return body.translate(None, b" \t\r\n").count(b'":')


class _Pairs(list[tuple[str, Any]]):
    """The pairs of an object, including repeated keys."""


class _Unreadable(Exception):  # noqa: N818 - never leaves this module
    """A constant that JSON does not have, such as NaN."""


def _read_slowly(body: bytes) -> Any:
    text = _text_of(body)
    try:
        written = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        _refuse_at(len(text[: error.pos].encode()))
    except _Unreadable as error:
        _refuse(LocalizedText(zh=f"不允许 {error}", en=f"{error} is not JSON"))
    except RecursionError:
        _refuse(_TOO_DEEP)
    return _Reader().read(written, ())


def _text_of(body: bytes) -> str:
    if body.startswith(_BOM):
        _refuse(LocalizedText(zh="开头有 BOM（字节 0 至 2），请删除", en="it begins with a byte order mark; remove it"))
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start
        _refuse(LocalizedText(zh=f"第 {at} 字节处不是 UTF-8", en=f"byte {at} is not UTF-8"))
    if not text.strip(" \t\r\n"):
        _refuse(LocalizedText(zh="正文为空", en="it is empty"))
    return text


class _Reader:
    """Converts decoded pairs into values and tracks the location."""

    def __init__(self) -> None:
        self.values = 0

    def read(self, written: Any, path: tuple[str | int, ...]) -> Any:
        self.values += 1
        if self.values > MAX_VALUES:
            _refuse(_TOO_MANY)
        if isinstance(written, _Pairs | list) and len(path) >= MAX_DEPTH:
            _refuse(_TOO_DEEP, path)
        if isinstance(written, _Pairs):
            return dict(self._members(written, path))
        if isinstance(written, list):
            return [self.read(item, (*path, index)) for index, item in enumerate(written)]
        return _scalar(written, path)

    def _members(self, pairs: _Pairs, path: tuple[str | int, ...]) -> Iterator[tuple[str, Any]]:
        seen = set()
        for key, written in pairs:
            _scalar(key, path)
            if key in seen:
                _refuse(LocalizedText(zh="同一对象中有重复的键", en="an object has the same key twice"), (*path, key))
            seen.add(key)
            yield key, self.read(written, (*path, key))


def _scalar(value: Any, path: tuple[str | int, ...]) -> Any:
    if isinstance(value, str) and _BAD_CHARACTER.search(value):
        _refuse(
            LocalizedText(zh="字符串含空字符或不成对的代理字符", en="a string contains a NUL or half a surrogate pair"),
            path,
        )
    too_large = isinstance(value, float) and value in (float("inf"), float("-inf"))
    if too_large or (type(value) is int and not MIN_INTEGER <= value <= MAX_INTEGER):
        _refuse(LocalizedText(zh="数字超出 64 位范围", en="a number does not fit in 64 bits"), path)
    return value


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else float("inf")


def _constant(name: str) -> NoReturn:
    raise _Unreadable(name)


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=_integer, parse_constant=_constant)

_TOO_MANY = LocalizedText(zh=f"超过 {MAX_VALUES} 个值", en=f"it contains more than {MAX_VALUES} values")
_TOO_DEEP = LocalizedText(zh=f"嵌套超过 {MAX_DEPTH} 层", en=f"it is nested deeper than {MAX_DEPTH} levels")


def _refuse(reason: LocalizedText, path: tuple[str | int, ...] | None = None) -> NoReturn:
    raise MalformedJson(reason=reason, at=None if path is None else pointer(*path)) from None


def _refuse_at(offset: int) -> NoReturn:
    _refuse(LocalizedText(zh=f"第 {offset} 字节处有语法错误", en=f"there is a syntax error at byte {offset}"))
