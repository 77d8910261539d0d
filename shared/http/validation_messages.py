"""Translate Pydantic's validation errors into faults with a location and a text for people.

The texts never repeat the value, because it may be a person's name or number.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from fastapi.exceptions import RequestValidationError

from shared.http.strict_json import Body
from shared.problems import (
    Fault,
    Invalid,
    InvalidInput,
    LocalizedText,
    MalformedJson,
    ParameterLocation,
    Problem,
    UnsupportedMediaType,
    pointer,
    registry,
)

_NUMBERS = re.compile(r"[0-9]+(?:, [0-9]+)* or [0-9]+")
_OBJECT = LocalizedText(zh="应为对象", en="This must be an object")
_ARRAY = LocalizedText(zh="应为数组", en="This must be an array")
_STRING = LocalizedText(zh="应为字符串", en="This must be a string")
_TRUTH = LocalizedText(zh="应为 true 或 false", en="This must be true or false")
_INTEGER = LocalizedText(zh="应为整数", en="This must be an integer")
_NUMBER = LocalizedText(zh="应为数字", en="This must be a number")
_DATE = LocalizedText(zh="应为日期，如 2022-03-14", en="This must be a date such as 2022-03-14")
_TIME = LocalizedText(zh="应为时刻，如 08:30:00", en="This must be a time of day such as 08:30:00")
_INSTANT = LocalizedText(
    zh="应为带时区的时间，如 2022-03-14T08:30:00+08:00",
    en="This must be a time with its offset, such as 2022-03-14T08:30:00+08:00",
)
_DURATION = LocalizedText(zh="应为时长，如 P2D 或 PT90M", en="This must be a duration such as P2D or PT90M")
_PAST = LocalizedText(zh="应为过去的时间", en="This must be in the past")
_FUTURE = LocalizedText(zh="应为将来的时间", en="This must be in the future")
_URL = LocalizedText(zh="应为网址，如 https://example.com/", en="This must be a URL such as https://example.com/")
_UUID = LocalizedText(
    zh="应为 UUID，如 0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
    en="This must be a UUID such as 0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
)
_DECIMAL = LocalizedText(zh="应为十进制数", en="This must be a decimal number")
_FRACTION = LocalizedText(zh="应为分数，如 1/3", en="This must be a fraction such as 1/3")
_COMPLEX = LocalizedText(zh="应为复数，如 1+2j", en="This must be a complex number such as 1+2j")
_MISSING = LocalizedText(zh="此项必填", en="This is required")
_SURPLUS = LocalizedText(zh="没有此项，请删除", en="This field does not exist; remove it")
_ONE_OF = LocalizedText(zh="只能是 {expected}", en="This must be {expected}")
_FIXED = LocalizedText(zh="此项不可更改", en="This cannot be changed")
_NESTED = LocalizedText(zh="嵌套过深", en="This is nested too deeply")
_WRONG = LocalizedText(zh="此值不合要求", en="This value is not allowed")

MESSAGES: Mapping[str, LocalizedText] = {
    "json_invalid": LocalizedText(zh="应为 JSON 文本", en="This must be JSON text"),
    "json_type": LocalizedText(zh="应为 JSON 文本", en="This must be JSON text"),
    "recursion_loop": _NESTED,
    "recursion_depth_exceeded": _NESTED,
    "missing": _MISSING,
    "missing_argument": _MISSING,
    "missing_keyword_only_argument": _MISSING,
    "missing_positional_only_argument": _MISSING,
    "frozen_field": _FIXED,
    "frozen_instance": _FIXED,
    "extra_forbidden": _SURPLUS,
    "unexpected_keyword_argument": _SURPLUS,
    "unexpected_positional_argument": _SURPLUS,
    "multiple_argument_values": LocalizedText(zh="此项重复", en="This appears more than once"),
    "invalid_key": LocalizedText(zh="键应为字符串", en="Keys must be strings"),
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dataclass_type": _OBJECT,
    "dataclass_exact_type": _OBJECT,
    "dict_type": _OBJECT,
    "frozen_dict_type": _OBJECT,
    "ordered_dict_type": _OBJECT,
    "counter_type": _OBJECT,
    "mapping_type": _OBJECT,
    "named_tuple_type": LocalizedText(zh="应为数组或对象", en="This must be an array or an object"),
    "arguments_type": LocalizedText(zh="应为数组或对象", en="This must be an array or an object"),
    "none_required": LocalizedText(zh="应为 null", en="This must be null"),
    "greater_than": LocalizedText(zh="应大于 {gt}", en="This must be greater than {gt}"),
    "greater_than_equal": LocalizedText(zh="不得小于 {ge}", en="This must be at least {ge}"),
    "less_than": LocalizedText(zh="应小于 {lt}", en="This must be less than {lt}"),
    "less_than_equal": LocalizedText(zh="不得大于 {le}", en="This must be at most {le}"),
    "multiple_of": LocalizedText(zh="应为 {multiple_of} 的倍数", en="This must be a multiple of {multiple_of}"),
    "finite_number": LocalizedText(zh="应为有限的数", en="This must be a finite number"),
    "too_short": LocalizedText(zh="至少要有 {min_length} 项", en="This needs at least {min_length} items"),
    "too_long": LocalizedText(zh="最多 {max_length} 项", en="This can have at most {max_length} items"),
    "iterable_type": _ARRAY,
    "iteration_error": _ARRAY,
    "list_type": _ARRAY,
    "deque_type": _ARRAY,
    "tuple_type": _ARRAY,
    "set_type": _ARRAY,
    "frozen_set_type": _ARRAY,
    "set_item_not_hashable": LocalizedText(zh="数组各项应为简单值", en="The items of this array must be simple values"),
    "string_type": _STRING,
    "string_unicode": LocalizedText(zh="应为有效的 Unicode 字符串", en="This must be a valid Unicode string"),
    "string_too_short": LocalizedText(zh="至少 {min_length} 个字符", en="This needs at least {min_length} characters"),
    "string_too_long": LocalizedText(zh="最多 {max_length} 个字符", en="This can have at most {max_length} characters"),
    "string_pattern_mismatch": LocalizedText(zh="格式不正确", en="The format is not valid"),
    "string_not_ascii": LocalizedText(zh="只能含 ASCII 字符", en="This must contain ASCII characters only"),
    "enum": _ONE_OF,
    "literal_error": _ONE_OF,
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "int_type": _INTEGER,
    "int_parsing": _INTEGER,
    "int_parsing_size": LocalizedText(zh="整数过大", en="This integer is too large"),
    "int_from_float": _INTEGER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "bytes_type": _STRING,
    "bytes_too_short": LocalizedText(zh="至少 {min_length} 字节", en="This needs at least {min_length} bytes"),
    "bytes_too_long": LocalizedText(zh="最多 {max_length} 字节", en="This can have at most {max_length} bytes"),
    "bytes_invalid_encoding": LocalizedText(zh="应按 {encoding} 编码", en="This must be encoded as {encoding}"),
    "value_error": _WRONG,
    "assertion_error": _WRONG,
    "date_type": _DATE,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": LocalizedText(
        zh="应为日期，不带时刻", en="This must be a date without a time of day"
    ),
    "date_past": _PAST,
    "date_future": _FUTURE,
    "time_type": _TIME,
    "time_parsing": _TIME,
    "datetime_type": _INSTANT,
    "datetime_parsing": _INSTANT,
    "datetime_object_invalid": _INSTANT,
    "datetime_from_date_parsing": _INSTANT,
    "datetime_past": _PAST,
    "datetime_future": _FUTURE,
    "timezone_naive": LocalizedText(zh="不得带时区", en="This must have no offset"),
    "timezone_aware": LocalizedText(zh="必须带时区，如 +08:00", en="This needs an offset such as +08:00"),
    "timezone_offset": LocalizedText(
        zh="时区偏移应为 {tz_expected} 秒", en="The offset must be {tz_expected} seconds from UTC"
    ),
    "time_delta_type": _DURATION,
    "time_delta_parsing": _DURATION,
    "union_tag_invalid": LocalizedText(
        zh="{discriminator} 只能是 {expected_tags}", en="{discriminator} must be one of {expected_tags}"
    ),
    "union_tag_not_found": LocalizedText(zh="缺少 {discriminator}", en="{discriminator} is required"),
    "url_type": _URL,
    "url_parsing": _URL,
    "url_syntax_violation": _URL,
    "url_too_long": LocalizedText(
        zh="网址最多 {max_length} 个字符", en="A URL can have at most {max_length} characters"
    ),
    "url_scheme": LocalizedText(zh="网址应以 {expected_schemes} 开头", en="The URL must begin with {expected_schemes}"),
    "uuid_type": _UUID,
    "uuid_parsing": _UUID,
    "uuid_version": LocalizedText(
        zh="应为第 {expected_version} 版 UUID", en="This must be a UUID of version {expected_version}"
    ),
    "decimal_type": _DECIMAL,
    "decimal_parsing": _DECIMAL,
    "decimal_max_digits": LocalizedText(zh="最多 {max_digits} 位数字", en="This can have at most {max_digits} digits"),
    "decimal_max_places": LocalizedText(
        zh="小数最多 {decimal_places} 位", en="This can have at most {decimal_places} decimal places"
    ),
    "decimal_whole_digits": LocalizedText(
        zh="整数部分最多 {whole_digits} 位", en="This can have at most {whole_digits} digits before the point"
    ),
    "fraction_type": _FRACTION,
    "fraction_parsing": _FRACTION,
    "complex_type": _COMPLEX,
    "complex_str_parsing": _COMPLEX,
}
"""The text of each Pydantic error type. The values come from the declared constraint, never from the caller."""


_EMPTY = LocalizedText(zh="不能为空", en="This must not be empty")
_REGION = LocalizedText(zh="应为 2 至 16 位数字", en="This must be 2 to 16 digits")
_LEVELS = LocalizedText(
    zh="应为 2、4、6、9、12、14 或 16 位数字", en="This must have 2, 4, 6, 9, 12, 14 or 16 digits, by its level"
)
_PRINTABLE = LocalizedText(
    zh="只能含可见的 ASCII 字符，不含空格", en="This must contain visible ASCII characters only, no spaces"
)
_CURSOR = LocalizedText(zh="请原样使用上一页的 next_cursor", en="Send the next_cursor of the previous page unchanged")

FORMS: Mapping[str, LocalizedText] = {
    r"^[0-9]{9}([0-9]{3}([0-9]{2}([0-9]{2})?)?)?$": LocalizedText(
        zh="应为 9 位（街道、乡镇）、12 位（社区）、14 位（片区）或 16 位（网格）数字",
        en="This must be 9 digits (a township), 12 (a community), 14 (a patch) or 16 (a grid)",
    ),
    r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$": LocalizedText(
        zh="应为 UUIDv7", en="This must be a UUIDv7"
    ),
    r"^[0-9a-f]{1,14}-[0-9a-f]{32}$": LocalizedText(
        zh="应为上一次答复中的 next_cursor", en="This must be the next_cursor of the previous answer"
    ),
    r"^[0-9]{12}([0-9]{2}){0,2}$": LocalizedText(
        zh="应为 12 位（社区）、14 位（片区）或 16 位（网格）数字",
        en="This must be 12 digits (a community), 14 (a patch) or 16 (a grid)",
    ),
    r"^[0-9]{2,16}$": _REGION,
    r"^[0-9]{2,14}$": LocalizedText(zh="应为 2 至 14 位数字", en="This must be 2 to 14 digits"),
    r"^[0-9]{6,16}$": LocalizedText(zh="应为 6 至 16 位数字", en="This must be 6 to 16 digits"),
    r"^([0-9]{2,16})?$": LocalizedText(
        zh="应为 2 至 16 位数字，留空表示全部", en="This must be 2 to 16 digits; empty means all regions"
    ),
    r"^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12}|[0-9]{14}|[0-9]{16})$": _LEVELS,
    r"^([0-9]{6}|[0-9]{9}|[0-9]{12}|[0-9]{14}|[0-9]{16})$": LocalizedText(
        zh="应为 6、9、12、14 或 16 位数字", en="This must have 6, 9, 12, 14 or 16 digits, by its level"
    ),
    r"^[0-9A-Za-z-]{1,40}$": LocalizedText(
        zh="应为采样管上印制的编号", en="This must be the number printed on the tube"
    ),
    r"^[0-9a-f]{64}$": LocalizedText(
        zh="应为提案所示的 64 位摘要", en="This must be the content_hash of the proposal (64 hex digits)"
    ),
    r"^[a-z][a-z0-9_]{1,39}$": LocalizedText(
        zh="应为 2 至 40 个小写字母、数字或下划线，以字母开头",
        en="This must be 2 to 40 lower-case letters, digits or underscores, and begin with a letter",
    ),
    r"^[a-z0-9][a-z0-9._-]{2,99}$": LocalizedText(
        zh="应为 3 至 100 个小写字母、数字、点、横线或下划线",
        en="This must be 3 to 100 lower-case letters, digits, dots, hyphens or underscores",
    ),
    r"^[a-zA-Z0-9][a-zA-Z0-9._-]{2,49}$": LocalizedText(
        zh="应为 3 至 50 位，可用字母、数字、点、横线和下划线",
        en="This must be 3 to 50 letters, digits, dots, hyphens or underscores",
    ),
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$": LocalizedText(
        zh="应为 1 至 63 个小写字母、数字或横线，横线不在首尾",
        en="This must be 1 to 63 lower-case letters, digits or hyphens, with no hyphen at either end",
    ),
    r"^lab-[a-z0-9-]{1,60}$": LocalizedText(
        zh="应为检测机构代号，如 lab-jinjiang", en="This must name a laboratory, such as lab-jinjiang"
    ),
    r"^[a-z0-9_]+(\.[a-z0-9_]+)*$": LocalizedText(
        zh="应为以点分隔的小写词，如 referral.left",
        en="This must be lower-case words separated by dots, such as referral.left",
    ),
    r"^\s*\S[\s\S]{2,}\S\s*$": LocalizedText(zh="请写明，至少 4 个字", en="Write at least 4 characters"),
    r"^[\x21-\x7e]+$": _PRINTABLE,
    r"^(urgent|normal)$": LocalizedText(zh="只能是 urgent 或 normal", en="This must be urgent or normal"),
    r"^[0-9~]{0,16}s[0-9a-f]{1,15}$": _CURSOR,
    r"^0[0-9a-f]{11}7[0-9a-f]{3}[89ab][0-9a-f]{15}$": _CURSOR,
}
"""The text of each field pattern."""

_OF_FIELD: Mapping[tuple[str, str], LocalizedText] = {
    ("phone", "string_too_short"): LocalizedText(zh="号码不完整", en="The number is not complete"),
    ("phone", "string_too_long"): LocalizedText(zh="号码过长", en="The number is too long"),
}
"""More specific texts for a Pydantic error type at a named field."""


def problem_of_validation(error: RequestValidationError, content_type: str | None = None) -> Problem:
    """Return the problem of a request that failed validation: nearly always InvalidInput with all its faults."""
    findings = error.errors()
    body = error.body.value if isinstance(error.body, Body) else error.body
    if _is_unread(body, content_type):
        return UnsupportedMediaType(allowed="application/json")
    if len(findings) == 1 and findings[0]["type"] == "json_invalid" and len(findings[0]["loc"]) == 2:
        at = findings[0]["loc"][1]
        if findings[0]["loc"][0] == "body" and isinstance(at, int):
            return MalformedJson(
                reason=LocalizedText(zh=f"第 {at} 个字符处有语法错误", en=f"syntax error at character {at}")
            )
    return InvalidInput(errors=faults_of(findings, body))


def _is_unread(body: Any, content_type: str | None) -> bool:
    """Whether the body was not parsed, because the Content-Type does not declare JSON."""
    return isinstance(body, bytes) and "json" not in (content_type or "").lower()


def faults_of(findings: Sequence[Mapping[str, Any]], body: Any = None) -> list[Fault]:
    """Turn each Pydantic error into a fault: in the body with a JSON Pointer, in a parameter with its name."""
    return [_fault_of(finding, body) for finding in findings]


def _fault_of(finding: Mapping[str, Any], body: Any) -> Fault:
    code, text, values = _words_of(finding)
    location, *steps = finding["loc"] or ("body",)
    text = _OF_FIELD.get((str(steps[-1]) if steps else "", code), text)
    if location in ("query", "path", "header", "cookie"):
        name = str(steps[0]) if steps else str(location)
        return Fault(code, text, values, parameter=name, location=cast("ParameterLocation", location))
    return Fault(code, text, values, at=pointer(*_path_in(body, steps, missing=finding["type"] == "missing")))


def _words_of(finding: Mapping[str, Any]) -> tuple[str, LocalizedText, Mapping[str, object]]:
    kind, context = finding["type"], finding.get("ctx") or {}
    error = context.get("error")
    if isinstance(error, Invalid):
        return error.code, error.text, error.values
    if kind == "string_pattern_mismatch":
        return kind, FORMS.get(context.get("pattern", ""), MESSAGES[kind]), {}
    if kind == "string_too_short" and context.get("min_length") == 1:
        return kind, _EMPTY, {}
    if kind in MESSAGES:
        return kind, MESSAGES[kind], {name: _listed(context.get(name, "…")) for name in MESSAGES[kind].names}
    declared = registry.get(kind)
    return kind, declared.title if declared else _WRONG, {}


def _listed(value: Any) -> object:
    """Translate a list in a context value: `'a', 'b' or 'c'` and `1, 5 or 10` are lists of three."""
    if isinstance(value, str) and _NUMBERS.fullmatch(value):
        return LocalizedText(zh=value.replace(" or ", "、").replace(", ", "、"), en=value)
    if not isinstance(value, str) or "'" not in value:
        return value
    separated = value.replace("' or '", "', '")
    return LocalizedText(zh=_braced(separated.replace("', '", "'、'")), en=_braced(value))


def _braced(literal: str) -> str:
    return literal.replace("{", "{{").replace("}", "}}")


def _path_in(body: Any, steps: Sequence[str | int], *, missing: bool) -> list[str | int]:
    """Keep the steps that exist in the body, because Pydantic also adds names of union members and validators."""
    path: list[str | int] = []
    here = body
    for number, step in enumerate(steps):
        if step == "[key]":
            break
        if _holds(here, step):
            here = here[step]
            path.append(step)
        elif missing and number == len(steps) - 1:
            path.append(step)
    return path


def _holds(value: Any, step: str | int) -> bool:
    if isinstance(value, Mapping):
        return step in value
    return isinstance(value, list | tuple) and isinstance(step, int) and 0 <= step < len(value)
