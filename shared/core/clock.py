"""The clock of the system: UTC instants, and days in Asia/Shanghai.

Rules never read the clock; they receive `now`. All other code calls `clock.now()`, which tests can move.
"""

import time
from datetime import UTC, datetime, timedelta

from shared.core.days import SHANGHAI, day_of, start_of

__all__ = ["SHANGHAI", "day_of", "move", "now", "seconds", "start_of"]

_shift = timedelta(0)


def now() -> datetime:
    """Return the current instant, in UTC."""
    return datetime.now(UTC) + _shift


def seconds() -> float:
    """Return the current instant in Unix seconds. It takes a quarter of the time of `now().timestamp()`."""
    return time.time() + _shift.total_seconds()


def move(by: timedelta) -> None:
    """Move this process's clock, for tests. `move(timedelta(0))` resets it."""
    global _shift
    _shift = by
