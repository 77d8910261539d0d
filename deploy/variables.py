"""The settings in the environment, `FANGXIAN_…`: what is wrong with them, in sentences that name the variable."""

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
from shared.settings import Settings

PREFIX = "FANGXIAN_"
KNOWN = (
    *(f"{PREFIX}{name.upper()}" for name in Settings.model_fields),
    *(f"{PREFIX}TESTING_{name.upper()}" for name in Limits.model_fields),
    f"{PREFIX}VERSION",  # of the image, for compose.yaml
    data.VARIABLE,
    DEBUG,
)

WORDS = {
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
"""What is wrong, by the beginning of pydantic's name for it. What is not here speaks for itself."""


def settings(**given: Any) -> Settings:
    """What is given, and what the environment adds to it. Raises Trouble that names all that is wrong."""
    found, faults = _read(Settings, given)
    faults += _read(Limits, {})[1]
    if isinstance(found, Settings) and (fault := regions.fault_of(found.region)):
        faults.append(f"{PREFIX}REGION: {fault}")
    if faults or not isinstance(found, Settings):
        raise Trouble(in_one(faults))
    return found


def in_one(faults: Sequence[str]) -> str:
    """One fault in the sentence, or each in a line of its own."""
    if len(faults) == 1:
        return f"The settings are wrong: {faults[0]}."
    return "".join(["The settings are wrong:", *(f"\n- {fault}." for fault in faults)])


def _read(kind: type[BaseSettings], given: dict[str, Any]) -> tuple[BaseSettings | None, list[str]]:
    """Settings from the environment, and each fault in words.

    What does not go together is looked at only where every value can be read. So those that cannot are put aside, and
    the rest is read once more: an operator should not be told one fault a run.
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
    """The same, with stand-ins for what only a start knows: before anything is started, or made."""
    return settings(**given, service="gateway", database_url="postgresql:///fangxian", redis_url="redis://", keys=keys)


def unknown(environment: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence on each variable that is named as a setting and is none, so that no misspelt one goes unseen.

    It stops nobody, in production neither: it may be another version's, and what production needs is asked for anyway.
    """
    return [
        f"{name} is no setting and does nothing{_meant(name)}."
        for name in sorted(environment)
        if name.upper().startswith(PREFIX) and name.upper() not in KNOWN
    ]


def _meant(name: str) -> str:
    near = get_close_matches(name.upper(), KNOWN, n=1, cutoff=0.8)
    return f"; {near[0]} is one" if near else ""


def _wrong_value(kind: type[BaseSettings], setting: str, errors: Sequence[ErrorDetails]) -> str:
    """All that is wrong with one setting, by its name and with an example."""
    said = []
    for error in errors:
        name, *inside = error["loc"] or ("",)
        if name == setting:
            # What is no identifier is pydantic's own name of a type.
            said.append(": ".join([*(str(step) for step in inside if str(step).isidentifier()), _in_words(error)]))
    words = "; ".join(dict.fromkeys(said))
    example = example_of(kind.model_fields[setting])
    return f"{kind.model_config.get('env_prefix')}{setting.upper()}: {words}, as in '{example}'"


def _wrong_together(errors: Sequence[ErrorDetails]) -> list[str]:
    """What does not go together, as the settings say it themselves."""
    said = [error["msg"].removeprefix("Value error, ") for error in errors if not error["loc"]]
    return [line for text in said for line in text.splitlines()]


def example_of(field: FieldInfo) -> str:
    """A right value, as one writes it."""
    value = field.examples[0] if field.examples else field.get_default()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _in_words(error: ErrorDetails) -> str:
    values = {name: f"{value:g}" if isinstance(value, float) else value for name, value in error.get("ctx", {}).items()}
    for beginning, words in WORDS.items():
        if error["type"].startswith(beginning):
            return words.format_map(values)
    return error["msg"].removeprefix("Value error, ")
