"""Fair turns: a flood waits behind itself, and who is preferred waits behind nobody else."""

import asyncio

import pytest

from services.gateway.accounts.turns import Turns
from shared.problems import Unavailable


class Work:
    """What is done in turns: it stops until it is let go on."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.begun: list[str] = []
        self.gate = asyncio.Semaphore(0)

    def ask(self, group: str, preferred: bool = False) -> "asyncio.Task[None]":
        async def run() -> None:
            self.begun.append(group)
            await self.gate.acquire()

        return asyncio.create_task(self.turns.take(group, preferred, run))


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_groups_take_turns_however_many_one_of_them_sends() -> None:
    work = Work(Turns(1, 64))
    tasks = [work.ask("flood") for _ in range(20)]
    await settled()
    tasks += [work.ask("honest"), work.ask("other")]
    for _ in tasks:
        work.gate.release()
        await settled()
    await asyncio.gather(*tasks)
    assert work.begun[:4] == ["flood", "flood", "honest", "other"]
    assert work.begun.count("flood") == 20


async def test_who_is_preferred_comes_first() -> None:
    work = Work(Turns(1, 64))
    tasks = [work.ask(f"stranger-{n}") for n in range(20)]
    await settled()
    tasks.append(work.ask("known", preferred=True))
    for _ in tasks:
        work.gate.release()
        await settled()
    await asyncio.gather(*tasks)
    assert work.begun[1] == "known"


async def test_in_a_full_queue_the_longest_group_gives_up_a_place() -> None:
    work = Work(Turns(1, 4))
    flood = [work.ask("flood") for _ in range(5)]
    await settled()
    with pytest.raises(Unavailable):
        await work.ask("flood")
    honest = work.ask("honest")
    await settled()
    assert isinstance(flood[4].exception(), Unavailable)
    for _ in range(5):
        work.gate.release()
        await settled()
    await asyncio.gather(honest, *flood[:4])
    assert work.begun == ["flood", "flood", "honest", "flood", "flood"]
    assert work.turns._waiting == work.turns._running == 0


async def test_thousands_of_groups_leave_nothing_behind() -> None:
    work = Work(Turns(2, 16))
    tasks = [work.ask(f"address-{n}") for n in range(2_000)]
    await settled()
    assert sum(len(queue) for queue in work.turns._others.values()) == 16
    for _ in range(18):
        work.gate.release()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(answer, Unavailable) for answer in answers) == 2_000 - 18
    assert (len(work.turns._others), work.turns._waiting, work.turns._running) == (0, 0, 0)


async def test_who_goes_away_while_waiting_holds_up_nobody() -> None:
    work = Work(Turns(1, 4))
    first, gone, last = work.ask("a"), work.ask("b"), work.ask("c")
    await settled()
    gone.cancel()
    await settled()
    work.gate.release()
    work.gate.release()
    await asyncio.gather(first, last)
    assert work.begun == ["a", "c"]
    assert (work.turns._waiting, work.turns._running) == (0, 0)
