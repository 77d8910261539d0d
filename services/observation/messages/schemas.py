"""Responses of messages."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from shared.contracts.resource import Schema


class KeptMessage(Schema):
    """A message of the 120 desk or a hospital, and whether it changed its referral."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d31",
                    "region": "350582005001",
                    "source": "desk_120",
                    "message_id": "msg_2021_000123",
                    "kind": "referral.left",
                    "referral_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d21",
                    "occurred_at": "2021-01-21T09:20:00+08:00",
                    "received_at": "2021-01-21T09:20:03+08:00",
                    "state": "rejected",
                    "reason": "transition_forbidden",
                }
            ]
        }
    )

    id: UUID
    region: str
    source: str
    message_id: str
    kind: str
    referral_id: UUID | None = Field(description="The referral named in the message, if any.")
    occurred_at: datetime = Field(description="By the sender's own clock.")
    received_at: datetime
    state: Literal["applied", "rejected"]
    reason: str | None = Field(
        description="Why it was rejected: `kind_unknown`, `wrong_sender`, `clock_ahead`, `referral_missing`, "
        "`referral_unknown`, `referral_closed`, `transition_forbidden` or `not_their_patient`."
    )
