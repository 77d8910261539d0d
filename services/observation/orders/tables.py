"""Tables of orders: the observation of exposed people."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Date, Index, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from services.observation.base import Row
from shared.contracts.observation import Order, OrderKind, OrderState
from shared.database.rows import Code

MOST_EXTRA_DAYS = 60
"""Most days by which an order can be extended in total."""


class OrderRow(Row):
    """One order. A person has at most one open order, based on the last exposure. `region` is the person's."""

    __tablename__ = "orders"

    resident_id: Mapped[UUID] = mapped_column(index=True)
    kind: Mapped[OrderKind] = mapped_column(Code)
    state: Mapped[OrderState] = mapped_column(Code)
    protocol: Mapped[int]
    evidence_type: Mapped[str]
    evidence_id: Mapped[UUID] = mapped_column(index=True)
    day_0: Mapped[date] = mapped_column(Date)
    exposures: Mapped[list[UUID]] = mapped_column(
        ARRAY(Uuid), comment="The tubes of all positives of the household of the evidence."
    )
    opened_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]
    kind_set: Mapped[OrderKind | None] = mapped_column(
        Code, comment="The kind that staff set; without it the kind follows from tags."
    )
    kind_reason: Mapped[str | None]
    extra_days: Mapped[int] = mapped_column(default=0)
    extra_reason: Mapped[str | None]
    negatives: Mapped[list[Any]] = mapped_column(
        ARRAY(Date), default=list, comment="Days of the person's own negative single tubes since day 0."
    )

    __table_args__ = (
        CheckConstraint("kind IN ('central', 'home', 'monitoring')", name="order_kind"),
        CheckConstraint("state IN ('open', 'ended', 'withdrawn')", name="order_state"),
        CheckConstraint("(state = 'open') = (ended_at IS NULL)", name="order_ended_at"),
        CheckConstraint("(state = 'open') = (end_reason IS NULL)", name="order_end_reason"),
        CheckConstraint(f"extra_days BETWEEN 0 AND {MOST_EXTRA_DAYS}", name="order_extra_days"),
        Index("order_open", "resident_id", unique=True, postgresql_where=text("state = 'open'")),
    )

    def public(self) -> Order:
        """Return the form of the API and the feed."""
        return Order(
            id=self.id,
            version=self.version,
            region=self.region,
            resident_id=self.resident_id,
            kind=self.kind,
            state=self.state,
            protocol=self.protocol,
            evidence_type=self.evidence_type,
            evidence_id=self.evidence_id,
            day_0=self.day_0,
            opened_at=self.opened_at,
            ends_at=self.ends_at,
            ended_at=self.ended_at,
        )
