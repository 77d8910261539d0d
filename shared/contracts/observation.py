"""What observation says in public: orders and referrals."""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.resource import Resource

OrderKind = Literal["central", "home", "monitoring"]
OrderState = Literal["open", "ended", "withdrawn"]
ReferralReason = Literal["fever", "positive"]
ReferralState = Literal[
    "reported", "dispatched", "on_board", "handed_over", "ruled_out", "admitted", "confirmed", "cancelled", "left"
]


class Order(Resource, type="observation.order.v1"):
    """Why and how long a person is observed (article 10). `region` is where the person lives.

    `evidence` is the record the order follows from: no evidence, no order.
    """

    resident_id: UUID
    kind: OrderKind
    state: OrderState
    protocol: int = Field(description="The version of the protocol it was opened under, and keeps.")
    evidence_type: str
    evidence_id: UUID
    day_0: date = Field(description="The day of last exposure; day 1 is the day after.")
    opened_at: datetime
    ends_at: datetime = Field(description="When its days are complete, by Asia/Shanghai days.")
    ended_at: datetime | None = None


class Referral(Resource, type="observation.referral.v1"):
    """One person's way to a hospital that has a fever clinic (article 2). `region` is where it was reported."""

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
