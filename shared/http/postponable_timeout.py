"""A timeout that is postponed on every request. Postponing only updates a deadline, so it needs no new loop timer."""

import asyncio
from collections.abc import Callable


class PostponableTimeout:
    """Calls a function at a deadline. A loop timer that fires before the postponed deadline is set again."""

    __slots__ = ("_at", "_goes_off", "_loop", "_ring", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring: Callable[[], None] | None = ring
        self._at: float | None = None
        self._goes_off = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def postpone(self, at: float | None) -> None:
        """Set the deadline in loop time. None removes it."""
        self._at = at
        if at is not None and (self._timer is None or at < self._goes_off):
            self._set(at)

    def close(self) -> None:
        """Cancel the timer and release the reference to the function."""
        self._at = self._ring = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._goes_off = at
        self._timer = self._loop.call_at(at, self._go_off)

    def _go_off(self) -> None:
        self._timer = None
        if self._at is None or self._ring is None:
            return
        if self._at > self._loop.time():
            self._set(self._at)
        else:
            self._at = None
            self._ring()
