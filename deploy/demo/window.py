"""Step 4: a service window, a clinic, and a computer behind the edge that only admitted people can reach."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from deploy.demo.parties import Party, Refused
from deploy.demo.pool import CODE
from deploy.demo.receiver import SampleService
from deploy.demo.world import World
from shared.core.ids import new_id

POINTS = "/gateway/v1/service-points"
VERIFICATIONS = "/gateway/v1/verifications"
RECEIPT = "X-Visit-Receipt"
BRIEFLY_SECONDS = 2
WEEK_HOURS = 168
NORMAL_CELSIUS = 36.6


@dataclass(frozen=True)
class Window:
    """A service point with the device of its doorkeeper."""

    doorkeeper: Party

    async def scan(self, person: Party) -> Any:
        """Somebody shows their code, and the doorkeeper scans it."""
        token = (await person.get(CODE))["token"]
        scan = {"scan_id": str(new_id()), "token": token, "temperature_celsius": NORMAL_CELSIUS}
        return await self.doorkeeper.post(VERIFICATIONS, scan)


async def show_codes(world: World, service: SampleService, url: str) -> None:
    """A green, a yellow and a red code at a window, at its computer, and at a clinic."""
    plan, people, checks = world.plan, world.people, world.checks
    green, another = (people[index] for index in plan.bystanders)
    yellow, red = people[plan.family.home[0]], people[plan.family.positive]
    hall = await _open(world, "hall", url, {"name": "便民服务中心1号窗口", "negative_within_hours": WEEK_HOURS})
    kiosk = await _open(world, "kiosk", url, {"name": "自助取号机", "receipt_seconds": BRIEFLY_SECONDS})
    clinic = await _open(world, "clinic", url, {"name": "发热门诊", "medical": True})
    receipt = await _at_the_window(world, hall, green, yellow, red)
    foreign = (await hall.scan(another)).get("receipt")
    checks.equal("its computer, with the receipt", "200", await _ask(green, "hall", receipt))
    checks.equal("its computer, without it", "403 receipt_missing", await _ask(green, "hall", None))
    checks.equal("its computer, with another person's", "403 receipt_foreign", await _ask(green, "hall", foreign))
    brief = (await kiosk.scan(green)).get("receipt")
    checks.equal("the kiosk, with a fresh receipt", "200", await _ask(green, "kiosk", brief))
    checks.equal("the window, with the kiosk's receipt", "403 receipt_foreign", await _ask(green, "hall", brief))
    await asyncio.sleep(BRIEFLY_SECONDS)
    checks.equal("the kiosk, with an expired receipt", "403 receipt_expired", await _ask(green, "kiosk", brief))
    everybody = (green, yellow, red)
    verdicts = [(await clinic.scan(one))["verdict"] for one in everybody]
    checks.equal("seeking care: green, yellow, red", ["pass"] * 3, verdicts)
    answers = [await _ask(one, "clinic", None) for one in everybody]
    checks.equal("the clinic's computer: green, yellow, red", ["200"] * 3, answers)
    reached = Counter(service.served)
    checks.equal("requests that reached a computer", Counter({"/clinic/": 3, "/hall/": 1, "/kiosk/": 1}), reached)


async def _open(world: World, slug: str, url: str, wishes: dict[str, Any]) -> Window:
    """The command opens a service point that protects a computer, and gives its doorkeeper a device."""
    region = world.plan.pool.community
    body = {"region": region, "passes": ["green"], "slug": slug, "upstream_url": f"{url}/{slug}/", **wishes}
    point = await world.command.post(POINTS, body, once=True)
    return Window(await world.parties.machine("doorkeeper", point["id"], region))


async def _at_the_window(world: World, hall: Window, green: Party, yellow: Party, red: Party) -> str | None:
    """Green passes and has a receipt; yellow and red are turned back, and only they are told why."""
    passed, *turned_back = [await hall.scan(one) for one in (green, yellow, red)]
    checks = world.checks
    checks.equal("green passes, with a receipt", ("pass", True), (passed["verdict"], "receipt" in passed))
    checks.equal("yellow and red", ["turn_back"] * 2, [answer["verdict"] for answer in turned_back])
    leaks = sum("receipt" in answer or "why" in answer for answer in turned_back)
    checks.equal("receipts for them, or reasons for the door", 0, leaks)
    reasons = [[reason["rule"] for reason in (await one.get(CODE))["reasons"]] for one in (yellow, red)]
    checks.equal("their own codes say why", [["home_observation"], ["positive"]], reasons)
    receipt: str | None = passed.get("receipt")
    return receipt


async def _ask(person: Party, slug: str, receipt: str | None) -> str:
    """A request to a protected computer, as the edge answers it: the status, and the problem's code."""
    try:
        await person.send("GET", f"/services/{slug}/", headers={RECEIPT: receipt} if receipt else {})
    except Refused as refused:
        return f"{refused.status} {refused.code}"
    return "200"
