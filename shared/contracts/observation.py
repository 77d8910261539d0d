"""Public resources of observation: orders and referrals."""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from shared.contracts.resource import Resource

OrderKind = Literal["central", "home", "monitoring"]
OrderState = Literal["open", "ended", "withdrawn"]
ReferralReason = Literal["fever", "positive"]
ReferralState = Literal[
    "reported", "dispatched", "on_board", "handed_over", "ruled_out", "admitted", "confirmed", "cancelled", "left"
]


class Order(Resource, type="observation.order.v1"):
    """A person's medical observation: why and how long (article 10). `region` is where the person lives.

    `evidence` is the record that the order is based on. There is no order without evidence.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d51",
                    "version": 1,
                    "region": "3505820050010101",
                    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "kind": "home",
                    "state": "open",
                    "protocol": 1,
                    "evidence_type": "testing.tube.v1",
                    "evidence_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d61",
                    "day_0": "2021-01-21",
                    "opened_at": "2021-01-21T10:12:00+08:00",
                    "ends_at": "2021-02-05T00:00:00+08:00",
                    "ended_at": None,
                }
            ]
        }
    )

    resident_id: UUID
    kind: OrderKind
    state: OrderState
    protocol: int = Field(description="The version of the protocol when it was opened. It does not change.")
    evidence_type: str
    evidence_id: UUID
    day_0: date = Field(description="The day of the last exposure; day 1 is the next day.")
    opened_at: datetime
    ends_at: datetime = Field(description="When its days are complete, counted in Asia/Shanghai.")
    ended_at: datetime | None = None


class Referral(Resource, type="observation.referral.v1"):
    """A person's referral to a hospital with a fever clinic (article 2). `region` is where it was reported."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d21",
                    "version": 2,
                    "region": "350582005001",
                    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d12",
                    "reason": "positive",
                    "state": "dispatched",
                    "evidence_type": "testing.tube.v1",
                    "evidence_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d61",
                    "reported_at": "2021-01-21T10:12:00+08:00",
                    "dispatched_at": "2021-01-21T10:20:00+08:00",
                    "on_board_at": None,
                    "handed_over_at": None,
                    "closed_at": None,
                    "overdue_at": None,
                }
            ]
        }
    )

    resident_id: UUID
    reason: ReferralReason
    state: ReferralState
    evidence_type: str | None = None
    evidence_id: UUID | None = None
    reported_at: datetime
    dispatched_at: datetime | None = None
    on_board_at: datetime | None = None
    handed_over_at: datetime | None = None
    closed_at: datetime | None = None
    overdue_at: datetime | None = Field(
        default=None, description="Since when the current stage exceeds the time that the protocol allows."
    )
