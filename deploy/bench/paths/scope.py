"""Path 11: the cost of scope: rows selected by row-level security, compared with a plain condition."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from deploy.bench.page import Aim, Figure, milliseconds
from deploy.bench.timing import Effort, median
from shared.core.regions import range_of
from shared.core.settings import Service
from shared.database.engine import group_of

AIM = Aim("at most", 1.2)
COMMUNITIES = 100
TOWNSHIP = "350581001"
SCOPE = f"{TOWNSHIP}042"
ROUNDS = 15

# One township of another county, so that what other paths have added is not among them; a hundredth in each community,
# mixed as an import in any order would leave them.
ADD = {
    "gateway.codes": """
        INSERT INTO gateway.codes (resident_id, region, colour, policy, last_negative)
        SELECT gen_random_uuid(), $2 || lpad((number % $3)::text, 3, '0') || '0101', 1, 1, now()
        FROM generate_series(1, $1::bigint) AS number
    """,
    "observation.orders": """
        INSERT INTO observation.orders (
            id, region, resident_id, kind, state, protocol, evidence_type, evidence_id, day_0, opened_at, ends_at
        )
        SELECT gen_random_uuid(), $2 || lpad((number % $3)::text, 3, '0') || '0101', gen_random_uuid(), 'home', 'open',
            1, 'testing.tube.v1', gen_random_uuid(), current_date, now(), now() + interval '14 days'
        FROM generate_series(1, $1::bigint) AS number
    """,
}
ENTER = """
    SELECT set_config('role', $1, true), set_config('scope.low', $2, true), set_config('scope.high', $3, true)
"""
LOW, HIGH = range_of(SCOPE)
PLAIN = f"WHERE region >= '{LOW}' AND region < '{HIGH}'"


@dataclass(frozen=True)
class Contest:
    """One question, asked under scope and without."""

    what: str
    service: Service
    scoped: str
    plain: str


COUNT = "SELECT colour, count(*) FROM gateway.codes {} GROUP BY colour"
LIST = "SELECT resident_id, region, colour, until FROM gateway.codes {}"
PAGE = "SELECT * FROM observation.orders {} ORDER BY region, seq LIMIT 51"
CONTESTS = (
    Contest("count under a community", "gateway", COUNT.format(""), COUNT.format(PLAIN)),
    Contest("list a community", "gateway", LIST.format(""), LIST.format(PLAIN)),
    Contest("a page of a community", "observation", PAGE.format(""), PAGE.format(PLAIN)),
    Contest("a page of a community, against one of all", "observation", PAGE.format(""), PAGE.format("")),
)


async def measure(database: asyncpg.Connection, effort: Effort) -> list[Figure]:
    """Each question in turns, as staff within a scope and as the owner, who sees all."""
    for table, add in ADD.items():
        await database.execute(add, effort.growth, TOWNSHIP, COMMUNITIES)
        await database.execute(f"VACUUM ANALYZE {table}")
    return [await _measured(database, contest, effort.growth) for contest in CONTESTS]


async def _measured(database: asyncpg.Connection, contest: Contest, rows: int) -> Figure:
    scoped, plain = [], []
    for _ in range(ROUNDS):
        async with _as_staff(database, contest.service):
            scoped.append(await _seconds(database, contest.scoped))
        async with database.transaction():
            plain.append(await _seconds(database, contest.plain))
    async with _as_staff(database, contest.service):
        nodes = await plan_of(database, contest.scoped)
    ours, theirs = median(scoped), median(plain)
    return Figure(
        "scope",
        contest.what,
        milliseconds(ours),
        f"without scope {milliseconds(theirs)}",
        ours / theirs,
        AIM,
        [f"{contest.what}, of {rows:,} rows: {' < '.join(nodes)}"],
        {f"{contest.what} scoped": ours, f"{contest.what} plain": theirs},
    )


@asynccontextmanager
async def _as_staff(database: asyncpg.Connection, service: Service) -> AsyncIterator[None]:
    """One transaction within the scope, entered as the service enters it."""
    async with database.transaction():
        await database.fetch(ENTER, group_of(service, "staff"), LOW, HIGH)
        yield


async def _seconds(database: asyncpg.Connection, statement: str) -> float:
    started = time.perf_counter()
    await database.fetch(statement)
    return time.perf_counter() - started


async def plan_of(database: asyncpg.Connection, statement: str) -> list[str]:
    """The nodes of a statement's plan, from the top, those that read a table with their index."""
    [[found]] = await database.fetch(f"EXPLAIN (FORMAT JSON) {statement}")
    return list(_nodes(json.loads(found)[0]["Plan"]))


def _nodes(plan: dict[str, Any]) -> Iterator[str]:
    index = plan.get("Index Name")
    if plan.get("Parent Relationship") != "InitPlan":
        yield f"{plan['Node Type']} ({index})" if index else plan["Node Type"]
        for part in plan.get("Plans", ()):
            yield from _nodes(part)
