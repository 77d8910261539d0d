"""Step 4: a service window, a clinic, and a computer behind the edge that only who was let in may reach."""

import asyncio
from dataclasses import dataclass
from typing import Any

from deploy.demo.parties import Party
from deploy.demo.pool import CODE
from deploy.demo.receiver import SampleService
from deploy.demo.world import World
from shared.ids import new_id

POINTS = "/gateway/v1/service-points"
VERIFICATIONS = "/gateway/v1/verifications"
RECEIPT = "X-Visit-Receipt"
BRIEFLY_SECONDS = 1
NORMAL_CELSIUS = 36.6


@dataclass(frozen=True)
class Window:
    """A place where a code is asked for, with the device of who keeps its door."""

    id: str
    region: str
    doorkeeper: Party

    async def scan(self, person: Party) -> Any:
        """Somebody shows their code, and the doorkeeper scans it."""
        token = (await person.get(CODE))["token"]
        scan = {"scan_id": str(new_id()), "token": token, "temperature_celsius": NORMAL_CELSIUS}
        return await self.doorkeeper.post(VERIFICATIONS, scan)


async def show_codes(world: World, service: SampleService, url: str) -> None:
    """A green, a yellow and a red code at a window, at its computer, and at a clinic."""
    plan, people = world.plan, world.people
    green, another = (people[index] for index in plan.bystanders)
    yellow, red = people[plan.family.home[0]], people[plan.family.positive]
    hall = await _open(world, "政务服务窗口", slug="hall", url=url)
    brief = await _open(world, "自助取号机", slug="kiosk", url=url, receipt_seconds=BRIEFLY_SECONDS)
    clinic = await _open(world, "发热门诊", slug="clinic", url=url, medical=True)
    passed = await _at_the_window(world, hall, green, yellow, red)
    receipt = passed.get("receipt", "")
    others = (await hall.scan(another)).get("receipt", "")
    short = (await brief.scan(green)).get("receipt", "")
    checks = world.checks
    checks.equal("with the receipt", (200, ""), await _ask(green, "hall", receipt))
    checks.equal("without it", (403, "receipt_needed"), await _ask(green, "hall", None))
    checks.equal("with another person's", (403, "receipt_invalid"), await _ask(green, "hall", others))
    checks.equal("with another window's", (403, "receipt_invalid"), await _ask(green, "hall", short))
    checks.equal("with one that is fresh", (200, ""), await _ask(green, "kiosk", short))
    await asyncio.sleep(BRIEFLY_SECONDS + 0.2)
    checks.equal("with one that has expired", (403, "receipt_expired"), await _ask(green, "kiosk", short))
    verdicts = [(await clinic.scan(one))["verdict"] for one in (green, yellow, red)]
    checks.equal("seeking care: green, yellow, red", ["pass"] * 3, verdicts)
    answers = [await _ask(one, "clinic", None) for one in (green, yellow, red)]
    checks.equal("the clinic's computer: green, yellow, red", [(200, "")] * 3, answers)
    checks.equal("requests that reached a computer", 5, len(service.served))


async def _open(world: World, name: str, *, slug: str, url: str, **wishes: Any) -> Window:
    raise NotImplementedError


async def _at_the_window(world: World, hall: Window, green: Party, yellow: Party, red: Party) -> Any:
    """Green passes and has a receipt; yellow and red are turned back, and only they are told why."""
    passed, *turned_back = [await hall.scan(one) for one in (green, yellow, red)]
    checks = world.checks
    checks.equal("green passes, with a receipt", ("pass", True), (passed["verdict"], "receipt" in passed))
    checks.equal("yellow and red", ["turn_back"] * 2, [answer["verdict"] for answer in turned_back])
    checks.equal("receipts for them", 0, sum("receipt" in answer for answer in turned_back))
    reasons = [[reason["rule"] for reason in (await one.get(CODE))["reasons"]] for one in (yellow, red)]
    checks.equal("their own codes say why", [["home_observation"], ["positive", "pool_pending"]], reasons)
    return passed


async def _ask(person: Party, slug: str, receipt: str | None) -> tuple[int, str]:
    """A request to a window's own computer, as the edge answers it: the status, and the problem's code."""
    raise NotImplementedError
