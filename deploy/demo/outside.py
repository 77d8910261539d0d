"""Step 5: webhooks inform the city, and the 120 desk reports how the patient gets to hospital."""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from standardwebhooks import Webhook

from deploy.demo.pool import orders_expected
from deploy.demo.population import TOWNSHIP
from deploy.demo.receiver import Municipality
from deploy.demo.world import DESK, World
from shared.core.ids import new_id

WEBHOOKS = "/gateway/v1/webhooks"
OF_THE_TOWNSHIP = ("observation.order.v1", "observation.referral.v1", "testing.campaign.v1", "testing.retest.v1")
OF_THE_GRID = ("gateway.code.v1", "testing.tube.v1")
TOWNSHIP_PATH, GRID_PATH = "/township", "/grid"
HOSPITAL = "晋江市医院"


@dataclass
class CityMonitor:
    """The city's subscriptions: few types of a whole township, many of the grid with the pool."""

    city: Municipality

    async def orders(self) -> dict[str, str]:
        """Who is observed, and where."""
        held = self.city.latest(TOWNSHIP_PATH, "observation.order.v1")
        return {order["resident_id"]: order["kind"] for order in held if order["state"] == "open"}

    async def referrals(self) -> dict[str, str]:
        """Who is referred, and how far."""
        held = self.city.latest(TOWNSHIP_PATH, "observation.referral.v1")
        return {referral["resident_id"]: referral["state"] for referral in held}

    async def retests(self) -> Counter[str]:
        """How the retests came out."""
        return Counter(retest["outcome"] for retest in self.city.latest(TOWNSHIP_PATH, "testing.retest.v1"))

    async def colours(self) -> dict[str, str]:
        """The colour of everybody in the grid whose colour ever changed."""
        return {code["id"]: code["colour"] for code in self.city.latest(GRID_PATH, "gateway.code.v1")}

    async def tubes(self) -> Counter[str]:
        """The results of the grid's tubes."""
        held = self.city.latest(GRID_PATH, "testing.tube.v1")
        return Counter(tube["result"]["outcome"] if tube["result"] else tube["state"] for tube in held)

    def strangers(self, grid: str) -> int:
        """Events that the city did not ask for."""
        expected = {TOWNSHIP_PATH: (OF_THE_TOWNSHIP, TOWNSHIP), GRID_PATH: (OF_THE_GRID, grid)}
        return sum(
            one.event["type"] not in expected[path][0] or not one.event["data"]["region"].startswith(expected[path][1])
            for path, received in self.city.received.items()
            for one in received
        )


async def city_subscribes(world: World, city: Municipality, url: str) -> CityMonitor:
    """Register two endpoints of the city, each with its own secret."""
    municipality = await world.parties.machine("municipal", "jinjiang", TOWNSHIP)
    for path, types, region in (
        (TOWNSHIP_PATH, OF_THE_TOWNSHIP, TOWNSHIP),
        (GRID_PATH, OF_THE_GRID, world.plan.pool.grid),
    ):
        made = await municipality.post(WEBHOOKS, {"url": url + path, "types": types, "region": region}, once=True)
        city.secrets[path] = made["secret"]
    return CityMonitor(city)


async def desk_reports(world: World, referral: Any) -> None:
    """Post the events of the 120 desk: out of order, twice, and once with a wrong signature."""
    body = {"source": DESK, "party": DESK, "region": TOWNSHIP}
    # A party is known in every region, so a commander of all regions registers it.
    whole = await world.parties.staff("command", "")
    source = await whole.post("/gateway/v1/hook-sources", body, once=True)
    desk = Desk(world, Webhook(source["secret"]), referral["id"])
    forger = Desk(world, Webhook("whsec_" + "QUFB" * 11), referral["id"])
    began = datetime.now(UTC)
    dispatched, on_board, handed_over = (
        desk.event(kind, began + timedelta(seconds=place))
        for place, kind in enumerate(("dispatched", "on_board", "handed_over"))
    )
    answers = [
        await forger.post(forger.event("handed_over", began)),
        await desk.post(on_board),
        await desk.post(on_board),
        await desk.post(dispatched),
        await desk.post(dispatched),
    ]
    world.checks.equal("a forged, two true ones, each of these again", [401, 202, 200, 202, 200], answers)
    await world.await_value("on board, told before dispatched", ("on_board", True, True, False), desk.state)
    world.checks.equal("handed over", 202, await desk.post(handed_over))
    await world.await_value("the referral in the end", ("handed_over", True, True, True), desk.state)
    messages = await world.command.get("/observation/v1/messages")
    states = Counter(item["state"] for item in messages["items"])
    world.checks.equal("messages that had an effect", Counter(applied=3), states)
    true = {"dispatched": dispatched.at, "on_board": on_board.at, "handed_over": handed_over.at}
    world.checks.each("its times are the desk's", true, await desk.times())


@dataclass(frozen=True)
class DeskEvent:
    """One event of the desk, the same however often it is sent."""

    message_id: str
    at: datetime
    body: str


@dataclass(frozen=True)
class Desk:
    """The 120 desk's computer, and the secret it signs with."""

    world: World
    signer: Webhook
    referral_id: str

    def event(self, kind: str, at: datetime) -> DeskEvent:
        """Something that happened on the way."""
        data = {"referral_id": self.referral_id, "crew": "晋江120-3", "hospital": HOSPITAL}
        body = {"type": f"referral.{kind}", "timestamp": at.isoformat(), "data": data}
        return DeskEvent(f"msg_{new_id().hex}", at, json.dumps(body, ensure_ascii=False))

    async def post(self, event: DeskEvent) -> int:
        """Send an event, signed; the status it is answered with."""
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": event.message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self.signer.sign(event.message_id, now, event.body),
        }
        client = self.world.parties.client
        answer = await client.post(f"/gateway/v1/hooks/{DESK}", content=event.body.encode(), headers=headers)
        return answer.status_code

    async def state(self) -> tuple[str, bool, bool, bool]:
        """Where the referral is, and which of its times are known."""
        return (await self._referral())["state"], *(time is not None for time in await self._known())

    async def times(self) -> dict[str, datetime | None]:
        """When each stage was reached."""
        stages = ("dispatched", "on_board", "handed_over")
        known = await self._known()
        return {
            stage: datetime.fromisoformat(time) if time else None for stage, time in zip(stages, known, strict=True)
        }

    async def _known(self) -> tuple[str | None, str | None, str | None]:
        referral = await self._referral()
        return referral["dispatched_at"], referral["on_board_at"], referral["handed_over_at"]

    async def _referral(self) -> Any:
        return await self.world.command.get(f"/observation/v1/referrals/{self.referral_id}")


async def city_knows(world: World, watching: CityMonitor) -> None:
    """Check that the city's data, built only from verified webhooks, matches the real state."""
    checks, plan, grid = world.checks, world.plan, world.plan.pool.grid
    touched = sorted({*plan.pool.people, *plan.family.others})
    colours = {world.residents[index]: world.expectation.colour(index) for index in touched}
    tubes = sum(tube.grid == grid for tube in plan.all_tubes) + len(plan.pool.people)
    await world.await_states("city: orders", orders_expected(world), watching.orders)
    await world.await_states(
        "city: referrals", {world.residents[plan.family.positive]: "handed_over"}, watching.referrals
    )
    await world.await_value("city: retests", Counter(negative=len(plan.pool.people) - 1, positive=1), watching.retests)
    await world.await_states("city: colours that changed", colours, watching.colours)
    await world.await_value("city: tubes of the pool's grid", Counter(negative=tubes - 2, positive=2), watching.tubes)
    checks.equal("city: signatures that were wrong", 0, watching.city.refused)
    checks.equal("city: events of elsewhere", 0, watching.strangers(grid))
