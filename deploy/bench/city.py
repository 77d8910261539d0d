"""Testing rounds with all imported people, as the basis for the paths of a round.

Everything uses the HTTP API of the services. Only the residence of people is read as the owner of the database.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from deploy.bench.generator import Load, load, request
from deploy.bench.site import Site
from deploy.demo.devices import chunks
from deploy.demo.laboratory import BOXES
from deploy.demo.parties import Parties, Party
from deploy.demo.population import TOWNSHIP
from deploy.demo.world import LABORATORY, at_once
from shared.core.ids import new_id
from shared.core.settings import Service

CAMPAIGNS, ROLLS, SAMPLES, SEALS = (f"/testing/v1/{name}" for name in ("campaigns", "rolls", "samples", "seals"))
POOL = 10
SAMPLES_PER_BATCH = 1_000
TUBES_PER_ROLL = 5_000
TUBES_PER_BOX = 500
TUBES_PER_SEALING = 250
DEVICES = 4
"""That send at the same time."""
NEEDS = (
    f"POST {CAMPAIGNS}",
    f"POST {ROLLS}",
    f"POST {SAMPLES}",
    f"POST {SEALS}",
    f"POST {BOXES}",
    "POST /testing/v1/results",
)

WHO = "SELECT id, left(region, 12) AS community FROM registry.residents ORDER BY 2, id"


@dataclass(frozen=True)
class Tube:
    """A planned tube and its people."""

    number: str
    people: Sequence[UUID]
    samples: Sequence[UUID]
    sampled_at: datetime


@dataclass(frozen=True)
class City:
    """The residents by community, and the acting parties."""

    site: Site
    command: Party
    laboratory: Party
    people: Mapping[str, Sequence[UUID]]

    @classmethod
    async def of(cls, site: Site, parties: Parties, database: asyncpg.Connection) -> "City":
        """Return the city with all registered people."""
        people: dict[str, list[UUID]] = {}
        for row in await database.fetch(WHO):
            people.setdefault(row["community"], []).append(row["id"])
        command = await parties.staff("command", TOWNSHIP)
        await parties.register_laboratory(LABORATORY)
        return cls(site, command, await parties.machine("laboratory", LABORATORY), people)

    @property
    def size(self) -> int:
        """The number of people."""
        return sum(map(len, self.people.values()))


@dataclass(frozen=True)
class Round:
    """One round over everybody."""

    city: City
    campaign_id: str
    tubes: Sequence[Tube]

    def batches(self) -> list[list[dict[str, Any]]]:
        """Return the offline records of all devices, up to a thousand in a batch.

        Only one device fills a tube. If a tube were in the batches of two, the second would wait for the first to
        commit.
        """
        return [
            [
                {
                    "id": str(sample),
                    "campaign_id": self.campaign_id,
                    "tube_number": tube.number,
                    "resident_id": str(person),
                    "sampled_at": tube.sampled_at.isoformat(),
                    "offline": True,
                }
                for tube in tubes
                for sample, person in zip(tube.samples, tube.people, strict=True)
            ]
            for tubes in chunks(self.tubes, SAMPLES_PER_BATCH // POOL)
        ]


async def open_round(city: City, number: int, minutes_ago: int) -> Round:
    """Plan a round, open it, and give tube numbers to each community."""
    now = datetime.now(UTC)
    campaign = await city.command.post(
        CAMPAIGNS,
        {
            "name": f"第{number}轮",
            "round": number,
            "region": TOWNSHIP,
            "pool_size": POOL,
            "opens_at": (now - timedelta(hours=3)).isoformat(),
            "closes_at": (now + timedelta(hours=12)).isoformat(),
            "drill": False,
        },
        once=True,
    )
    if campaign["expected"] != city.size:
        raise ValueError(f"the round expects {campaign['expected']} people of {city.size}")
    await city.command.post(f"{CAMPAIGNS}/{campaign['id']}/open")
    sampled_at = now - timedelta(minutes=minutes_ago)
    tubes: list[Tube] = []
    for community, people in city.people.items():
        pools = list(chunks(people, POOL))
        numbers = await _numbers(city.command, campaign["id"], community, len(pools))
        tubes += [
            Tube(number, pool, [new_id() for _ in pool], sampled_at)
            for number, pool in zip(numbers, pools, strict=True)
        ]
    return Round(city, campaign["id"], tubes)


async def _numbers(command: Party, campaign_id: str, community: str, count: int) -> list[str]:
    numbers: list[str] = []
    while len(numbers) < count:
        roll = {
            "campaign_id": campaign_id,
            "region": community,
            "capacity": POOL,
            "count": min(TUBES_PER_ROLL, count - len(numbers)),
        }
        numbers += (await command.post(ROLLS, roll, once=True))["numbers"]
    return numbers


async def upload(round_: Round, service: Service, token: Callable[[], str]) -> tuple[Load, Counter[str]]:
    """Send all records to a service's port, four devices at once; the load, and how the records were answered.

    `token` is called for each request, because internal tokens are valid for only a minute.
    """
    bodies = [msgspec.json.encode({"items": batch}) for batch in round_.batches()]
    requests = (request("POST", SAMPLES, {"authorization": f"Bearer {token()}"}, body) for body in bodies)
    answers: list[bytes] = []
    done = await load(
        round_.city.site.port(service), requests, connections=DEVICES, keep=lambda _, body: answers.append(body)
    )
    done.require(200)
    return done, Counter(item["status"] for answer in answers for item in msgspec.json.decode(answer)["items"])


async def bring_in(round_: Round) -> None:
    """Seal all tubes and bring them to the laboratory."""
    city = round_.city
    now = datetime.now(UTC).isoformat()
    seals = [
        {
            "tube_number": tube.number,
            "sealed_at": now,
            "manifest": [str(sample) for sample in tube.samples],
            "laboratory": LABORATORY,
        }
        for tube in round_.tubes
    ]
    answers: Counter[str] = Counter()
    for batch in chunks(seals, TUBES_PER_SEALING):
        answered = await city.command.post(SEALS, {"items": batch})
        answers.update(item["status"] for item in answered["items"])
    if answers != Counter(sealed=len(seals)):
        raise ValueError(f"tubes should all be sealed and are {dict(answers)}")

    async def bring(numbers: Sequence[str]) -> None:
        box = await city.command.post(BOXES, {"tube_numbers": numbers, "laboratory": LABORATORY}, once=True)
        for step in ("pick-up", "depart"):
            await city.command.post(f"{BOXES}/{box['id']}/{step}")
        await city.laboratory.post(f"{BOXES}/{box['id']}/receive", {"tube_numbers": numbers})

    await at_once(bring, chunks([tube.number for tube in round_.tubes], TUBES_PER_BOX), 2)
