"""The one notion of time: UTC instants, and days as Asia/Shanghai has them.

Rules never ask for the time; they are given `now`. Everything else asks `clock.now()`, which tests can move.
"""

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")

_shift = timedelta(0)


def now() -> datetime:
    """The present instant, in UTC."""
    return datetime.now(UTC) + _shift


def seconds() -> float:
    """The present instant in Unix seconds, for what is compared with such: a quarter of `now().timestamp()`."""
    return time.time() + _shift.total_seconds()


def day_of(instant: datetime) -> date:
    """The calendar day an instant falls on where the district lives. Needs an aware datetime."""
    if instant.tzinfo is None:
        raise ValueError("an instant without a time zone has no day")
    return instant.astimezone(SHANGHAI).date()


def start_of(day: date) -> datetime:
    """The first instant of a day in Asia/Shanghai, as UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=SHANGHAI).astimezone(UTC)


def move(by: timedelta) -> None:
    """Move this process's clock, for tests. `move(timedelta(0))` puts it right again."""
    global _shift
    _shift = by
