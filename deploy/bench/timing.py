"""Clocks and waiting, the same for all paths."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from deploy.trouble import Trouble


@dataclass(frozen=True)
class Effort:
    """Duration and repetitions of the measurement of a path."""

    rounds: int
    seconds: float
    """Of each round of a load."""
    warm_seconds: float
    growth: int
    """Codes in the large table."""
    changes: int
    """Single changes, for the feed's latency."""
    positives: int
    entries: int
    """Tube results, for the feed's rate."""
    deliveries: int


FULL = Effort(3, 5.0, 2.0, 1_000_000, 200, 50, 20_000, 3_000)
QUICK = Effort(2, 2.0, 1.0, 100_000, 50, 20, 4_000, 1_000)


async def until(done: Callable[[], Awaitable[bool]], *, seconds: float, every: float, what: str) -> float:
    """Wait until a condition is true. Returns the time of the first success, by the performance counter."""
    deadline = time.perf_counter() + seconds
    while True:
        if await done():
            return time.perf_counter()
        if time.perf_counter() > deadline:
            raise Trouble(f"Not reached after {seconds:.0f} s: {what}.")
        await asyncio.sleep(every)


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile; 0.5 is the median."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)
