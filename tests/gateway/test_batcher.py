"""Batches: a lone request goes at once, the rest together, and nobody waits without end."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from services.gateway.batcher import Batcher, RunBatch, connector
from shared.problems import Unavailable
from tests.until import until

Sizes = list[int]


def slow_batcher(url: str, sizes: Sizes, go_on: asyncio.Event | None = None, **options: Any) -> Batcher[int, int]:
    """Doubles numbers, 50 ms a batch; no batch ends before it may."""

    async def prepare(connection: asyncpg.Connection) -> RunBatch[int, int]:
        async def run(items: Sequence[int]) -> Sequence[int | Exception]:
            sizes.append(len(items))
            await connection.fetchval("select pg_sleep(0.05)")
            if go_on is not None:
                await go_on.wait()
            return [item * 2 for item in items]

        return run

    return Batcher(connector(url), prepare, **options)


async def test_a_lone_request_goes_at_once_and_the_rest_go_together(door_url: str) -> None:
    sizes, go_on = Sizes(), asyncio.Event()
    batcher = slow_batcher(door_url, sizes, go_on, connections=1, largest_batch=40, timeout_seconds=60)
    await batcher.start()
    first = asyncio.create_task(batcher.ask(1))
    await until(lambda: sizes == [1])
    rest = [asyncio.create_task(batcher.ask(n)) for n in range(100)]
    await asyncio.sleep(0)
    go_on.set()
    assert await first == 2
    assert await asyncio.gather(*rest) == [2 * n for n in range(100)]
    assert sizes == [1, 40, 40, 20]
    await batcher.stop()


async def test_two_connections_work_side_by_side(door_url: str) -> None:
    sizes, go_on = Sizes(), asyncio.Event()
    batcher = slow_batcher(door_url, sizes, go_on, connections=2, timeout_seconds=60)
    await batcher.start()
    first = asyncio.create_task(batcher.ask(1))
    await until(lambda: sizes == [1])
    second = asyncio.create_task(batcher.ask(2))
    await until(lambda: sizes == [1, 1])
    third = asyncio.gather(batcher.ask(3), batcher.ask(4))
    await asyncio.sleep(0)
    go_on.set()
    assert (await first, await second, await third) == (2, 4, [6, 8])
    assert sizes == [1, 1, 2]
    await batcher.stop()


async def test_the_queue_is_bounded_and_says_when_to_come_again(door_url: str) -> None:
    batcher = slow_batcher(door_url, [], connections=1, longest_queue=10)
    await batcher.start()
    answers = await asyncio.gather(*map(batcher.ask, range(15)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Unavailable)]
    assert len(refused) == 5
    assert all(answer.wait for answer in refused)
    assert await batcher.ask(21) == 42
    await batcher.stop()


async def test_a_batch_that_hangs_is_given_up(door_url: str) -> None:
    batcher = slow_batcher(door_url, [], connections=1, timeout_seconds=0.03)
    await batcher.start()
    with pytest.raises(Unavailable):
        await batcher.ask(1)
    await batcher.stop()


async def test_stopping_answers_those_who_wait_and_lets_nobody_in(door_url: str) -> None:
    batcher = slow_batcher(door_url, [], connections=2, largest_batch=10)
    await batcher.start()
    waiting = [asyncio.create_task(batcher.ask(n)) for n in range(50)]
    await asyncio.sleep(0.01)
    await batcher.stop()
    assert [await task for task in waiting] == [2 * n for n in range(50)]
    with pytest.raises(Unavailable):
        await batcher.ask(1)


async def test_a_batch_with_too_few_answers_is_nobodys_answer(door_url: str) -> None:
    async def prepare(_: asyncpg.Connection) -> RunBatch[int, int]:
        async def run(items: Sequence[int]) -> Sequence[int | Exception]:
            return []

        return run

    batcher: Batcher[int, int] = Batcher(connector(door_url), prepare, connections=1)
    await batcher.start()
    answers = await asyncio.gather(*map(batcher.ask, range(3)), return_exceptions=True)
    assert all(isinstance(answer, AssertionError) for answer in answers)
    await batcher.stop()
