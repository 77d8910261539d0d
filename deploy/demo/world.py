"""The common state of all steps: the people, the plan, the expected results, the parties, and the checks."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from deploy.demo.expectation import Expectation
from deploy.demo.parties import Parties, Party
from deploy.demo.plan import Plan, PlannedTube
from deploy.demo.population import TOWNSHIP, Population
from deploy.demo.progress import Progression
from deploy.demo.table import Checks, stopwatch

LABORATORY = "lab-jinjiang"
DESK = "desk_120"
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.1

T = TypeVar("T")
U = TypeVar("U")


@dataclass
class World:
    """The state of the demo."""

    population: Population
    plan: Plan
    expectation: Expectation
    parties: Parties
    command: Party
    laboratory: Party
    checks: Checks
    progression: Progression
    seed: int
    residents: list[str] = field(default_factory=list)
    """Ids by index of the population, once they are known."""
    people: dict[int, Party] = field(default_factory=dict)
    """Those who look at their own codes, by index."""
    campaign_id: str = ""
    pool_id: str = ""
    singles: dict[int, str] = field(default_factory=dict)
    """Numbers of the retests' tubes, by person."""
    samplers: dict[str, Party] = field(default_factory=dict)
    numbers: dict[str, list[str]] = field(default_factory=dict)
    """Tube numbers by grid, once the rolls are given out."""

    @contextmanager
    def step(self, number: int, title: str) -> Iterator[None]:
        """One of the demo's steps, on the screen and in the table."""
        self.checks.step = str(number)
        with self.progression.step(number, title):
            yield

    async def colours(self) -> Counter[str]:
        """How many people have which colour now, as the command sees it."""
        return Counter(await self.command.get("/gateway/v1/codes/counts", region=TOWNSHIP))

    async def meet(self, indices: Iterable[int]) -> None:
        """Give some people their own phones: a token for each, which acts only for that person."""
        for index in sorted(indices):
            self.people[index] = await self.parties.resident(self.residents[index])

    async def sampler(self, community: str) -> Party:
        """A community's sampler."""
        if community not in self.samplers:
            self.samplers[community] = await self.parties.staff("sampler", community)
        return self.samplers[community]

    def number(self, tube: PlannedTube) -> str:
        """What is written on a tube."""
        return self.numbers[tube.grid][tube.place]

    def ids(self, indices: Iterable[int]) -> list[str]:
        """The ids of some people."""
        return [self.residents[index] for index in indices]

    async def await_value(self, what: str, expected: T, ask: Callable[[], Awaitable[T]]) -> bool:
        """Check that an answer becomes what is expected, and note how long that took."""
        with stopwatch() as lap:
            got = await until(ask, lambda answer: answer == expected)
        return self.checks.equal(what, expected, got, lap.seconds)

    async def await_states(
        self, what: str, expected: Mapping[str, Any], ask: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> bool:
        """The same for many of a kind, by name."""
        with stopwatch() as lap:
            got = await until(ask, lambda answer: answer == expected)
        return self.checks.each(what, expected, got, lap.seconds)


async def until(
    ask: Callable[[], Awaitable[T]],
    wanted: Callable[[T], bool],
    patience: float = PATIENCE_SECONDS,
    every: float = POLL_SECONDS,
) -> T:
    """Repeat a request until it returns the wanted answer. Returns the last answer after the timeout."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while True:
        answer = await ask()
        if wanted(answer) or loop.time() > deadline:
            return answer
        await asyncio.sleep(every)


async def at_once(do: Callable[[T], Awaitable[U]], things: Iterable[T], most: int) -> list[U]:
    """Run the same coroutine for many things, with limited concurrency."""
    gate = asyncio.Semaphore(most)

    async def one(thing: T) -> U:
        async with gate:
            return await do(thing)

    return await asyncio.gather(*map(one, things))
