"""The edge under a flood: ten times as many callers as it serves well, and the effect on accepted requests.

Ordinary requests list the people of a grid through the edge. Requests for care read one's own code and a fever referral
through the edge. Both are measured first without, then with the flood.
"""

import asyncio
from collections.abc import Sequence
from itertools import cycle

import asyncpg

from deploy.bench import backdrop
from deploy.bench.generator import Load, load, request
from deploy.bench.page import Aim, Figure, milliseconds, per_second
from deploy.bench.site import TOKEN_SECONDS, Site
from deploy.bench.timing import Effort
from deploy.bench.window import current_code_requests
from deploy.demo.population import TOWNSHIP
from shared.core.actors import Actor, Role
from shared.core.regions import range_of

CALM, FLOOD = 8, 80
CARE = 2
PEOPLE = 1_000
TAIL_AIM = Aim("at most", 2.0)
REFUSED_AIM = Aim("at most", 0, "")


async def measure(site: Site, database: asyncpg.Connection, effort: Effort) -> list[Figure]:
    """Calm, then the flood."""
    site.pin()
    if not await database.fetchval("SELECT EXISTS (SELECT FROM gateway.codes)"):  # the door's bench has made its own
        await backdrop.add_codes(database, 1, PEOPLE)
    calm, care_calm = await _run(site, CALM, effort)
    flood, care = await _run(site, FLOOD, effort)
    refused = sum(count for status, count in care.statuses.items() if status >= 400)
    return [
        Figure(
            "flood",
            f"accepted p99 with {FLOOD} callers at once",
            f"{milliseconds(_p99(flood))} ({per_second(len(flood.accepted) / flood.seconds)} accepted)",
            f"with {CALM}: {milliseconds(_p99(calm))} ({per_second(calm.rate)})",
            _p99(flood) / _p99(calm),
            TAIL_AIM,
            [f"answers in the flood: {dict(flood.statuses)}"],
            {"calm_p99_seconds": _p99(calm), "flood_p99_seconds": _p99(flood)},
        ),
        Figure(
            "flood",
            "care refused meanwhile",
            f"{refused} of {care.count:,}, p99 {milliseconds(_p99(care))}",
            f"calm p99 {milliseconds(_p99(care_calm))}",
            refused,
            REFUSED_AIM,
        ),
    ]


async def _run(site: Site, connections: int, effort: Effort) -> tuple[Load, Load]:
    """Run `connections` ordinary callers with different names, and a few callers for care at the same time."""
    port = site.port("gateway")
    seconds = effort.seconds * effort.rounds
    ordinary = cycle([_get(site, f"/registry/v1/regions?limit={MOST}", n) for n in range(connections)])
    referrals = [_get(site, "/observation/v1/referrals?limit=1", n) for n in range(CARE)]
    looks = current_code_requests(site, backdrop.spread(PEOPLE, len(referrals)))
    first, second = await asyncio.gather(
        load(port, ordinary, connections=connections, seconds=seconds),
        load(port, cycle([*referrals, *looks]), connections=CARE, seconds=seconds),
    )
    return first, second


MOST = 50


def _get(site: Site, path: str, number: int) -> bytes:
    actor = Actor(f"bench:caller-{number}", Role.COMMAND, range=range_of(TOWNSHIP))
    token = site.issuer.issue(actor, TOWNSHIP, TOKEN_SECONDS)
    return request("GET", path, {"authorization": f"Bearer {token}"})


def _p99(one: Load) -> float:
    accepted: Sequence[float] = one.accepted
    return accepted[min(len(accepted) - 1, int(len(accepted) * 0.99))]
