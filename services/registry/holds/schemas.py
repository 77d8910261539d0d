"""Requests and responses of legal holds."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field

from shared.contracts.resource import Schema

ASKED: dict[str, Any] = {
    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
    "reason": "（2021）闽0582民初1号 调取证据",
    "ordered_by": "晋江市人民法院",
    "until": "2022-01-20T00:00:00+08:00",
}


class NewHold(Schema):
    """A legal hold to create: the person, the end, and the authority that ordered it."""

    model_config = ConfigDict(json_schema_extra={"examples": [ASKED]})

    resident_id: UUID
    reason: str = Field(min_length=1, max_length=1_000)
    ordered_by: str = Field(min_length=1, max_length=200, description="The court or authority.")
    until: AwareDatetime


class Hold(Schema):
    """A legal hold: a person's data must not be deleted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **ASKED,
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2dc1",
                    "version": 1,
                    "region": "3505820050010101",
                    "state": "active",
                    "created_at": "2021-02-01T09:00:00+08:00",
                    "released_at": None,
                }
            ]
        }
    )

    id: UUID
    version: int
    region: str
    resident_id: UUID
    until: datetime
    state: Literal["active", "released"]
    reason: str
    ordered_by: str
    created_at: datetime
    released_at: datetime | None
