"""Step 2, at the sampling sites: the devices of a community scan, store records, lose the network, and send later."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

from deploy.demo.parties import Party
from deploy.demo.plan import PlannedTube
from deploy.demo.progress import Bar
from deploy.demo.world import LABORATORY, World
from shared.core.ids import new_id

SAMPLES = "/testing/v1/samples"
SEALS = "/testing/v1/seals"
TUBES_PER_BATCH = 40
RECORDS_PER_BATCH = 500
DEVICES_AT_WORK = 4
LATE_MINUTES = 90
"""How long ago the offline records were made."""

T = TypeVar("T")
Record = dict[str, Any]


@dataclass
class Tally:
    """The answers to the devices, record by record."""

    answers: Counter[str] = field(default_factory=Counter)
    seals: Counter[str] = field(default_factory=Counter)


@dataclass
class Device:
    """The devices of a community, with the records that they keep."""

    world: World
    sampler: Party
    tubes: Sequence[PlannedTube]
    tally: Tally
    bar: Bar
    random: Random
    records: dict[str, list[Record]] = field(default_factory=dict)
    """By tube number. A record never changes, however often it is sent."""

    async def work(self) -> None:
        """A day at the sampling site."""
        for batch in chunks([tube for tube in self.tubes if tube.route == "online"], TUBES_PER_BATCH):
            await self._sample_online(batch)
        for batch in chunks([tube for tube in self.tubes if tube.route == "sealed_first"], TUBES_PER_BATCH):
            await self._sample_after_seal(batch)
        await self._send_late([tube for tube in self.tubes if tube.route == "late"])

    async def _sample_online(self, tubes: Sequence[PlannedTube]) -> None:
        """Send each record before the swab, so that an eleventh person is refused in time."""
        await self._send([record for tube in tubes for record in self._make(tube, offline=False)])
        await self._send(self._repeated(tubes))
        await self._send(
            [self._record(tube, one, offline=False) for tube in tubes if (one := tube.eleventh) is not None]
        )
        await self._seal(tubes)

    async def _sample_after_seal(self, tubes: Sequence[PlannedTube]) -> None:
        """Send records after the seal: of two devices at a table, the sealing one gets the network first."""
        records = [record for tube in tubes for record in self._make(tube, offline=True)]
        await self._seal(tubes)
        await self._send(records)
        await self._send(self._repeated(tubes))
        await self._send(
            [self._record(tube, one, offline=True) for tube in tubes if (one := tube.unlisted) is not None]
        )

    async def _send_late(self, tubes: Sequence[PlannedTube]) -> None:
        """Send all offline records in any order, some of them twice, with the seals in between."""
        records = [record for tube in tubes for record in self._make(tube, offline=True)] + self._repeated(tubes)
        self.random.shuffle(records)
        half = len(records) // 2
        await self._send(records[:half])
        for batch in chunks(tubes, TUBES_PER_BATCH):
            await self._seal(batch)
        await self._send(records[half:])

    def _make(self, tube: PlannedTube, *, offline: bool) -> list[Record]:
        records = [self._record(tube, index, offline=offline) for index in tube.people]
        if tube.again is not None:
            records.append(self._record(tube, tube.again, offline=True))
        self.records[self.world.number(tube)] = records
        return records

    def _record(self, tube: PlannedTube, person: int, *, offline: bool) -> Record:
        sampled_at = datetime.now(UTC) - timedelta(minutes=LATE_MINUTES if offline else 0)
        return {
            "id": str(new_id()),
            "campaign_id": self.world.campaign_id,
            "tube_number": self.world.number(tube),
            "resident_id": self.world.residents[person],
            "sampled_at": sampled_at.isoformat(),
            "offline": offline,
        }

    def _repeated(self, tubes: Iterable[PlannedTube]) -> list[Record]:
        return [record for tube in tubes if tube.repeated for record in self.records[self.world.number(tube)]]

    async def _send(self, records: Sequence[Record]) -> None:
        for batch in chunks(records, RECORDS_PER_BATCH):
            await send(self.sampler, batch, self.tally)

    async def _seal(self, tubes: Sequence[PlannedTube]) -> None:
        seals = [seal_of(number, self.records[number]) for number in map(self.world.number, tubes)]
        await seal(self.sampler, seals, self.tally)
        self.bar.advance(len(seals))


async def sample_everybody(world: World, samplers: dict[str, Party], bar: Bar) -> Tally:
    """All communities' devices, some at work at the same time."""
    tally = Tally()
    gate = asyncio.Semaphore(DEVICES_AT_WORK)

    async def one(community: str, tubes: Sequence[PlannedTube]) -> None:
        random = Random(f"device {world.seed} {community}")  # noqa: S311 - it must be the same each time
        async with gate:
            await Device(world, samplers[community], tubes, tally, bar, random).work()

    await asyncio.gather(*(one(community, tubes) for community, tubes in world.plan.tubes.items()))
    return tally


async def send(sampler: Party, records: Sequence[Record], tally: Tally) -> None:
    """Send records, and count what each is answered: kept, already, an exception's or a refusal's name."""
    answer = await sampler.post(SAMPLES, {"items": records})
    tally.answers.update(map(_named, answer["items"]))


def _named(item: Any) -> str:
    if item["status"] == "refused":
        return str(item["problem"]["code"])
    return str(item["exception"] if item["status"] == "kept" and item["exception"] else item["status"])


async def seal(sampler: Party, seals: Sequence[Record], tally: Tally) -> None:
    """Seal tubes for good."""
    if seals:
        answer = await sampler.post(SEALS, {"items": seals})
        tally.seals.update(item["status"] for item in answer["items"])


def seal_of(number: str, records: Sequence[Record]) -> Record:
    """A tube's seal, with the manifest of what is in it."""
    return {
        "tube_number": number,
        "sealed_at": datetime.now(UTC).isoformat(),
        "manifest": [record["id"] for record in records],
        "laboratory": LABORATORY,
    }


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Split items into chunks of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
