"""Fair turns: a flood waits behind itself, and who is preferred waits behind nobody else."""

import asyncio

import pytest

from services.gateway.accounts.turns import Turns
from shared.problems import Unavailable


class Load:
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
    load = Load(Turns(1, 64))
    tasks = [load.ask("flood") for _ in range(20)]
    await settled()
    tasks += [load.ask("honest"), load.ask("other")]
    for _ in tasks:
        load.gate.release()
        await settled()
    await asyncio.gather(*tasks)
    assert load.begun[:4] == ["flood", "flood", "honest", "other"]
    assert load.begun.count("flood") == 20


async def test_who_is_preferred_comes_first() -> None:
    load = Load(Turns(1, 64))
    tasks = [load.ask(f"stranger-{n}") for n in range(20)]
    await settled()
    tasks.append(load.ask("known", preferred=True))
    for _ in tasks:
        load.gate.release()
        await settled()
    await asyncio.gather(*tasks)
    assert load.begun[1] == "known"


async def test_in_a_full_queue_the_longest_group_gives_up_a_place() -> None:
    load = Load(Turns(1, 4))
    flood = [load.ask("flood") for _ in range(5)]
    await settled()
    with pytest.raises(Unavailable):
        await load.ask("flood")
    honest = load.ask("honest")
    await settled()
    assert isinstance(flood[4].exception(), Unavailable)
    for _ in range(5):
        load.gate.release()
        await settled()
    await asyncio.gather(honest, *flood[:4])
    assert load.begun == ["flood", "flood", "honest", "flood", "flood"]
    assert load.turns._waiting == load.turns._running == 0


async def test_thousands_of_groups_leave_nothing_behind() -> None:
    load = Load(Turns(2, 16))
    tasks = [load.ask(f"address-{n}") for n in range(2_000)]
    await settled()
    assert sum(len(queue) for queue in load.turns._others.values()) == 16
    for _ in range(18):
        load.gate.release()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(answer, Unavailable) for answer in answers) == 2_000 - 18
    assert (len(load.turns._others), load.turns._waiting, load.turns._running) == (0, 0, 0)


async def test_who_goes_away_while_waiting_holds_up_nobody() -> None:
    load = Load(Turns(1, 4))
    first, gone, last = load.ask("a"), load.ask("b"), load.ask("c")
    await settled()
    gone.cancel()
    await settled()
    load.gate.release()
    load.gate.release()
    await asyncio.gather(first, last)
    assert load.begun == ["a", "c"]
    assert (load.turns._waiting, load.turns._running) == (0, 0)
