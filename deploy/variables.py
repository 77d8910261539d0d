"""Read the settings from `FANGXIAN_…` variables, and report errors in sentences that name the variable."""

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings

from deploy import data, regions
from deploy.trouble import DEBUG, Trouble
from services.testing.limits import Limits
from shared.core.settings import Settings

PREFIX = "FANGXIAN_"
KNOWN = (
    *(f"{PREFIX}{name.upper()}" for name in Settings.model_fields),
    *(f"{PREFIX}TESTING_{name.upper()}" for name in Limits.model_fields),
    f"{PREFIX}VERSION",  # of the image, for compose.yaml
    data.VARIABLE,
    DEBUG,
)

MESSAGES = {
    "bool_": "should be true or false",
    "int_": "should be a whole number",
    "float_": "should be a number",
    "greater_than_equal": "should be at least {ge}",
    "greater_than": "should be more than {gt}",
    "less_than_equal": "should be at most {le}",
    "less_than": "should be less than {lt}",
    "literal_error": "should be {expected}",
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "ip_v": "should be networks, an address and the number of its leading bits",
    "string_too_long": "should have at most {max_length} characters",
}
"""Sentences by the prefix of pydantic's error type. For other types pydantic's own message is shown."""


def settings(**given: Any) -> Settings:
    """Return the settings from the arguments and the environment. Raises Trouble that names all errors."""
    read, faults = _read(Settings, given)
    faults += _read(Limits, {})[1]
    if isinstance(read, Settings) and (fault := regions.fault_of(read.region)):
        faults.append(f"{PREFIX}REGION: {fault}")
    if faults or not isinstance(read, Settings):
        raise Trouble(in_one(faults))
    return read


def in_one(faults: Sequence[str]) -> str:
    """Join faults: a single one in the sentence, several as a list."""
    if len(faults) == 1:
        return f"The settings are wrong: {faults[0]}."
    return "".join(["The settings are wrong:", *(f"\n- {fault}." for fault in faults)])


def _read(kind: type[BaseSettings], given: dict[str, Any]) -> tuple[BaseSettings | None, list[str]]:
    """Read settings from the environment. Returns them, or None and a sentence for each fault.

    Pydantic checks whether values fit together only if it can read every value. So unreadable values are replaced by
    examples, and the settings are read again. This way one run reports all faults.
    """
    try:
        return kind.model_validate(given), []
    except ValidationError as error:
        errors = error.errors(include_input=False)
    unread = list(dict.fromkeys(str(error["loc"][0]) for error in errors if error["loc"]))
    faults = [_wrong_value(kind, name, errors) for name in unread] or _wrong_together(errors)
    if unread:
        stand_ins = {name: _stand_in(kind.model_fields[name]) for name in unread}
        try:
            kind.model_validate(given | stand_ins)
        except ValidationError as error:
            faults += _wrong_together(error.errors(include_input=False))
    return None, faults


def _stand_in(field: FieldInfo) -> Any:
    return field.examples[0] if field.examples else field.get_default()


def check(keys: Path, **given: Any) -> Settings:
    """Check the settings before anything is started or created. Values that only a start knows are placeholders."""
    return settings(**given, service="gateway", database_url="postgresql:///fangxian", redis_url="redis://", keys=keys)


def unknown(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return a sentence for each variable with our prefix that is not a setting, so that a misspelt name is noticed.

    It does not stop a start, also not in production: the variable may belong to another version, and missing settings
    are reported anyway.
    """
    return [
        f"{name} is not a setting and has no effect{_meant(name)}"
        for name in sorted(environment)
        if name.upper().startswith(PREFIX) and name.upper() not in KNOWN
    ]


def _meant(name: str) -> str:
    near = get_close_matches(name.upper(), KNOWN, n=1, cutoff=0.8)
    return f"; did you mean {near[0]}?" if near else "."


def _wrong_value(kind: type[BaseSettings], setting: str, errors: Sequence[ErrorDetails]) -> str:
    """Describe all errors of one setting, with its name and an example."""
    messages = []
    for error in errors:
        name, *inside = error["loc"] or ("",)
        if name == setting:
            # A step that is not an identifier is pydantic's name of a type.
            messages.append(": ".join([*(str(step) for step in inside if str(step).isidentifier()), _in_words(error)]))
    words = "; ".join(dict.fromkeys(messages))
    example = example_of(kind.model_fields[setting])
    return f"{kind.model_config.get('env_prefix')}{setting.upper()}: {words}, as in '{example}'"


def _wrong_together(errors: Sequence[ErrorDetails]) -> list[str]:
    """Return the messages about values that do not fit together, as the settings class words them."""
    messages = [error["msg"].removeprefix("Value error, ") for error in errors if not error["loc"]]
    return [line for text in messages for line in text.splitlines()]


def example_of(field: FieldInfo) -> str:
    """Return a valid value of a setting as text."""
    value = field.examples[0] if field.examples else field.get_default()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _in_words(error: ErrorDetails) -> str:
    values = {name: f"{value:g}" if isinstance(value, float) else value for name, value in error.get("ctx", {}).items()}
    for beginning, words in MESSAGES.items():
        if error["type"].startswith(beginning):
            return words.format_map(values)
    return error["msg"].removeprefix("Value error, ")
