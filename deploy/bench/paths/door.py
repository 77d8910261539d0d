"""Paths 1, 2 and 8: verify a code, show one's own code, and both with a larger table of codes.

Loads and the floor take turns, round by round, so that other work on the machine affects both. The median of the rounds
counts. Only the API of the gateway uses the server's core.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle

import asyncpg

from deploy.bench import backdrop, floors
from deploy.bench.cores import Busy, Meter
from deploy.bench.generator import Load, load
from deploy.bench.needs import Operations
from deploy.bench.page import Aim, Figure, milliseconds, per_second
from deploy.bench.site import Site
from deploy.bench.timing import Effort, median
from deploy.bench.window import NEEDS, Window, current_code_requests, open_window
from deploy.demo.parties import Party

CONNECTIONS = 64
PEOPLE = 10_000
AT_THE_DOOR = 2_048
"""How many different people come, spread over the whole table."""
TELEPHONES = 512
SERVING = "serving"

VERIFY_AIM = Aim("at least", 2.0)
TAIL_AIM = Aim("at most", 10)
CODE_AIM = Aim("at least", 1.5)
GROWTH_AIM = Aim("at most", 1.1)


@dataclass
class Rounds:
    """All loads of one kind."""

    loads: list[Load] = field(default_factory=list)
    busy: list[Busy] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second, the median of the rounds."""
        return median([one.rate for one in self.loads])

    def percentile(self, share: float) -> float:
        """A latency in seconds, the median of the rounds."""
        return median([one.percentile(share) for one in self.loads])

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of the serving process per answer; other work on the machine hardly changes it."""
        return sum(one.seconds[SERVING] for one in self.busy) / sum(one.count for one in self.loads)

    @property
    def cost(self) -> str:
        """`142 µs of its process and cores busy: …`."""
        last = self.busy[-1]
        return (
            f"{self.cpu_seconds * 1e6:.0f} µs of CPU an answer; cores busy: {last.server:.0%}, other {last.other:.0%}"
        )

    @property
    def latencies(self) -> str:
        """`p50 9.1 ms, p99 14.0 ms`."""
        return f"p50 {milliseconds(self.percentile(0.5))}, p99 {milliseconds(self.percentile(0.99))}"

    def numbers(self, name: str) -> dict[str, float]:
        """For the JSON."""
        return {
            f"{name}_per_second": self.rate,
            f"{name}_p50_seconds": self.percentile(0.5),
            f"{name}_p99_seconds": self.percentile(0.99),
            f"{name}_cpu_seconds": self.cpu_seconds,
            f"{name}_answers": sum(one.count for one in self.loads),
        }


@dataclass(frozen=True)
class Contender:
    """A target of the load: its address, its requests, and its expected answer."""

    name: str
    port: int
    pid: int
    requests: Callable[[], Iterable[bytes]]
    status: int = 200


class Contest:
    """Loads contenders in turns."""

    def __init__(self, site: Site, effort: Effort, connections: int = CONNECTIONS) -> None:
        self.site, self.effort, self.connections = site, effort, connections

    async def run(self, *contenders: Contender) -> dict[str, Rounds]:
        """Warm each up, then measure each in every round."""
        for one in contenders:
            (await self._load(one, self.effort.warm_seconds)).require(one.status)
        results = {one.name: Rounds() for one in contenders}
        for _ in range(self.effort.rounds):
            for one in contenders:
                meter = Meter(self.site.cores, {SERVING: one.pid})
                done = await self._load(one, self.effort.seconds)
                results[one.name].loads.append(done.require(one.status))
                results[one.name].busy.append(meter.busy())
        return results

    async def _load(self, one: Contender, seconds: float) -> Load:
        return await load(one.port, one.requests(), connections=self.connections, seconds=seconds)


class Scanning:
    """The contender that verifies codes, and the proof that its visits are on disk."""

    def __init__(self, site: Site, window: Window, database: asyncpg.Connection) -> None:
        self.site, self.window, self.database = site, window, database

    def contender(self, people: int) -> Contender:
        """People of the whole table come to the door."""
        chosen = backdrop.spread(people, AT_THE_DOOR)

        def requests() -> Iterable[bytes]:
            return self.window.scans(self.window.codes_of(chosen))

        return Contender("verify", self.site.port("gateway"), self.site.pids["gateway"], requests, 201)

    async def visits(self) -> int:
        """Visits on disk."""
        return int(await self.database.fetchval("SELECT count(*) FROM gateway.visits"))


async def measure(
    site: Site, operations: Operations, database: asyncpg.Connection, command: Party, effort: Effort
) -> list[Figure]:
    """Verify, own code, and verify again with many more codes; with the generator's own ceiling."""
    operations.require(*NEEDS, "GET /gateway/v1/code")
    site.pin({"gateway"})
    await backdrop.add_codes(database, 1, PEOPLE)
    window = await open_window(site, command)
    scanning = Scanning(site, window, database)
    looks = current_code_requests(site, backdrop.spread(PEOPLE, TELEPHONES))
    with ExitStack() as stack:
        hello, empty = (stack.enter_context(floors.serving(name, site.cores)) for name in ("hello", "empty"))
        floor = Contender("hello", hello.port, hello.pid, lambda: cycle([floors.REQUEST]))
        contest = Contest(site, effort)
        results = await contest.run(
            floor,
            scanning.contender(PEOPLE),
            Contender("code", site.port("gateway"), site.pids["gateway"], lambda: cycle(looks)),
            Contender("empty", empty.port, empty.pid, lambda: cycle([floors.REQUEST])),
        )
        await backdrop.add_codes(database, PEOPLE + 1, effort.growth)
        grown = await contest.run(floor, scanning.contender(effort.growth))
    await _check_visits(scanning, [*results["verify"].loads, *grown["verify"].loads])
    return [*_at_the_door(results), _current_code(results), _growth(results, grown, effort.growth), _ceiling(results)]


async def _check_visits(scanning: Scanning, loads: Sequence[Load]) -> None:
    """Every answer has its visit; there are more, from warming up."""
    answered, visits = sum(one.count for one in loads), await scanning.visits()
    if visits < answered:
        raise ValueError(f"{answered} scans were answered and {visits} visits are on disk")


def _at_the_door(results: dict[str, Rounds]) -> list[Figure]:
    verify, hello = results["verify"], results["hello"]
    tail = verify.percentile(0.99) / verify.percentile(0.5)
    return [
        Figure(
            "verify",
            f"verify a code, visit on disk, {CONNECTIONS} at once",
            f"{per_second(verify.rate)}, {verify.latencies}",
            f"FastAPI hello {per_second(hello.rate)}, {hello.latencies}",
            verify.rate / hello.rate,
            VERIFY_AIM,
            [
                f"{AT_THE_DOOR:,} people of {PEOPLE:,} (codes written by SQL); {verify.cost}",
                f"FastAPI hello: {hello.cost}; by CPU × {hello.cpu_seconds / verify.cpu_seconds:.2f}",
            ],
            {**verify.numbers("verify"), **hello.numbers("hello")},
        ),
        Figure(
            "verify",
            "its last 1 % against its median",
            milliseconds(verify.percentile(0.99)),
            f"median {milliseconds(verify.percentile(0.5))}",
            tail,
            TAIL_AIM,
            numbers={"p99_over_p50": tail},
        ),
    ]


def _current_code(results: dict[str, Rounds]) -> Figure:
    code, hello = results["code"], results["hello"]
    return Figure(
        "code",
        f"show my code, {CONNECTIONS} at once",
        f"{per_second(code.rate)}, {code.latencies}",
        f"FastAPI hello {per_second(hello.rate)}",
        code.rate / hello.rate,
        CODE_AIM,
        [f"{TELEPHONES} telephones; {code.cost}; by CPU × {hello.cpu_seconds / code.cpu_seconds:.2f}"],
        code.numbers("code"),
    )


def _growth(before: dict[str, Rounds], after: dict[str, Rounds], people: int) -> Figure:
    small, large = before["verify"].rate, after["verify"].rate
    hello = (before["hello"].rate, after["hello"].rate)
    return Figure(
        "growth",
        f"cost of verifying with {people:,} codes",
        f"{per_second(large)}, {after['verify'].latencies}",
        f"with {PEOPLE:,}: {per_second(small)}",
        small / large,
        GROWTH_AIM,
        [
            f"{after['verify'].cost}; by CPU × {after['verify'].cpu_seconds / before['verify'].cpu_seconds:.2f}",
            f"FastAPI hello meanwhile {per_second(hello[0])} and {per_second(hello[1])}: the machine's own drift",
        ],
        {**after["verify"].numbers("verify_large"), "codes": people, "hello_after_per_second": hello[1]},
    )


def _ceiling(results: dict[str, Rounds]) -> Figure:
    empty, verify = results["empty"], results["verify"]
    return Figure(
        "generator",
        "the generator against an empty ASGI application",
        f"{per_second(empty.rate)}, {empty.latencies}",
        f"verify {per_second(verify.rate)}",
        empty.rate / verify.rate,
        notes=[empty.cost],
        numbers=empty.numbers("empty"),
    )
