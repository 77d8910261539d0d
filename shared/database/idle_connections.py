"""Close database connections that a burst has opened and that are no longer needed.

A pool keeps the connections that it has opened, and each PostgreSQL session takes 2 to 3 MB. At the start all loops of
a worker run at once, so every process would keep its whole pool open for ever: 70 sessions, a third of all idle memory.
"""

from typing import Any, cast

from sqlalchemy import QueuePool, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class IdleConnections:
    """Counts the idle connections of one engine's pool. The pool must use `pool_use_lifo`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._pool = cast("QueuePool", engine.sync_engine.pool)
        self._open = 0
        self._least = 0
        event.listen(self._pool, "connect", self._opened)
        event.listen(self._pool, "close", self._closed)
        event.listen(self._pool, "checkout", self._taken)

    @property
    def count(self) -> int:
        """The number of open connections that are idle now."""
        return self._open - self._pool.checkedout()

    async def close_unneeded(self) -> int:
        """Close the connections that were idle since the last call. Return their number."""
        needed = self.count - self._least
        self._least = self.count
        if needed >= self.count:
            return 0
        idle: list[AsyncConnection] = []
        try:
            while self.count:  # most recently used first; it never waits for a connection that is in use
                idle.append(await self._engine.connect())
            for connection in idle[needed:]:
                await connection.invalidate()
        finally:
            for connection in reversed(idle):
                await connection.close()
        self._least = self.count
        return len(idle[needed:])

    def _opened(self, *_: Any) -> None:
        self._open += 1

    def _closed(self, *_: Any) -> None:
        self._open -= 1

    def _taken(self, *_: Any) -> None:
        self._least = min(self._least, self.count)
