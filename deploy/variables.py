"""The settings in the environment, `FANGXIAN_…`: what is wrong with them, in a sentence that names the variable."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from deploy import data
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


def settings(**given: Any) -> Settings:
    """What is given, and what the environment adds to it. Raises Trouble if it is wrong."""
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise Trouble(f"The settings are wrong: {_told(error.errors(include_input=False)[0])}.") from None


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


def _told(error: ErrorDetails) -> str:
    said = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return said
    name, *inside = error["loc"]
    where = "".join(f" {step}:" for step in inside if str(step).isidentifier())  # else pydantic's own name of a type
    examples = Settings.model_fields[str(name)].examples or ()
    return f"{PREFIX}{str(name).upper()}:{where} {said}" + "".join(f", as in '{example}'" for example in examples)
