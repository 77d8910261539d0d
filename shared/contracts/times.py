"""Days and instants in requests: in RFC 3339 format. A number of seconds is refused, also as a string."""

from datetime import date, datetime
from typing import Annotated, Any, TypeAlias

from pydantic import AwareDatetime, BeforeValidator, TypeAdapter
from pydantic_core import PydanticKnownError

_day_of = TypeAdapter(date).validate_python
_instant_of = TypeAdapter(datetime).validate_python


def _day(value: Any) -> Any:
    if isinstance(value, str):
        if len(value) != 10 or value[4] != "-":
            raise PydanticKnownError("date_parsing", {"error": "no year"})
        return _day_of(value)
    return value


def _instant(value: Any) -> Any:
    if isinstance(value, str):
        if value[4:5] != "-":
            raise PydanticKnownError("datetime_parsing", {"error": "no year"})
        return _instant_of(value)
    return value


# The validators convert texts themselves, because Pydantic in strict mode refuses a text from a Python validator.
Day: TypeAlias = Annotated[date, BeforeValidator(_day)]
"""A day: `2022-03-14`."""

Instant: TypeAlias = Annotated[AwareDatetime, BeforeValidator(_instant)]
"""An instant with its offset: `2022-03-14T08:30:00+08:00`."""
