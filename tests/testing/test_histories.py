"""Whatever order the events of devices and laboratories come in, and however often, the facts are the same."""

import json
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.contracts.testing import Tube
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.testing.conftest import LAB, MakeRound, Round, minutes_ago, residents

Event = Callable[[], Awaitable[Any]]


class Story:
    """What really happened in one round: ten swabs too many, people swabbed twice, a forgotten swab, a correction."""

    def __init__(self, ring: Round, people: list[UUID], tubes: list[str]) -> None:
        self.ring = ring
        self.tubes = tubes
        crowded, twice, forgetful = people[:6], [people[0], *people[6:9]], people[9:12]
        self.swabs = [
            [ring.swab(tube, person, offline=True, ago=60) for person in inside]
            for tube, inside in zip(tubes, (crowded, twice, forgetful), strict=True)
        ]
        self.forgotten = ring.swab(tubes[2], people[12], offline=True, ago=60)
        self.stranger = ring.swab(tubes[1], new_id(), offline=True, ago=60)
        self.seals = [ring.seal_of(tube, inside) for tube, inside in zip(tubes, self.swabs, strict=True)]
        self.results = [
            ring.result_of(tubes[0], "negative"),
            ring.result_of(tubes[0], "positive", 2),
            ring.result_of(tubes[1], "positive"),
            ring.result_of(tubes[2], "negative"),
        ]

    def events(self) -> list[Event]:
        """Every message there is, in the order in which it happened."""
        ring = self.ring
        every: list[Event] = []
        for inside in self.swabs:
            every += [self._send(swab) for swab in inside]
        every += [self._send(self.forgotten), self._send(self.stranger)]
        every += [lambda seal=seal: ring.send_seals(seal) for seal in self.seals]
        every += [lambda tube=tube: self._deliver(tube) for tube in self.tubes]
        every += [lambda result=result: ring.report(result) for result in self.results]
        return every

    def _send(self, swab: dict[str, Any]) -> Event:
        return lambda: self.ring.send(swab)

    async def _deliver(self, tube: str) -> None:
        new = {"tube_numbers": [tube], "laboratory": LAB}
        made = await self.ring.sampler.post("/testing/v1/boxes", json=new)
        assert made.status_code in (201, 409), made.text
        boxes = (await self.ring.lab.get("/testing/v1/boxes", params={"limit": 200})).json()["items"]
        for box in boxes:
            if tube in box["tube_numbers"]:
                await self.ring.receive(box, tube)

    async def facts(self) -> dict[str, Any]:
        """What everybody's rights depend on."""
        said = [await self.ring.tube(tube) for tube in self.tubes]
        ids = {tube["id"] for tube in said}
        total = (await self.ring.progress())["total"]
        refused = (await self.ring.command.get("/testing/v1/samples/refused", params={"limit": 200})).json()["items"]
        retests = [one for one in await self.ring.retests() if one["pool_id"] in ids]
        return {
            "members": [{sample["id"] for sample in tube["samples"]} for tube in said],
            "states": [(tube["state"], tube["held"], tube["missing"]) for tube in said],
            "outcomes": [(tube["result"]["outcome"], tube["result"]["revision"]) for tube in said],
            "regular": [sum(sample["exception"] is None for sample in tube["samples"]) <= 5 for tube in said],
            "refused": {(one["sample_id"], one["reason"]) for one in refused if one["campaign_id"] == self.ring.id},
            "retests": sorted((one["resident_id"], one["state"]) for one in retests),
            "people": (total["sampled"], total["missing"], total["resulted"], total["positive"]),
        }

    def expected(self) -> dict[str, Any]:
        """The same, as one who saw it all would say it."""
        called = [swab["resident_id"] for inside in self.swabs[:2] for swab in inside]
        return {
            "members": [{swab["id"] for swab in inside} for inside in self.swabs],
            "states": [("resulted", False, 0)] * 3,
            "outcomes": [("positive", 2), ("positive", 1), ("negative", 1)],
            "regular": [True] * 3,
            "refused": {
                (self.forgotten["id"], "not_in_manifest"),
                (self.stranger["id"], "resident_unknown"),
            },
            "retests": sorted((resident, "called") for resident in called),
            "people": (12, 1, 3, 2),
        }


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(chance=st.randoms(use_true_random=False))
async def test_every_order_and_every_repetition_has_the_same_outcome(
    district: District, make_round: MakeRound, chance: Random
) -> None:
    await district.empty()
    people = await residents(district, 13)
    ring = await make_round()
    story = Story(ring, people, await ring.roll(3, capacity=5))
    events = story.events()
    shuffled = [event for event in events for _ in range(chance.choice((1, 1, 2)))]
    chance.shuffle(shuffled)
    for event in shuffled:
        await event()
    # Whoever was refused sends again, as devices do, until all has been said in an order that can be.
    for event in events:
        await event()
    expected = story.expected()
    assert await story.facts() == expected
    for event in reversed(events):
        await event()
    assert await story.facts() == expected
    await _the_feed_says_so_too(story)


async def _the_feed_says_so_too(story: Story) -> None:
    """The newest entry of each tube is the tube as it is; versions only grow."""
    newest: dict[str, dict[str, Any]] = {}
    for entry in await story.ring.feed():
        if entry["type"] == "testing.tube.v1":
            assert entry["version"] > newest.get(entry["subject"], {"version": 0})["version"]
            newest[entry["subject"]] = entry
    for number in story.tubes:
        tube = await story.ring.tube(number)
        said = json.loads(newest[tube["id"]]["data"])
        assert said["samples"] == tube["samples"]
        assert (said["state"], said["result"]["outcome"], said["held"]) == (
            tube["state"],
            tube["result"]["outcome"],
            tube["held"],
        )


@pytest.mark.parametrize("type_name", ["testing.campaign.v1", "testing.tube.v1", "testing.retest.v1"])
async def test_a_snapshot_says_what_the_feed_said_last(
    district: District, make_round: MakeRound, type_name: str
) -> None:
    people = await residents(district, 5)
    ring = await make_round()
    for outcome in ("positive", "negative", "invalid"):
        number, _ = await ring.filled(people[:1] if outcome == "invalid" else [people.pop()])
        await ring.report(ring.result_of(number, outcome))
    peer = district.caller("testing", Role.SERVICE, scope="")
    found: list[dict[str, Any]] = []
    while True:
        params = {"type": type_name, "limit": 2} | ({"after": found[-1]["id"]} if found else {})
        page = (await peer.get("/internal/snapshot", params=params)).json()
        if not page:
            break
        found += page
    newest = {entry["subject"]: json.loads(entry["data"]) for entry in await ring.feed() if entry["type"] == type_name}
    assert {one["id"]: one for one in found} == newest
    assert found


@pytest.mark.parametrize("microseconds", ["", ".5", ".120000", ".123456", ".000007"])
async def test_the_feed_writes_a_tube_as_its_model_would(
    district: District, make_round: MakeRound, microseconds: str
) -> None:
    """What a statement writes goes out unread: it must have every field, and say times as answers do."""
    people = await residents(district, 2)
    ring = await make_round()
    at = f"{minutes_ago(30):%Y-%m-%dT%H:%M:%S}{microseconds}+00:00"
    tube, _ = await ring.filled(people, sampled_at=at, offline=True)
    await ring.report(ring.result_of(tube, "negative", tested_at=at))
    data = (await ring.feed())[-1]["data"]
    assert data == Tube.model_validate_json(data).model_dump_json()
    assert json.loads(data) == await ring.tube(tube)
