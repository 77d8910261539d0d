"""Tests that name the day they run on: they do not begin where it would end under them."""

import time

DAY_SECONDS = 86_400
SHANGHAI_SECONDS = 8 * 3_600


def until_a_day_lasts(seconds: float) -> None:
    """Wait for midnight, in UTC or in Asia/Shanghai, if it is nearer than this. Months and years end with a day."""
    for ahead in (0, SHANGHAI_SECONDS):
        left = DAY_SECONDS - (time.time() + ahead) % DAY_SECONDS
        if left < seconds:
            time.sleep(left + 0.1)
