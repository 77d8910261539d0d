"""Hooks: request and response bodies."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shared.contracts.gateway import Message
from shared.contracts.parties import fault_of
from shared.contracts.resource import Schema
from shared.contracts.times import Instant
from shared.core.actors import Role
from shared.problems import Invalid, LocalizedText

Region = Annotated[str, Field(pattern=r"^[0-9]{2,16}$", description="Region code.")]

EXAMPLE_SOURCE: dict[str, Any] = {"source": "hospital", "party": "hospital-jinjiang", "region": "350582"}
EXAMPLE_HELD: dict[str, Any] = {
    "id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
    "version": 1,
    "last_message_at": None,
    **EXAMPLE_SOURCE,
}
EXAMPLE_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - nobody's
EXAMPLE_POST: dict[str, Any] = {
    "type": "referral.dispatched",
    "timestamp": "2021-01-20T08:30:00+08:00",
    "data": {"referral_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10", "crew": "晋江120-3"},
}


class NewHookSource(Schema):
    """A system to register as a sender of messages."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_SOURCE]})

    source: Literal["desk_120", "hospital", "municipal"]
    party: str = Field(min_length=1, max_length=100, description="The party of the system, as in its tokens.")
    region: Region

    @model_validator(mode="after")
    def _party_is_well_formed(self) -> Self:
        if fault := fault_of(Role.named(self.source), self.party):
            raise Invalid("party_malformed", fault[0], **fault[1])
        return self


class HookSource(Schema):
    """A system that may send messages to `/gateway/v1/hooks/{source}`."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_HELD]})

    id: UUID
    version: int
    region: str
    source: Literal["desk_120", "hospital", "municipal"]
    party: str
    last_message_at: datetime | None


class HookSourceMade(HookSource):
    """A source with its signing secret, which is shown only once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**EXAMPLE_HELD, "secret": EXAMPLE_SECRET}]})

    secret: str = Field(description="Secret for Standard Webhooks: `whsec_` and base64.")


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "maxLength": 100, "description": description}


DATA: dict[str, Any] = {
    "properties": {
        "referral_id": {"type": "string", "format": "uuid", "description": "For all `referral.…`: the referral."},
        "hospital": _text("For `referral.dispatched` to `referral.handed_over`: the party of the receiving hospital."),
        "region": {"type": "string", "pattern": "^[0-9]{2,16}$", "description": "Region of the event."},
        "crew": _text("For `referral.dispatched`: the crew."),
        "vehicle": _text("For `referral.dispatched`: the vehicle."),
        "bed": {"type": "integer", "description": "For `referral.admitted`: the bed."},
    },
    "additionalProperties": True,
}
"""The fields that this system uses, with the types they belong to. Other fields are only stored."""


class Posted(BaseModel):
    """The body of a Standard Webhooks message. Other fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"examples": [EXAMPLE_POST]})

    type: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$", max_length=100)
    timestamp: Instant = Field(description="When the event happened, by the sender's clock.")
    data: dict[str, Any] = Field(
        description="Data of the event, stored up to 32 KiB. Only `referral_id`, `region`, `hospital` and small "
        "numbers are published. All other fields are encrypted; only the sender and the officers of the region can "
        "read them.",
        json_schema_extra=DATA,
    )

    @field_validator("timestamp")
    @classmethod
    def _is_of_our_times(cls, value: datetime) -> datetime:
        if not 2000 <= value.year <= 2200:
            raise Invalid(
                "timestamp_absurd",
                LocalizedText(zh="时间应在 2000 年至 2200 年之间", en="The year must be from 2000 to 2200"),
            )
        return value


class MessageShown(Message):
    """A message for its sender and for staff, with the fields that are not published."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
                    "version": 1,
                    "region": "350582005001",
                    "source": "desk_120",
                    "party": "desk_120",
                    "message_id": "msg_2021_000123",
                    "kind": "referral.dispatched",
                    "occurred_at": "2021-01-21T10:20:00+08:00",
                    "received_at": "2021-01-21T10:20:03+08:00",
                    "data": {"referral_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d21", "crew": "晋江120-3"},
                    "left_out": [],
                }
            ]
        }
    )

    data: dict[str, Any] = Field(json_schema_extra=DATA)
    left_out: list[str] = Field(description="Names of fields of `data` that were too large to store.")


class Received(BaseModel):
    """A message that is stored durably."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"}]})

    id: UUID
