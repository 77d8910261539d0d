"""The transition tables of tubes, boxes and rounds, through the API: every state with every move."""

from collections.abc import Awaitable, Callable
from itertools import product
from typing import Any

import pytest

from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.testing.conftest import MakeRound, Round, residents

TUBE_STATES = (
    "open",
    "sealed",
    "in_transit",
    "received",
    "resulted",
    "held_negative",
    "held_invalid",
    "held_positive",
    "held_inconclusive",
    "discarded",
)
"""The states of tubes. `held_…`: resulted, with an outcome that is held because a listed record is missing."""

TUBE_MOVES = ("seal", "depart", "receive", "report", "discard")

ALLOWED_FOR_TUBES = {
    ("open", "seal"): "sealed",
    ("open", "discard"): "discarded",
    ("sealed", "depart"): "in_transit",
    ("sealed", "receive"): "received",
    ("sealed", "discard"): "discarded",
    ("in_transit", "receive"): "received",
    ("in_transit", "discard"): "discarded",
    ("received", "report"): "resulted",
    ("received", "discard"): "discarded",
    ("resulted", "report"): "resulted",
    ("held_negative", "report"): "resulted",
    ("held_negative", "discard"): "discarded",
    ("held_invalid", "report"): "resulted",
    ("held_invalid", "discard"): "discarded",
    ("held_positive", "report"): "resulted",
    ("held_inconclusive", "report"): "resulted",
}

ALLOWED_FOR_BOXES = {
    ("packed", "pick-up"): "picked_up",
    ("packed", "depart"): "in_transit",
    ("packed", "receive"): "received",
    ("picked_up", "depart"): "in_transit",
    ("picked_up", "receive"): "received",
    ("in_transit", "receive"): "received",
    ("received", "receive"): "received",
}

ALLOWED_FOR_ROUNDS = {
    ("planned", "open"): "open",
    ("planned", "cancel"): "cancelled",
    ("open", "close"): "closed",
    ("open", "cancel"): "cancelled",
}


class TubeUnderTest:
    """A tube in a box of its own. `other_box` is a second box, in which the laboratory can find the tube as well."""

    def __init__(self, ring: Round) -> None:
        self.ring = ring
        self.number = ""
        self.swabs: list[dict[str, Any]] = []
        self.box: dict[str, Any] | None = None
        self.other_box: dict[str, Any] = {}
        self.revision = 0

    @classmethod
    async def in_state(cls, ring: Round, district: District, state: str) -> "TubeUnderTest":
        """Bring a new tube into a state through the API."""
        tube = cls(ring)
        first, second = await residents(district, 2)
        tube.number, other = await ring.roll(2)
        tube.swabs = [ring.swab(tube.number, first)]
        other_swab = ring.swab(other, second)
        assert {answer["status"] for answer in await ring.send(*tube.swabs, other_swab)} == {"kept"}
        await ring.seal(other, [other_swab])
        tube.other_box = await ring.box(other)
        if state.startswith("held"):
            tube.swabs.append({"id": str(new_id())})  # listed by the seal, and never sent
        if state != "open":
            await tube.seal()
            tube.box = await ring.box(tube.number)
        if state == "in_transit":
            await tube.depart()
        if state not in ("open", "sealed", "in_transit", "discarded"):
            await tube.receive()
        if state == "resulted" or state.startswith("held"):
            await tube.report("negative" if state == "resulted" else state.removeprefix("held_"))
        if state == "discarded":
            await tube.discard()
        stored = await tube.stored()
        assert stored["state"] == ("resulted" if state.startswith("held") else state)
        assert stored["held"] == state.startswith("held")
        return tube

    async def stored(self) -> dict[str, Any]:
        return await self.ring.tube(self.number)

    async def seal(self) -> None:
        await self.ring.seal(self.number, self.swabs)

    async def depart(self) -> None:
        if self.box is None:
            refused = await self.ring.sampler.post(
                "/testing/v1/boxes", json={"tube_numbers": [self.number], "laboratory": "lab-jinjiang"}
            )
            assert refused.json()["code"] == "box_tubes_unfit", refused.text
        else:
            await self.ring.sampler.post(f"/testing/v1/boxes/{self.box['id']}/depart")

    async def receive(self) -> None:
        await self.ring.receive(self.other_box, self.number)

    async def report(self, outcome: str = "negative") -> None:
        self.revision += 1
        await self.ring.report(self.ring.result_of(self.number, outcome, self.revision))

    async def discard(self) -> None:
        answer = await self.ring.sampler.post(
            f"/testing/v1/tubes/{(await self.stored())['id']}/discard", json={"reason": "lost"}
        )
        assert answer.status_code == 200 or answer.json()["code"] == "tube_move_forbidden", answer.text


@pytest.mark.parametrize("state", TUBE_STATES)
async def test_a_tube_makes_exactly_the_allowed_moves(district: District, make_round: MakeRound, state: str) -> None:
    ring = await make_round()
    for move in TUBE_MOVES:
        tube = await TubeUnderTest.in_state(ring, district, state)
        before = await tube.stored()
        act: Callable[[], Awaitable[None]] = getattr(tube, move)
        await act()
        after = await tube.stored()
        allowed = ALLOWED_FOR_TUBES.get((state, move))
        assert after["state"] == (allowed or before["state"]), move
        assert (after["version"] > before["version"]) == (allowed is not None), move


STEPS_TO_BOX = {"packed": [], "picked_up": ["pick-up"], "in_transit": ["depart"], "received": ["receive"]}


@pytest.mark.parametrize(("state", "move"), list(product(STEPS_TO_BOX, ("pick-up", "depart", "receive"))))
async def test_a_box_makes_exactly_the_allowed_moves(
    district: District, make_round: MakeRound, state: str, move: str
) -> None:
    ring = await make_round()
    [person] = await residents(district, 1)
    [tube] = await ring.roll()
    swab = ring.swab(tube, person)
    await ring.send(swab)
    await ring.seal(tube, [swab])
    box = await ring.box(tube)

    async def make(step: str) -> Any:
        client, body = (ring.lab, {"tube_numbers": [tube]}) if step == "receive" else (ring.sampler, None)
        return await client.post(f"/testing/v1/boxes/{box['id']}/{step}", json=body)

    for step in STEPS_TO_BOX[state]:
        await make(step)
    answer = await make(move)
    allowed = ALLOWED_FOR_BOXES.get((state, move))
    if allowed:
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == allowed
    else:
        assert (answer.status_code, answer.json()["code"]) == (409, "box_move_forbidden"), answer.text
        assert (await ring.sampler.get(f"/testing/v1/boxes/{box['id']}")).json()["state"] == state


STEPS_TO_ROUND = {"planned": [], "open": ["open"], "closed": ["open", "close"], "cancelled": ["cancel"]}


@pytest.mark.parametrize(("state", "move"), list(product(STEPS_TO_ROUND, ("open", "close", "cancel"))))
async def test_a_round_makes_exactly_the_allowed_moves(district: District, state: str, move: str) -> None:
    command = district.caller("testing", Role.COMMAND)
    new = {
        "name": "第一轮",
        "round": 1,
        "region": "350582005",
        "pool_size": 10,
        "opens_at": "2021-01-20T08:00:00+08:00",
        "closes_at": "2021-01-21T20:00:00+08:00",
    }
    path = f"/testing/v1/campaigns/{(await command.post('/testing/v1/campaigns', json=new)).json()['id']}"
    for step in STEPS_TO_ROUND[state]:
        await command.post(f"{path}/{step}")
    answer = await command.post(f"{path}/{move}")
    allowed = ALLOWED_FOR_ROUNDS.get((state, move))
    if allowed:
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == allowed
    else:
        assert (answer.status_code, answer.json()["code"]) == (409, "campaign_move_forbidden"), answer.text
        assert (await command.get(path)).json()["state"] == state
