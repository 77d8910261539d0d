"""The operations that a path needs. If one is missing, the path is reported as not measured, not as a figure."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from deploy.demo.parties import Parties
from shared.core.settings import SERVICES

TIMES = 10
AGAIN_SECONDS = 6.0
"""Longer than the gateway waits before it fetches a missing document again."""


class Missing(Exception):  # noqa: N818 - a finding, not an error
    """An operation that the installation does not have."""


@dataclass(frozen=True)
class Operations:
    """All operations of an installation, as `POST /gateway/v1/verifications`."""

    known: Collection[str]

    @classmethod
    async def of(cls, parties: Parties) -> "Operations":
        """Ask the gateway for its OpenAPI document; again, while a service that has only just begun is not in it."""
        for _ in range(TIMES):
            paths = (await parties.client.get("/openapi.json")).raise_for_status().json()["paths"]
            if {path.split("/")[1] for path in paths} >= set(SERVICES):
                break
            await asyncio.sleep(AGAIN_SECONDS)
        return cls({f"{method.upper()} {path}" for path, methods in paths.items() for method in methods})

    def require(self, *operations: str) -> None:
        """Raise `Missing` if one of them is not there."""
        for operation in operations:
            if operation not in self.known:
                raise Missing(f"there is no {operation} yet")
