"""Fair scheduling of a scarce resource: waiting callers belong to groups, and the groups take turns.

A group with many callers delays only itself. The first caller of another group gets the next turn. If the queue is
full, the last caller of the longest group is refused to make room. `most` limits the memory.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from shared.problems import Unavailable

T = TypeVar("T")
Waiters = OrderedDict[str, deque["asyncio.Future[None]"]]


@dataclass
class Turns:
    """Runs `at_once` callers at a time. Preferred groups come before all others."""

    at_once: int
    most: int
    _running: int = 0
    _waiting: int = 0
    _preferred: Waiters = field(default_factory=OrderedDict)
    _others: Waiters = field(default_factory=OrderedDict)

    async def take(self, group: str, preferred: bool, run: Callable[[], Awaitable[T]]) -> T:
        """Call `run` when it is this caller's turn. Raises Unavailable if the queue is full."""
        if self._running >= self.at_once:
            await self._wait(group, self._preferred if preferred else self._others)
        else:
            self._running += 1
        try:
            return await run()
        finally:
            self._pass_on()

    async def _wait(self, group: str, waiters: Waiters) -> None:
        if self._waiting >= self.most:
            self._make_room(group, waiters)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters.setdefault(group, deque()).append(turn)
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on()  # cancelled in the moment of its turn: pass the turn to another caller
            else:
                self._leave(group, waiters, turn)
            raise

    def _make_room(self, group: str, waiters: Waiters) -> None:
        """Refuse the last caller of the longest group. Raises Unavailable if that is the caller's own group."""
        groups = self._others or (self._preferred if waiters is self._preferred else {})
        longest = max(groups, key=lambda name: len(groups[name]), default=group)
        length = len(groups.get(longest, ()))
        is_before_all = waiters is self._preferred and groups is self._others
        if not is_before_all and length <= len(waiters.get(group, ())) + 1:
            raise Unavailable()
        last = groups[longest].pop()
        if not groups[longest]:
            del groups[longest]
        self._waiting -= 1
        last.set_exception(Unavailable())

    def _pass_on(self) -> None:
        """Give the free turn to the first group, and move this group to the end."""
        for waiters in (self._preferred, self._others):
            while waiters:
                group, queue = waiters.popitem(last=False)
                turn = queue.popleft()
                if queue:
                    waiters[group] = queue
                self._waiting -= 1
                if not turn.done():
                    turn.set_result(None)
                    return
        self._running -= 1

    def _leave(self, group: str, waiters: Waiters, turn: "asyncio.Future[None]") -> None:
        queue = waiters.get(group)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self._waiting -= 1
            if not queue:
                del waiters[group]
