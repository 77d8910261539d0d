"""Runs concurrent requests as one batch in the database. Without timer: a single request runs at once.

Requests that arrive while a connection is busy form its next batch. So batches grow with the load, and one statement
and one commit serve many requests. Each request is answered only after the commit is on disk.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Self, TypeAlias, TypeVar

import asyncpg
import structlog

from shared.problems import Unavailable

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

RunBatch: TypeAlias = Callable[[Sequence[Asked]], Awaitable[Sequence[Answered | Exception]]]
"""Runs a batch and returns the answers in its order. An exception in the list fails only the item at its position."""
Prepare: TypeAlias = Callable[[asyncpg.Connection], Awaitable[RunBatch[Asked, Answered]]]
"""Prepares a new connection and returns the function that runs batches on it."""
Connect: TypeAlias = Callable[[], Awaitable[asyncpg.Connection]]

LARGEST_BATCH = 256

LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.ReadOnlySQLTransactionError,
    asyncpg.exceptions.InvalidCachedStatementError,
)
"""Errors after which the connection is replaced. All others are caused by the data."""
TRANSIENT = (asyncpg.exceptions.TransactionRollbackError,)

CONNECTION_SETTINGS = {
    "application_name": "gateway door",
    "synchronous_commit": "on",
    "jit": "off",
    # All statements look up rows by key. A plan made while the tables were small would read a million codes for each
    # batch until the next ANALYZE.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0

log = structlog.get_logger()


class Batcher(Generic[Asked, Answered]):
    """Answers requests in batches over its own connections.

    It has a bounded queue, and one task for each connection from `start` to `stop`.
    """

    def __init__(
        self,
        connect: Connect,
        prepare: Prepare[Asked, Answered],
        *,
        connections: int = 2,
        largest_batch: int = LARGEST_BATCH,
        longest_queue: int = 2_048,
        timeout_seconds: float = 5,
    ) -> None:
        self._connect = connect
        self._prepare = prepare
        self._connections = connections
        self._largest_batch = largest_batch
        self._longest_queue = longest_queue
        self._timeout_seconds = timeout_seconds
        self._waiting: deque[tuple[Asked, asyncio.Future[Answered]]] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._serving: set[asyncio.Task[None] | None] = set()
        self._open = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def ready(self) -> bool:
        """Whether at least one connection is up."""
        return self._open and bool(self._serving)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start to connect. Returns after the first attempts, even if the database is not available."""
        self._open = True
        self._loop = loop = asyncio.get_running_loop()
        tried = [loop.create_future() for _ in range(self._connections)]
        self._tasks = [asyncio.create_task(self._keep_serving(first)) for first in tried]
        await asyncio.gather(*tried)

    async def stop(self) -> None:
        """Answer the waiting requests, then close. New requests are refused."""
        self._open = False
        for idle in self._idle:
            _settle(idle, None)
        for task in set(self._tasks) - self._serving:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._refuse_waiting()

    async def ask(self, item: Asked) -> Answered:
        """Return the answer to one request after its batch has committed. Raises Unavailable or the item's error."""
        loop = self._loop
        if loop is None or not self.ready or len(self._waiting) >= self._longest_queue:
            raise Unavailable()
        future: asyncio.Future[Answered] = loop.create_future()
        self._waiting.append((item, future))
        if self._idle:
            _settle(self._idle.pop(), None)
        return await future

    async def _keep_serving(self, tried: "asyncio.Future[None]") -> None:
        """Keep one connection, and reconnect with growing pauses when it is lost."""
        pause = FIRST_PAUSE_SECONDS
        while self._open:
            try:
                connection = await asyncio.wait_for(self._connect(), self._timeout_seconds)
            except (*LOST, asyncpg.PostgresError) as error:
                log.warning("batcher_cannot_connect", error=type(error).__name__)
            else:
                pause = FIRST_PAUSE_SECONDS if await self._serve(connection, tried) else pause
            _settle(tried, None)
            if self._open:
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - only spreads reconnections
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _serve(self, connection: asyncpg.Connection, tried: "asyncio.Future[None]") -> bool:
        """Answer batches over one connection until it is lost or stopped. Returns whether it ever worked."""
        try:
            run = await asyncio.wait_for(self._ready(connection), self._timeout_seconds)
        except (*LOST, asyncpg.PostgresError) as error:
            log.warning("batcher_cannot_prepare", error=type(error).__name__)
            connection.terminate()
            return False
        task = asyncio.current_task()
        self._serving.add(task)
        _settle(tried, None)
        try:
            while batch := await self._next_batch(connection):
                await self._answer(run, batch)
            await connection.close()
        except LOST as error:
            log.warning("batcher_lost_connection", error=type(error).__name__)
        finally:
            connection.terminate()
            self._serving.discard(task)
            if not self._serving:
                self._refuse_waiting()
        return True

    async def _ready(self, connection: asyncpg.Connection) -> RunBatch[Asked, Answered]:
        run = await self._prepare(connection)
        # Preparing leaves an implicit transaction open until the next statement, and transaction_timeout would end it.
        await connection.execute("SELECT 1")
        return run

    async def _next_batch(self, connection: asyncpg.Connection) -> list[tuple[Asked, "asyncio.Future[Answered]"]]:
        """Wait for requests and return up to one batch of them. Empty when stopping."""
        while True:
            while self._waiting:
                count = min(len(self._waiting), self._largest_batch)
                taken = (self._waiting.popleft() for _ in range(count))
                batch = [(item, future) for item, future in taken if not future.done()]
                if batch:
                    return batch
            if not self._open:
                return []
            if connection.is_closed():
                raise ConnectionResetError
            await self._wait(connection)

    async def _wait(self, connection: asyncpg.Connection) -> None:
        """Sleep until a request arrives or the connection is lost."""
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def gone(_: object) -> None:
            _settle(wake, None)

        connection.add_termination_listener(gone)
        self._idle.append(wake)
        try:
            await wake
        finally:
            connection.remove_termination_listener(gone)
            if wake in self._idle:
                self._idle.remove(wake)

    async def _answer(
        self, run: RunBatch[Asked, Answered], batch: list[tuple[Asked, "asyncio.Future[Answered]"]]
    ) -> None:
        """Run one batch. If the data cause an error, split the batch in halves until the faulty item is alone."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answers = await run([item for item, _ in batch])
            if len(answers) != len(batch):
                raise AssertionError("a batch must have one answer for each item")
        except LOST as error:
            for _, future in batch:
                _fail(future, Unavailable())
            raise ConnectionResetError from error
        except Exception as error:
            await self._answer_apart(run, batch, error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                _fail(future, answer)
            else:
                _settle(future, answer)

    async def _answer_apart(
        self, run: RunBatch[Asked, Answered], batch: list[tuple[Asked, "asyncio.Future[Answered]"]], error: Exception
    ) -> None:
        if len(batch) == 1:
            _fail(batch[0][1], Unavailable() if isinstance(error, TRANSIENT) else error)
            return
        middle = len(batch) // 2
        try:
            await self._answer(run, batch[:middle])
        finally:
            await self._answer(run, batch[middle:])

    def _refuse_waiting(self) -> None:
        while self._waiting:
            _fail(self._waiting.popleft()[1], Unavailable())


def connector(dsn: str, **settings: str) -> Connect:
    """Return a function that connects, with settings that force plans by index."""

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(dsn, server_settings=CONNECTION_SETTINGS | settings, command_timeout=None)

    return connect


Result = TypeVar("Result")


def _settle(future: "asyncio.Future[Result]", result: Result) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Result]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
