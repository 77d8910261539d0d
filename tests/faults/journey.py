"""The main job of one community under load, by parties that do not give up."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from deploy.demo.population import TOWNSHIP, Person
from shared.core.ids import new_id
from tests.faults.acknowledged import Acknowledged
from tests.faults.parties import Line, Party, Refused, post_signed, token
from tests.faults.people import POOL_SIZE, Community
from tests.faults.site import until

LABORATORY = "lab-jinjiang"
DESK = "desk_120"
EARLIER = timedelta(minutes=40)
AT_A_TIME = 6


@dataclass(frozen=True)
class Common:
    """What the journeys share: a door that everybody passes, and the 120 desk's secret."""

    point_id: str
    desk_secret: str


@dataclass
class Journey:
    """One community's way from the file of its people to the patient's hand-over."""

    community: Community
    line: Line
    done: Acknowledged
    common: Common
    random: Random
    follows: bool = True
    """Whether to wait for what follows in other services before going on; not where nothing is published."""
    ids: list[str] = field(default_factory=list)
    """Resident ids by place in the population."""
    command: Party = field(init=False)
    officer: Party = field(init=False)
    sampler: Party = field(init=False)
    laboratory: Party = field(init=False)
    door: Party = field(init=False)
    campaign: str = ""
    numbers: list[str] = field(default_factory=list)
    """By place in the community's tubes."""
    singles: dict[int, str] = field(default_factory=dict)
    """The tube of each who is called to a retest, by place in the population."""
    _moving: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        """All of it."""
        await self.until_received()
        await self.from_results()

    async def until_received(self) -> None:
        """From nothing to tubes in the laboratory."""
        await self._arrive()
        await self._register()
        await self._plan()
        await self._sample()
        await self._deliver(self.numbers)

    async def from_results(self) -> None:
        """From the laboratory's first result to the end."""
        await self._report_pools()
        await self._retest()
        await self._report_singles()
        await self._hand_over()
        await self._show_all_codes()

    # Before the round ------------------------------------------------------------------------------------------------

    async def _arrive(self) -> None:
        code = self.community.code
        self.command = await token(self.line, "command", region=TOWNSHIP)
        self.officer = await token(self.line, "community_officer", region=code)
        self.sampler = await token(self.line, "sampler", region=code)
        self.laboratory = await token(self.line, "laboratory", party=LABORATORY)
        self.door = await token(self.line, "doorkeeper", party=self.common.point_id, region=TOWNSHIP)

    async def _register(self) -> None:
        for region in (self.community.grids[0][:14], *self.community.grids):
            await self.officer.post("/registry/v1/regions", {"code": region, "name": f"网格{region[-4:]}"})
            self.done.regions.add(region)
        job = await self.officer.upload("/registry/v1/imports", "people.csv", self.community.file())

        async def ended() -> Any:
            seen = await self.officer.get(f"/registry/v1/imports/{job['id']}")
            return seen if seen["state"] not in ("queued", "running") else None

        job = await until("the import ends", ended)
        people = self.community.population.people
        assert (job["state"], job["result"].get("created")) == ("succeeded", len(people)), job
        self.ids = await at_once(self._look_up, people)
        for resident_id, person in zip(self.ids, people, strict=True):
            self.done.people[resident_id] = person
            self.done.homes[resident_id] = person.region

    async def _look_up(self, person: Person) -> str:
        # Nobody may search more than 60 times a minute, and what is sent again counts again.
        clerk = await token(self.line, "community_officer", colleague=1 + person.index, region=self.community.code)
        found = await clerk.post("/registry/v1/residents/search", {"document_number": person.number})
        return str(found["items"][0]["id"])

    async def move_somebody(self) -> None:
        """Somebody of another household moves to the other grid."""
        place = self.random.randrange(len(self.community.family) + 1, len(self.ids))
        resident_id, (first, second) = self.ids[place], self.community.grids
        async with self._moving:  # or two would not agree where the same person lives
            await self.move(resident_id, second if self.done.homes[resident_id] == first else first)

    async def move(self, resident_id: str, grid: str) -> None:
        """A person moves to a grid."""
        moved = await self.officer.post(f"/registry/v1/residents/{resident_id}/move", {"region": grid})
        assert moved["outcome"] == "moved", moved
        self.done.homes[resident_id] = grid

    async def _plan(self) -> None:
        """Plan the round; anew as long as testing has not heard of everybody."""

        async def plan() -> Any:
            planned = await self.command.post("/testing/v1/campaigns", self._round())
            self.done.campaigns[planned["id"]] = self.community.code
            if planned["expected"] == len(self.ids):
                return planned
            await self.command.post(f"/testing/v1/campaigns/{planned['id']}/cancel")
            return None

        self.campaign = (await until("testing knows everybody", plan))["id"]
        await self.command.post(f"/testing/v1/campaigns/{self.campaign}/open")
        self.numbers = await self._roll(POOL_SIZE, len(self.community.tubes))

    def _round(self) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            "name": "第一轮",
            "round": 1,
            "region": self.community.code,
            "pool_size": POOL_SIZE,
            "opens_at": (now - 2 * EARLIER).isoformat(),
            "closes_at": (now + timedelta(hours=12)).isoformat(),
        }

    async def _roll(self, capacity: int, count: int) -> list[str]:
        asked = {"campaign_id": self.campaign, "region": self.community.grids[0], "capacity": capacity, "count": count}
        numbers: list[str] = (await self.sampler.post("/testing/v1/rolls", asked))["numbers"]
        return numbers

    # Devices ---------------------------------------------------------------------------------------------------------

    async def _sample(self) -> None:
        """Some tubes swab by swab, one sealed before its records come, one sent late, in disorder and twice."""
        online = list(range(len(self.numbers) - 2))
        await at_once(self._fill_online, online)
        await self._somebody_too_many(self.numbers[0])
        await self._seal_first(len(self.numbers) - 2)
        await self._send_late(len(self.numbers) - 1, again=self.community.tubes[0][0])
        await at_once(self._seal, online)

    async def _fill_online(self, tube: int) -> None:
        for person in self.community.tubes[tube]:
            await self.send([self.record(self.numbers[tube], person)])

    async def _somebody_too_many(self, number: str) -> None:
        record = self.record(number, self.community.absent)
        with pytest.raises(Refused) as refused:
            await self.send([record])
        assert refused.value.code == "tube_full"

    async def _seal_first(self, tube: int) -> None:
        records = [self.record(self.numbers[tube], one, offline=True) for one in self.community.tubes[tube]]
        await self.seal(self.numbers[tube], records)
        await at_once(self.send, [records[:4], records, records])

    async def _send_late(self, tube: int, again: int) -> None:
        records = [self.record(self.numbers[tube], one, offline=True) for one in self.community.tubes[tube]]
        records.append(self.record(self.numbers[tube], again, offline=True))
        twice = records + records[:5]
        self.random.shuffle(twice)
        half = len(twice) // 2
        await self.send(twice[:half])
        await self.seal(self.numbers[tube], records)
        await at_once(self.send, [twice[half:], twice])

    def record(self, number: str, person: int, *, offline: bool = False) -> dict[str, Any]:
        """One swab, as the device keeps it for ever."""
        return {
            "id": str(new_id()),
            "campaign_id": self.campaign,
            "tube_number": number,
            "resident_id": self.ids[person],
            "sampled_at": (datetime.now(UTC) - (EARLIER if offline else timedelta())).isoformat(),
            "offline": offline,
        }

    async def send(self, records: Sequence[dict[str, Any]]) -> None:
        """Send swabs until each is kept. Raises `Refused` for one that is not."""
        answer = await self.sampler.post("/testing/v1/samples", {"items": list(records)})
        for record, item in zip(records, answer["items"], strict=True):
            if item["status"] not in ("kept", "already"):
                raise Refused(f"sample {record}", 200, item["problem"])
            self.done.samples[record["id"]] = {**record, "exception": item["exception"]}

    async def seal(self, number: str, records: Iterable[dict[str, Any]]) -> None:
        """Seal a tube with the list of its swabs."""
        manifest = [record["id"] for record in records]
        at = datetime.now(UTC).isoformat()
        seal = {"tube_number": number, "sealed_at": at, "manifest": manifest, "laboratory": LABORATORY}
        answer = await self.sampler.post("/testing/v1/seals", {"items": [seal]})
        assert answer["items"][0]["status"] in ("sealed", "already"), answer
        self.done.seals[number] = set(manifest)

    async def _seal(self, tube: int) -> None:
        number = self.numbers[tube]
        await self.seal(number, [one for one in self.done.samples.values() if one["tube_number"] == number])

    # Laboratory ------------------------------------------------------------------------------------------------------

    async def _deliver(self, numbers: Sequence[str]) -> None:
        boxes = "/testing/v1/boxes"
        box = await self.sampler.post(boxes, {"tube_numbers": list(numbers), "laboratory": LABORATORY})
        self.done.boxes.add(box["id"])
        await self.sampler.post(f"{boxes}/{box['id']}/pick-up")
        await self.sampler.post(f"{boxes}/{box['id']}/depart")
        found = await self.laboratory.post(f"{boxes}/{box['id']}/receive", {"tube_numbers": list(numbers)})
        assert (found["missing"], found["unexpected"]) == ([], []), found
        self.done.received.update(numbers)

    async def report(self, outcomes: dict[str, str]) -> None:
        """Report results until each is kept."""
        at = datetime.now(UTC).isoformat()
        items = [{"tube_number": number, "outcome": outcome, "tested_at": at} for number, outcome in outcomes.items()]
        answer = await self.laboratory.post("/testing/v1/results", {"items": items})
        assert all(one["status"] in ("reported", "already") for one in answer["items"]), answer
        self.done.results.update(outcomes)

    async def _report_pools(self) -> None:
        negatives = self.numbers[1:]
        await at_once(self.report, [dict.fromkeys(negatives[:2], "negative"), dict.fromkeys(negatives[2:], "negative")])
        await self.report({self.numbers[0]: "positive"})
        pool = self._residents(self.community.tubes[0])
        self.done.colours.update(dict.fromkeys(pool, "yellow"))
        self.done.retests.update(dict.fromkeys(pool, "called"))
        await self._all_become(pool, "yellow")

    async def _retest(self) -> None:
        pool = self.community.tubes[0]
        # Who comes late to the round brings an exception into it, and is called as well: by the tube they were also in.
        singles = await self._roll(1, len(pool))
        await at_once(self._swab_singly, list(zip(singles, pool, strict=True)))
        self.done.retests.update(dict.fromkeys(self._residents(pool), "sampled"))
        await self._deliver(singles)
        self.singles = dict(zip(pool, singles, strict=True))

    async def _swab_singly(self, single: tuple[str, int]) -> None:
        record = self.record(*single)
        await self.send([record])
        await self.seal(single[0], [record])

    async def _report_singles(self) -> None:
        positive, family = self.community.positive, self.community.family
        await self.report({number: "negative" for person, number in self.singles.items() if person != positive})
        await self.report({self.singles[positive]: "positive"})
        for person in self.singles:
            self.done.colours.pop(self.ids[person])
            outcome = "positive" if person == positive else "negative"
            self.done.retests[self.ids[person]] = f"settled {outcome}"
        self.done.referrals[self.ids[positive]] = "reported"
        self.done.orders.update({self.ids[person]: kind for person, kind in family.items()})
        self.done.colours[self.ids[positive]] = "red"
        kinds = {"home": "yellow", "central": "red"}
        self.done.colours.update({self.ids[person]: kinds[kind] for person, kind in family.items()})
        for person in {*self.singles, *family}:
            await self._all_become([self.ids[person]], self.done.colours.get(self.ids[person], "green"))

    # Outside ---------------------------------------------------------------------------------------------------------

    async def _hand_over(self) -> None:
        """The 120 desk tells, out of order and twice; somebody else has a fever and is reported by two."""
        await self._report_fever()
        referral = await self._referral()
        began = datetime.now(UTC)
        for kind, seconds in (("on_board", 2), ("dispatched", 1), ("on_board", 2), ("handed_over", 3)):
            message_id = f"{kind}-{referral}"
            data = {"referral_id": referral, "hospital": "晋江市医院"}
            at = (began + timedelta(seconds=seconds)).isoformat()
            told = {"type": f"referral.{kind}", "timestamp": at, "data": data}
            kept = str(await post_signed(self.line, DESK, self.common.desk_secret, message_id, told))
            assert self.done.messages.setdefault(message_id, kept) == kept, "a message was kept twice"
        self.done.referrals[self.ids[self.community.positive]] = "handed_over"

    async def _referral(self) -> str:
        """The positive's referral; where nothing is published there is none, and the desk tells of another."""
        person = self.ids[self.community.positive]

        async def look() -> Any:
            found = await self.officer.get("/observation/v1/referrals", resident_id=person)
            return found["items"]

        if not self.follows:
            return str(new_id())
        return str((await until("the positive is referred", look))[0]["id"])

    async def _report_fever(self) -> None:
        person = self.ids[self.community.tubes[1][-1]]
        doctor = await token(self.line, "village_doctor", region=self.community.code)
        fever = {"resident_id": person, "region": self.community.code, "celsius": 38.4}
        fever["measured_at"] = datetime.now(UTC).isoformat()
        first, second = await at_once(lambda by: by.post("/observation/v1/referrals", fever), [doctor, self.officer])
        assert first["id"] == second["id"], "two episodes of one fever"
        self.done.fevers[person] = first["id"]
        self.done.referrals[person] = "reported"

    # Codes and the door ----------------------------------------------------------------------------------------------

    async def _all_become(self, residents: Sequence[str], colour: str) -> None:
        async def look() -> bool:
            codes = await at_once(lambda one: self.command.get(f"/gateway/v1/codes/{one}"), residents)
            return all(code["colour"] == colour for code in codes)

        if self.follows:
            await until(f"{len(residents)} become {colour}", look)

    async def show_code(self, resident_id: str) -> str | None:
        """A resident shows the code at the door; the verdict, which is a visit. None before the code has come."""
        resident = await token(self.line, "resident", resident_id=resident_id)
        try:
            code = await resident.get("/gateway/v1/code")
        except Refused as refused:
            if refused.status != 404:
                raise
            return None
        scan_id = str(new_id())
        visit = {"scan_id": scan_id, "token": code["token"], "temperature_celsius": 36.5}
        verdict: str = (await self.door.post("/gateway/v1/verifications", visit))["verdict"]
        self.done.visits[scan_id] = verdict
        return verdict

    async def _show_all_codes(self) -> None:
        """The family and some others: who is not green is turned back."""
        shown = [self.ids[person] for person in (*self.community.family, self.community.positive, *range(10, 20))]
        verdicts = await at_once(self.show_code, shown)
        if self.follows:
            expected = ["turn_back" if one in self.done.colours else "pass" for one in shown]
            assert verdicts == expected

    @asynccontextmanager
    async def under_load(self) -> AsyncIterator[None]:
        """People come to the door and move house, as long as this lasts."""
        over = asyncio.Event()

        async def come_and_go() -> None:
            while not over.is_set():
                if self.ids and self.random.random() < 0.8:
                    await self.show_code(self.random.choice(self.ids[10:]))
                elif self.campaign:  # whoever moves earlier is expected in the other grid, and that is right too
                    await self.move_somebody()
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(come_and_go())
            try:
                yield
            finally:
                over.set()

    def _residents(self, people: Iterable[int]) -> list[str]:
        return [self.ids[person] for person in people]


async def at_once(act: Any, each: Sequence[Any]) -> list[Any]:
    """Do the same for many, so many at a time."""
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one(thing: Any) -> Any:
        async with gate:
            return await act(thing)

    return list(await asyncio.gather(*map(one, each)))
