"""Fair turns at something scarce: callers of many groups wait, and the groups take turns.

One group that sends a flood waits behind itself. A newcomer of another group gets the turn after the one under way,
also when the queue is full: then the last of the longest group gives up its place. Memory is bounded by `most`.
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
    """Lets `at_once` callers through at a time. Groups that are `preferred` come before all others."""

    at_once: int
    most: int
    _running: int = 0
    _waiting: int = 0
    _preferred: Waiters = field(default_factory=OrderedDict)
    _others: Waiters = field(default_factory=OrderedDict)

    async def take(self, group: str, preferred: bool, run: Callable[[], Awaitable[T]]) -> T:
        """Run something when it is this caller's turn. Raises Unavailable if there is no place to wait."""
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
                self._pass_on()  # the turn came in the same instant: somebody else takes it
            else:
                self._leave(group, waiters, turn)
            raise

    def _make_room(self, group: str, waiters: Waiters) -> None:
        """Take the place of the last of the longest group of others. Raises Unavailable if that is the caller's own."""
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
        """Give the turn that has ended to the next group, and put that group at the end."""
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
