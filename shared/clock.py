"""The one notion of time: UTC instants, and days as Asia/Shanghai has them.

Rules never ask for the time; they are given `now`. Everything else asks `clock.now()`, which tests can move.
"""

import time
from datetime import UTC, datetime, timedelta

from shared.days import SHANGHAI, day_of, start_of

__all__ = ["SHANGHAI", "day_of", "move", "now", "seconds", "start_of"]

_shift = timedelta(0)


def now() -> datetime:
    """The present instant, in UTC."""
    return datetime.now(UTC) + _shift


def seconds() -> float:
    """The present instant in Unix seconds, for what is compared with such: a quarter of `now().timestamp()`."""
    return time.time() + _shift.total_seconds()


def move(by: timedelta) -> None:
    """Move this process's clock, for tests. `move(timedelta(0))` puts it right again."""
    global _shift
    _shift = by
