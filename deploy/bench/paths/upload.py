"""Path 3: upload of offline swab records, up to a thousand per request, compared with COPY of the same rows."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import asyncpg

from deploy.bench import city as cities
from deploy.bench.city import DEVICES, Round
from deploy.bench.copying import copy_seconds, insert_seconds
from deploy.bench.page import Aim, Figure, milliseconds, per_second
from deploy.bench.site import EIGHT, TOKEN_SECONDS
from deploy.demo.population import TOWNSHIP
from shared.core.actors import Actor, Role
from shared.core.regions import range_of
from shared.core.settings import Service

AIM = Aim("at least", 0.4)


async def bypassing_the_edge(round_: Round, database: asyncpg.Connection) -> list[Figure]:
    """To the testing service itself, with an internal token."""
    site = round_.city.site
    token = partial(site.inside, "testing", Role.SAMPLER)
    return [await _measure(round_, database, "testing", token, "straight to testing")]


async def through_the_edge(round_: Round, database: asyncpg.Connection) -> list[Figure]:
    """As devices send them."""
    actor = Actor("bench:sampler", Role.SAMPLER, range=range_of(TOWNSHIP))
    token = round_.city.site.issuer.issue(actor, TOWNSHIP, TOKEN_SECONDS)
    return [await _measure(round_, database, "gateway", lambda: token, "through the edge")]


async def _measure(
    round_: Round, database: asyncpg.Connection, service: Service, token: Callable[[], str], way: str
) -> Figure:
    site, people = round_.city.site, round_.city.size
    site.pin(EIGHT)
    meter = site.meter()
    done, answers = await cities.upload(round_, service, token)
    busy = meter.busy()
    if answers != Counter(kept=people):
        raise ValueError(f"records should all be kept and are {dict(answers)}")
    rows, copying = await copy_seconds(database, "testing.samples")
    inserting = await insert_seconds(database, "testing.samples")
    rate, floor, plain = people / done.seconds, rows / copying, rows / inserting
    batches = f"batches of {cities.SAMPLES_PER_BATCH:,}, p50 {milliseconds(done.percentile(0.5))}"
    bare = f"{rate / plain:.2f} × of one bare INSERT with all constraints, {per_second(plain)}"
    note = f"{people:,} {way}: {batches}; {bare}; {busy}"
    return Figure(
        "upload",
        f"upload {people:,} offline records, {way}, {DEVICES} devices",
        f"{done.seconds:.2f} s, {per_second(rate)}",
        f"COPY {per_second(floor)}",
        rate / floor,
        AIM,
        [note],
        {
            "people": people,
            "upload_seconds": done.seconds,
            "copy_rows": rows,
            "copy_seconds": copying,
            "insert_seconds": inserting,
            **busy.numbers(),
        },
    )
