"""Public resources of the gateway: codes, fevers at service points, parties, and messages from other systems."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.resource import Resource

Colour = Literal["green", "yellow", "red"]


class Reason(BaseModel):
    """One rule that restricts a person, and the record that it is based on."""

    model_config = ConfigDict(frozen=True)

    rule: str
    colour: Colour
    evidence_type: str
    evidence_id: UUID
    since: datetime
    until: datetime | None = Field(default=None, description="When it ends by itself; null if only evidence ends it.")
    earliest_end: datetime | None = Field(
        default=None,
        description="The earliest time at which evidence can end it, if known: when an order's days are complete.",
    )


class Code(Resource, type="gateway.code.v1"):
    """A person's health code, computed from facts by the published policy. Nobody can set it.

    Its `id` is the id of the resident. From `until` on the colour is `colour_after`, and from `green_from` on it is
    green, without further events. The code does not contain the age of the last negative test. A service point that
    requires a recent test checks it separately.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "version": 2,
                    "region": "3505820050010101",
                    "colour": "yellow",
                    "until": None,
                    "colour_after": None,
                    "green_from": None,
                    "policy": 1,
                    "reasons": [
                        {
                            "rule": "pool_pending",
                            "colour": "yellow",
                            "evidence_type": "testing.tube.v1",
                            "evidence_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d12",
                            "since": "2021-01-21T09:30:00+08:00",
                            "until": None,
                        }
                    ],
                }
            ]
        }
    )

    colour: Colour
    until: datetime | None = None
    colour_after: Colour | None = None
    green_from: datetime | None = None
    reasons: tuple[Reason, ...] = ()
    policy: int = Field(description="The version of the policy that it was computed with.")


class DoorFever(Resource, type="gateway.fever.v1"):
    """A fever temperature, by the policy of the service point, measured when a code was shown there.

    Its `id` is the id of the scan. It never changes.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
                    "version": 1,
                    "region": "350582005001",
                    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "point_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e11",
                    "celsius": 38.4,
                    "measured_at": "2021-01-21T09:30:00+08:00",
                }
            ]
        }
    )

    resident_id: UUID
    point_id: UUID
    celsius: float
    measured_at: datetime = Field(description="By the clock of the device: the time in the id of the scan.")


class Party(Resource, type="gateway.party.v1"):
    """A registered laboratory, hospital, 120 centre or municipal system, with the name that others use for it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e40",
                    "version": 1,
                    "region": "350582005",
                    "role": "laboratory",
                    "party": "lab-jinjiang",
                    "state": "active",
                }
            ]
        }
    )

    role: Literal["laboratory", "desk_120", "hospital", "municipal"]
    party: str
    state: Literal["active", "ended"] = Field(description="Ended when its last client and hook source are removed.")


class Message(Resource, type="gateway.message.v1"):
    """A signed message from another system, exactly once. This system sets the sender; `kind` and `data` are theirs."""

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
                    "data": {"referral_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d21"},
                }
            ]
        }
    )

    source: Literal["desk_120", "hospital", "municipal"]
    party: str = Field(description="The registered name of the sender.")
    message_id: str
    kind: str
    occurred_at: datetime = Field(description="By the sender's clock, which orders its messages.")
    received_at: datetime
    data: dict[str, Any] = Field(
        description="The published part of the sender's fields: `referral_id`, `region`, `hospital` and small numbers."
    )
