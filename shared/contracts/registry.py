"""Public resources of the registry: regions, residents, proxies, holds. No names, numbers, phones or addresses."""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.resource import Resource
from shared.core.regions import Level

TagKind = Literal["pregnant", "dependent", "child", "elder"]


class Region(Resource, type="registry.region.v1"):
    """A node of the region tree. Its `region` is its own code."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "7f5f3a6e-3f0c-5d0e-9d53-0d7a3f1f6a01",
                    "version": 1,
                    "region": "350582005",
                    "name": "新塘街道",
                    "level": "township",
                }
            ]
        }
    )

    name: str
    level: Level
    valid_from: date | None = Field(default=None, description="The first day of its existence, if known.")
    valid_until: date | None = Field(
        default=None, description="The last day of its existence, if it was withdrawn. Old ID numbers still contain it."
    )


class Tag(BaseModel):
    """Membership of a key population (article 3). The days are in Asia/Shanghai, and both are included."""

    model_config = ConfigDict(frozen=True)

    kind: TagKind
    valid_from: date | None = None
    valid_until: date | None = None

    def holds_on(self, day: date) -> bool:
        """Whether the tag is valid on a day."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_until is None or day <= self.valid_until
        )


class Resident(Resource, type="registry.resident.v1"):
    """The part of a resident that other services may know. `region` is where they live: a grid or a community."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "version": 3,
                    "region": "3505820050010101",
                    "state": "active",
                    "household_id": "2c1d8a51-8b0e-5f0a-8c7d-6b1e0f6f4a10",
                    "tags": [{"kind": "child", "valid_from": None, "valid_until": "2027-03-01"}],
                }
            ]
        }
    )

    state: Literal["active", "closed"]
    household_id: UUID | None = Field(description="The same for all people of one household.")
    tags: tuple[Tag, ...] = ()


class LegalHold(Resource, type="registry.legal_hold.v1"):
    """A hold on a person's data, which retention must not remove before `until`. `region` is the person's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2dc1",
                    "version": 1,
                    "region": "3505820050010101",
                    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "until": "2022-01-20T00:00:00+08:00",
                    "state": "active",
                }
            ]
        }
    )

    resident_id: UUID
    until: datetime
    state: Literal["active", "released"]


class Proxy(Resource, type="registry.proxy.v1"):
    """A guardian's right to act for a dependant, for example to show their code. `region` is the dependant's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d55",
                    "version": 1,
                    "region": "350582005001",
                    "guardian_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "dependant_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d12",
                    "state": "active",
                }
            ]
        }
    )

    guardian_id: UUID
    dependant_id: UUID
    state: Literal["active", "ended"]
