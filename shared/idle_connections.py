"""Close the database connections that a burst has opened and that nobody has needed since.

A pool keeps what it has opened, and each session of PostgreSQL takes 2 to 3 MB. At the start all loops of a worker look
at once, so every process would hold its whole pool for ever: 70 sessions, a third of all memory at rest.
"""

from typing import Any, cast

from sqlalchemy import QueuePool, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class IdleConnections:
    """Watches one engine's pool, which hands out first what was used last (`pool_use_lifo`)."""

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
        """How many connections are open and idle now."""
        return self._open - self._pool.checkedout()

    async def close_unneeded(self) -> int:
        """Close what was idle all the time since the last call; how many that were."""
        needed = self.count - self._least
        self._least = self.count
        if needed >= self.count:
            return 0
        idle: list[AsyncConnection] = []
        try:
            while self.count:  # the last used come first; it never waits for one that is in use
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
