"""A round of sampling to test with: people the registry knows, devices that sample them, a laboratory."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.contracts.registry import Resident
from shared.contracts.resource import Resource
from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District

GRID = "3505820050010101"
OTHER_GRID = "3505820050010102"
COMMUNITY = "350582005001"
LAB = "lab-jinjiang"


def minutes_ago(minutes: float) -> datetime:
    """An instant of the moved clock."""
    return clock.now() - timedelta(minutes=minutes)


async def residents(district: District, count: int, region: str = GRID) -> list[UUID]:
    """People whom the registry has published and testing has read."""
    ids = [new_id() for _ in range(count)]
    await publish_residents(
        district, [Resident(id=id_, version=1, region=region, state="active", household_id=None) for id_ in ids]
    )
    return ids


async def publish_residents(district: District, people: Sequence[Resident]) -> None:
    """Let the registry say something of people, and testing hear it."""
    for start in range(0, len(people), 1_000):
        async with district.contexts["registry"].system_unit_of_work("test") as uow:
            uow.publish_all(people[start : start + 1_000], change="test")
    await receive(district, people)


async def receive(district: District, resources: Sequence[Resource]) -> None:
    """Drain until testing holds these states. One transaction anywhere in the cluster holds a feed up for a while."""
    ids = [resource.id for resource in resources]
    versions = [resource.version for resource in resources]
    for _ in range(3_000):
        await district.drain("testing")
        [[behind]] = await district.sql(
            """
            SELECT count(*) FROM unnest($1::uuid[], $2::bigint[]) AS said (subject, version)
            WHERE NOT EXISTS (
                SELECT FROM testing.feed_held AS held
                WHERE held.subject = said.subject AND held.version >= said.version)
            """,
            ids,
            versions,
        )
        if behind == 0:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("testing does not hear what was said")


@dataclass
class Round:
    """One round, and its callers."""

    district: District
    id: str
    command: httpx.AsyncClient
    sampler: httpx.AsyncClient
    lab: httpx.AsyncClient
    everything: dict[str, Any] = field(default_factory=dict)

    async def roll(self, count: int = 1, capacity: int = 10, region: str = COMMUNITY) -> list[str]:
        """Fresh tube numbers."""
        new = {"campaign_id": self.id, "region": region, "capacity": capacity, "count": count}
        made = await self.sampler.post("/testing/v1/rolls", json=new)
        assert made.status_code == 201, made.text
        numbers: list[str] = made.json()["numbers"]
        return numbers

    def swab(
        self, tube: str, resident: UUID, *, offline: bool = False, ago: float = 0, **values: Any
    ) -> dict[str, Any]:
        """One swab as a device records it."""
        return {
            "id": str(new_id()),
            "campaign_id": self.id,
            "tube_number": tube,
            "resident_id": str(resident),
            "sampled_at": minutes_ago(ago).isoformat(),
            "offline": offline,
        } | values

    async def send(self, *swabs: dict[str, Any], by: httpx.AsyncClient | None = None) -> list[dict[str, Any]]:
        """Send swabs; an answer for each."""
        answer = await (by or self.sampler).post("/testing/v1/samples", json={"items": swabs})
        while answer.status_code == 503:  # two hundred at once are more than one process answers in time
            await asyncio.sleep(int(answer.headers["retry-after"]))
            answer = await (by or self.sampler).post("/testing/v1/samples", json={"items": swabs})
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        assert [item["id"] for item in items] == [swab["id"] for swab in swabs]
        return items

    def seal_of(self, tube: str, swabs: Sequence[dict[str, Any]], **values: Any) -> dict[str, Any]:
        """One seal as a device records it."""
        manifest = [swab["id"] for swab in swabs]
        return {"tube_number": tube, "sealed_at": clock.now().isoformat(), "manifest": manifest} | values

    async def seal(self, tube: str, swabs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Seal one tube with the list of its swabs."""
        return (await self.send_seals(self.seal_of(tube, swabs)))[0]

    async def send_seals(self, *seals: dict[str, Any]) -> list[dict[str, Any]]:
        """Send seals; an answer for each."""
        answer = await self.sampler.post("/testing/v1/seals", json={"items": seals})
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def box(self, *tubes: str, laboratory: str = LAB) -> dict[str, Any]:
        """Pack sealed tubes."""
        made = await self.sampler.post("/testing/v1/boxes", json={"tube_numbers": tubes, "laboratory": laboratory})
        assert made.status_code == 201, made.text
        said: dict[str, Any] = made.json()
        return said

    async def receive(self, box: dict[str, Any], *tubes: str) -> dict[str, Any]:
        """Let the laboratory receive a box with these tubes in it."""
        answer = await self.lab.post(f"/testing/v1/boxes/{box['id']}/receive", json={"tube_numbers": tubes})
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    async def deliver(self, *tubes: str) -> None:
        """Take sealed tubes to the laboratory."""
        await self.receive(await self.box(*tubes), *tubes)

    async def filled(
        self, people: Sequence[UUID], capacity: int = 10, **values: Any
    ) -> tuple[str, list[dict[str, Any]]]:
        """A sealed tube with these people in it, at the laboratory."""
        [tube] = await self.roll(capacity=capacity)
        swabs = [self.swab(tube, person, **values) for person in people]
        assert {item["status"] for item in await self.send(*swabs)} == {"kept"}
        assert (await self.seal(tube, swabs))["status"] == "sealed"
        await self.deliver(tube)
        return tube, swabs

    def result_of(self, tube: str, outcome: str, revision: int = 1, **values: Any) -> dict[str, Any]:
        """One result as a laboratory reports it."""
        tested = clock.now().isoformat()
        return {"tube_number": tube, "outcome": outcome, "tested_at": tested, "revision": revision} | values

    async def report(self, *results: dict[str, Any], by: httpx.AsyncClient | None = None) -> list[dict[str, Any]]:
        """Send results; an answer for each."""
        answer = await (by or self.lab).post("/testing/v1/results", json={"items": results})
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def tube(self, number: str) -> dict[str, Any]:
        """A tube as command sees it."""
        found = (await self.command.get("/testing/v1/tubes", params={"number": number})).json()["items"]
        assert len(found) == 1, found
        said: dict[str, Any] = found[0]
        return said

    async def retests(self, **params: Any) -> list[dict[str, Any]]:
        """Retests as command sees them."""
        found: list[dict[str, Any]] = (
            await self.command.get("/testing/v1/retests", params={"limit": 200} | params)
        ).json()["items"]
        return found

    async def progress(self, **params: Any) -> dict[str, Any]:
        """How far the round is."""
        answer = await self.command.get(f"/testing/v1/campaigns/{self.id}/progress", params=params)
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    async def missing(self, **params: Any) -> set[UUID]:
        """Who still misses."""
        answer = await self.command.get(f"/testing/v1/campaigns/{self.id}/missing", params={"limit": 200} | params)
        assert answer.status_code == 200, answer.text
        return {UUID(item["resident_id"]) for item in answer.json()["items"]}

    async def feed(self) -> list[dict[str, Any]]:
        """What the feed carries, in order."""
        rows = await self.district.sql(
            "SELECT type, subject::text, version, change, urgent, data::text AS data FROM testing.feed ORDER BY seq"
        )
        return [dict(row) for row in rows]


MakeRound = Callable[..., Awaitable[Round]]


@pytest.fixture
def make_round(district: District) -> MakeRound:
    """Plan and open rounds."""

    async def make(**values: Any) -> Round:
        await district.know_laboratories(LAB)
        command = district.caller("testing", Role.COMMAND)
        new = {
            "name": "第一轮",
            "round": 1,
            "region": "350582005",
            "pool_size": 10,
            "opens_at": (clock.now() - timedelta(hours=12)).isoformat(),
            "closes_at": (clock.now() + timedelta(hours=12)).isoformat(),
        } | values
        made = await command.post("/testing/v1/campaigns", json=new)
        assert made.status_code == 201, made.text
        opened = await command.post(f"/testing/v1/campaigns/{made.json()['id']}/open")
        assert opened.json()["state"] == "open", opened.text
        return Round(
            district,
            made.json()["id"],
            command,
            district.caller("testing", Role.SAMPLER, scope=COMMUNITY),
            district.caller("testing", Role.LABORATORY, party=LAB),
        )

    return make
