"""A service window, the device of its doorkeeper, and people who show their codes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from deploy.bench.generator import request
from deploy.bench.site import TOKEN_SECONDS, Site
from deploy.demo.parties import Party
from deploy.demo.population import TOWNSHIP
from services.gateway.codes.policy import Colour
from services.gateway.tokens.keys import Keys
from services.gateway.tokens.rules import Subject, issue
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.core.regions import range_of

POINTS = "/gateway/v1/service-points"
VERIFICATIONS = "/gateway/v1/verifications"
NEEDS = (f"POST {POINTS}", f"POST {VERIFICATIONS}")
CELSIUS = 36.6


@dataclass(frozen=True)
class Window:
    """A service point and its device."""

    point_id: str
    token: str
    site: Site

    def scan(self, code: str) -> bytes:
        """Return the request of the device after a person has shown this code."""
        body = {"scan_id": str(new_id()), "token": code, "temperature_celsius": CELSIUS}
        headers = {"authorization": f"Bearer {self.token}", "accept-language": "en"}
        return request("POST", VERIFICATIONS, headers, msgspec.json.encode(body))

    def scans(self, codes: Sequence[str]) -> Iterator[bytes]:
        """Yield scans without end, of one person after the other."""
        head, body = self.scan(codes[0]).split(b"\r\n\r\n", 1)
        scan = msgspec.json.decode(body)
        before, _, after = body.partition(scan["scan_id"].encode())
        parts = [after.replace(codes[0].encode(), code.encode()) for code in codes]
        start = head + b"\r\n\r\n" + before
        while True:
            for part in parts:
                yield b"%b%b%b" % (start, str(new_id()).encode(), part)

    def codes_of(self, people: Sequence[UUID]) -> list[str]:
        """Return the codes that these people's phones show now: all green, and valid for at least a minute."""
        key = Keys.from_files(self.site.installation.directory.keys / "gateway").current
        now = datetime.now(UTC)
        return [issue(Subject(person, Colour.GREEN, None, None, now), key, now) for person in people]


async def open_window(site: Site, command: Party) -> Window:
    """Open a window for people with a green code and a negative test in the last week."""
    body: dict[str, Any] = {"name": "便民服务中心", "region": TOWNSHIP, "negative_within_hours": 168}
    point = await command.post(POINTS, body, once=True)
    actor = Actor("bench:door", Role.DOORKEEPER, range=range_of(TOWNSHIP), party=point["id"])
    return Window(point["id"], site.issuer.issue(actor, TOWNSHIP, TOKEN_SECONDS), site)


def current_code_requests(site: Site, people: Sequence[UUID]) -> list[bytes]:
    """Return requests in which each of these people looks at their own code."""
    issuer = site.issuer

    def ask(person: UUID) -> bytes:
        token = issuer.issue(Actor(f"resident:{person}", Role.RESIDENT, residents=(person,)), None, TOKEN_SECONDS)
        return request("GET", "/gateway/v1/code", {"authorization": f"Bearer {token}"})

    return [ask(person) for person in people]


def verdict_of(body: bytes) -> str:
    """Return the verdict in an answer."""
    return str(msgspec.json.decode(body)["verdict"])
