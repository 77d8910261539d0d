"""One installation with its parties and its subscriber, through which one journey after the other is made."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from deploy.demo.population import TOWNSHIP
from tests.faults.acknowledged import Acknowledged
from tests.faults.check import CODES, OWNED, Check, Differences
from tests.faults.journey import DESK, LABORATORY, Common, Journey
from tests.faults.parties import Line, token
from tests.faults.people import Community, communities
from tests.faults.receiver import Subscriber
from tests.faults.site import Site

SEED = 20210120
JOURNEYS = 8
"""Communities that can be lived through in one installation: one a test."""


@dataclass
class World:
    """The installation, what was acknowledged in it so far, and who comes next."""

    site: Site
    line: Line
    subscriber: Subscriber
    common: Common
    waiting: Iterator[Community]
    random: Random = field(default_factory=lambda: Random(SEED))
    done: Acknowledged = field(default_factory=Acknowledged)
    planned: set[tuple[str, str]] = field(default_factory=set)
    """What a test made unreadable, by service and subject."""

    @classmethod
    @asynccontextmanager
    async def open(cls, site: Site) -> AsyncIterator["World"]:
        """The first acts: a door, the 120 desk's secret, and a subscriber who is told of everything."""
        subscriber = Subscriber()
        subscriber.open()
        async with site.client() as client:
            line = Line(client, Random(SEED))
            command = await token(line, "command", region=TOWNSHIP)
            source = {"source": DESK, "party": DESK, "region": TOWNSHIP}
            secret = (await command.post("/gateway/v1/hook-sources", source))["secret"]
            client = {"client_id": LABORATORY, "kind": "machine", "name": "检验科", "region": TOWNSHIP}
            await command.post("/gateway/v1/clients", client | {"role": "laboratory", "party": LABORATORY})
            hook = {"url": subscriber.url, "types": [*OWNED, *CODES], "region": TOWNSHIP}
            subscriber.secret = (await command.post("/gateway/v1/webhooks", hook))["secret"]
            point = await command.post("/gateway/v1/service-points", POINT)
            yield cls(site, line, subscriber, Common(point["id"], secret), iter(communities(JOURNEYS)))
        subscriber.close()

    def journey(self, *, follows: bool = True) -> Journey:
        """The next community's journey."""
        random = Random(self.random.random())
        return Journey(next(self.waiting), self.line, self.done, self.common, random, follows)

    async def during(self, *faults: Coroutine[Any, Any, None]) -> None:
        """A journey under load, and the faults that meet it; until all of it is over."""
        journey = self.journey()
        async with journey.under_load(), asyncio.TaskGroup() as group:
            group.create_task(journey.run())
            for fault in faults:
                group.create_task(fault)

    async def some_time(self, least: float, most: float) -> None:
        """Let a random time pass, in seconds; the same in each run."""
        await asyncio.sleep(self.random.uniform(least, most))

    async def differences(self, patience: float | None = None) -> Differences:
        """What is not as it must be, once all is at rest."""
        check = Check(self.site, self.line, self.done, self.subscriber, self.planned)
        return await (check.settled() if patience is None else check.settled(patience))


POINT = {"name": "新塘街道便民服务中心", "region": TOWNSHIP}
"""A service window as its policy is by default: green passes, all others turn back."""
