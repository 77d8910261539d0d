"""Households under observation, what is swabbed of them, and what a second person decides."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx

from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.observation.feeds import publish_to_observation, resident, tube


@dataclass
class Home:
    """A household: somebody who will be positive, and those who live with them."""

    id: UUID = field(default_factory=new_id)
    case: UUID = field(default_factory=new_id)
    adult: UUID = field(default_factory=new_id)
    child: UUID = field(default_factory=new_id)
    mother: UUID = field(default_factory=new_id)
    elder: UUID = field(default_factory=new_id)

    @property
    def others(self) -> list[UUID]:
        return [self.adult, self.child, self.mother, self.elder]

    def residents(self) -> list[Any]:
        return [
            resident(self.case, self.id),
            resident(self.adult, self.id),
            resident(self.child, self.id, "child"),
            resident(self.mother, self.id, "pregnant"),
            resident(self.elder, self.id, "elder", "dependent"),
        ]


async def swab(district: District, who: UUID, *days: int) -> None:
    """Negative single tubes on so many days from now, told on those days."""
    begin = clock.now()
    for day in days:
        await publish_to_observation(
            district, tube(new_id(), [who], "negative", sampled_at=begin + timedelta(days=day))
        )


async def approve(district: District, proposed: httpx.Response) -> httpx.Response:
    """Let somebody of the command approve what was proposed."""
    assert proposed.status_code == 201, proposed.text
    command = district.caller("observation", Role.COMMAND, scope="350582005", subject="commander")
    decision = {"content_hash": proposed.json()["content_hash"], "reason": "同意"}
    return await command.post(f"/observation/v1/proposals/{proposed.json()['id']}/approve", json=decision)
