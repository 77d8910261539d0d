"""Verifications and visits: request and response bodies."""

from datetime import datetime
from typing import Annotated, Literal, NotRequired
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from shared.contracts.gateway import Colour
from shared.crypto.code_tokens import LONGEST

VerdictName = Literal["pass", "register", "turn_back"]
WhyName = Literal["in_order", "colour", "fever", "negative_missing", "unknown_person"]


class Verification(BaseModel):
    """A code that a person shows at the caller's service point."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "scan_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
                    "token": "FX1.JHFQ3wEBjzweejt8wZpVC48_Hi0RYAnjAAEAAAAAYAnQyA…",
                    "temperature_celsius": 36.5,
                }
            ]
        },
    )

    scan_id: UUID = Field(
        description="A UUIDv7 that the device generates. Use the same id when you send the same scan again.",
        json_schema_extra={
            "pattern": "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$"
        },
    )
    token: Annotated[str, Field(min_length=1, max_length=LONGEST)] = Field(description="Content of the QR code.")
    temperature_celsius: Annotated[float, Field(ge=30, le=45, allow_inf_nan=False)] | None = None


@with_config(
    ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "scan_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
                    "verdict": "pass",
                    "word": "放行",
                    "decided_at": "2021-01-21T01:30:00Z",
                    "receipt": "FXR.…",
                    "receipt_expires_at": "2021-01-21T01:40:00Z",
                }
            ]
        }
    )
)
class Verified(TypedDict):
    """The verdict. With a receipt if the person passes, and with the reason unless the caller is a doorkeeper."""

    scan_id: UUID
    verdict: str
    word: Annotated[str, Field(description="The verdict in the language of `Accept-Language`, to show on the device.")]
    decided_at: datetime
    receipt: NotRequired[str]
    receipt_expires_at: NotRequired[datetime]
    why: NotRequired[str]


class ScanFound(BaseModel):
    """Whose code was scanned at a point, in which region and when. For internal services."""

    model_config = ConfigDict(frozen=True)

    resident_id: UUID
    region: str
    at: datetime


class Visit(BaseModel):
    """The record of one verification: person, point, time, verdict and reason. A door never sees the reason."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "scan_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
                    "at": "2021-01-21T01:30:00Z",
                    "point_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e11",
                    "point_name": "街道便民服务中心 1 号窗口",
                    "region": "350582005001",
                    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "shown_by": None,
                    "colour": "yellow",
                    "verdict": "turn_back",
                    "why": "colour",
                    "temperature_celsius": 36.5,
                    "decided_at": "2021-01-21T01:30:00Z",
                }
            ]
        },
    )

    scan_id: UUID
    at: datetime = Field(description="When the device scanned the code.")
    point_id: UUID
    point_name: str
    region: str
    resident_id: UUID
    shown_by: UUID | None = Field(description="The guardian who showed the code; null if the person showed it.")
    colour: Colour | None = Field(description="The colour at that instant; null for an unknown person.")
    verdict: VerdictName
    why: WhyName
    temperature_celsius: float | None
    decided_at: datetime
