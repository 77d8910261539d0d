"""Path 9: the cost of the audit for a read and a write, compared with the same service without it; none at the door."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle
from uuid import UUID

import asyncpg
import msgspec

from deploy.bench import backdrop
from deploy.bench.generator import request
from deploy.bench.needs import Operations
from deploy.bench.page import Aim, Figure, per_second
from deploy.bench.paths.door import PEOPLE, TELEPHONES, Contender, Contest, Rounds
from deploy.bench.site import TOKEN_SECONDS, Site
from deploy.bench.timing import Effort
from deploy.bench.untraced import untraced
from deploy.bench.window import NEEDS, POINTS, open_window
from deploy.demo.parties import Party
from deploy.demo.population import TOWNSHIP
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.core.regions import range_of

AT_ONCE = 8
"""Concurrent callers. The edge refuses more than it can serve well."""

AIM = Aim("at least", 0.85)
NONE = Aim("at most", 0, "entries")
CODES = "/gateway/v1/codes"
ENTRIES = "SELECT count(*) FROM gateway.audit WHERE kind <> 'visits'"
"""Entries of requests only. Entries of kind visits come from the sealer in the worker, not from the door."""
VISITS = "SELECT count(*) FROM gateway.visits"


async def measure(
    site: Site, operations: Operations, database: asyncpg.Connection, command: Party, effort: Effort
) -> list[Figure]:
    """Measure a look at a code and the opening of a service point, each with and without its entry, in turns."""
    operations.require(*NEEDS, f"GET {CODES}/{{resident_id}}", f"POST {POINTS}")
    site.pin({"gateway"})
    if not await database.fetchval("SELECT EXISTS (SELECT FROM gateway.codes)"):
        await backdrop.add_codes(database, 1, PEOPLE)
    window = await open_window(site, command)
    figures = []
    with untraced(site) as floor:
        contest = Contest(site, effort, connections=AT_ONCE)
        for what, status, requests in (("look", 200, _looks(site)), ("write", 201, _openings(site))):
            before = await database.fetchval(ENTRIES)
            results = await contest.run(
                Contender(what, site.port("gateway"), site.pids["gateway"], requests, status),
                Contender("untraced", floor.port, floor.pid, requests, status),
            )
            left = await database.fetchval(ENTRIES) - before
            figures.append(_figure(what, results[what], results["untraced"], left))
        figures.append(await _door(contest, site, database, lambda: window.scans(window.codes_of(_people()))))
    return figures


def _people() -> Sequence[UUID]:
    return backdrop.spread(PEOPLE, TELEPHONES)


def _looks(site: Site) -> Callable[[], Iterable[bytes]]:
    headers = _headers(site)
    asked = [request("GET", f"{CODES}/{person}", headers) for person in _people()]
    return lambda: cycle(asked)


def _openings(site: Site) -> Callable[[], Iterable[bytes]]:
    headers = _headers(site)
    body = msgspec.json.encode({"name": "便民服务中心", "region": TOWNSHIP})

    def requests() -> Iterator[bytes]:
        while True:
            yield request("POST", POINTS, {**headers, "idempotency-key": str(new_id())}, body)

    return requests


def _headers(site: Site) -> dict[str, str]:
    actor = Actor("bench:command", Role.COMMAND, range=range_of(TOWNSHIP))
    return {"authorization": f"Bearer {site.issuer.issue(actor, TOWNSHIP, TOKEN_SECONDS)}"}


def _figure(what: str, traced: Rounds, bare: Rounds, left: int) -> Figure:
    answered = sum(one.count for one in traced.loads)
    if left < answered:
        raise ValueError(f"{answered} acts were answered and left {left} entries")
    return Figure(
        "audit",
        f"a {what} that leaves an entry",
        f"{per_second(traced.rate)}, {traced.latencies}",
        f"without one {per_second(bare.rate)}",
        traced.rate / bare.rate,
        AIM,
        [f"{what}: by CPU × {bare.cpu_seconds / traced.cpu_seconds:.2f}; {traced.cost}"],
        {**traced.numbers(what), **bare.numbers(f"{what}_untraced"), f"{what}_entries": left},
    )


async def _door(
    contest: Contest, site: Site, database: asyncpg.Connection, scans: Callable[[], Iterable[bytes]]
) -> Figure:
    """Check that the door writes no other entry, because a visit is the entry of its verification."""
    before = await database.fetchval(ENTRIES), await database.fetchval(VISITS)
    door = Contender("verify", site.port("gateway"), site.pids["gateway"], scans, 201)
    await contest.run(door)
    left = await database.fetchval(ENTRIES) - before[0]
    visits = await database.fetchval(VISITS) - before[1]
    return Figure(
        "audit",
        "a verification at the door",
        f"{left} entries",
        f"{visits:,} visits",
        left,
        NONE,
        numbers={"door_entries": left, "door_visits": visits},
    )
