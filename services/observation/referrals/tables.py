"""Tables of referrals and of the reported fevers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, DateTime, ForeignKey, Index, Numeric, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from services.observation.base import Row
from shared.contracts.observation import Referral, ReferralReason, ReferralState
from shared.database.rows import Code

CLOSED = "('ruled_out', 'admitted', 'confirmed', 'cancelled')"


class ReferralRow(Row):
    """One episode. A person has at most one open episode. `region` is where it was reported."""

    __tablename__ = "referrals"

    resident_id: Mapped[UUID] = mapped_column(index=True)
    reason: Mapped[ReferralReason] = mapped_column(Code)
    state: Mapped[ReferralState] = mapped_column(Code)
    evidence_type: Mapped[str | None]
    evidence_id: Mapped[UUID | None] = mapped_column(index=True)
    protocol: Mapped[int]
    reporter: Mapped[str] = mapped_column(
        comment="The machine or service point that reported it; empty for staff and the worker."
    )
    desk: Mapped[str] = mapped_column(comment="The 120 desk that handles it.")
    hospital: Mapped[str | None] = mapped_column(comment="The hospital, once a message names it.")
    reported_at: Mapped[datetime]
    since: Mapped[datetime] = mapped_column(comment="When it entered its present state.")
    dispatched_at: Mapped[datetime | None]
    on_board_at: Mapped[datetime | None]
    handed_over_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None] = mapped_column(comment="By when it must reach the next stage.")
    overdue_at: Mapped[datetime | None] = mapped_column(comment="Since when the alarm is on.")
    cancelled_at: Mapped[datetime | None]
    cancel_reason: Mapped[str | None]
    reveals: Mapped[list[datetime]] = mapped_column(
        ARRAY(DateTime(timezone=True)),
        server_default=text("'{}'"),
        comment="When the person was shown in clear within the last hour.",
    )
    withdrawn: Mapped[bool] = mapped_column(default=False, comment="Cancelled because its evidence was taken back.")

    __table_args__ = (
        CheckConstraint("reason IN ('fever', 'positive')", name="referral_reason"),
        CheckConstraint(
            "state IN ('reported', 'dispatched', 'on_board', 'handed_over', 'ruled_out', 'admitted', 'confirmed', "
            "'cancelled', 'left')",
            name="referral_state",
        ),
        CheckConstraint(f"(closed_at IS NOT NULL) = (state IN {CLOSED})", name="referral_closed"),
        CheckConstraint("(evidence_id IS NULL) = (evidence_type IS NULL)", name="referral_evidence_type"),
        CheckConstraint("reason <> 'positive' OR evidence_id IS NOT NULL", name="referral_evidence"),
        CheckConstraint("(cancelled_at IS NULL) = (cancel_reason IS NULL)", name="referral_cancel_reason"),
        Index("referral_open", "resident_id", unique=True, postgresql_where=text("closed_at IS NULL")),
        Index("referrals_due_at_idx", "due_at", postgresql_where=text("closed_at IS NULL AND overdue_at IS NULL")),
        Index("referrals_hospital_idx", "hospital", postgresql_where=text("hospital IS NOT NULL")),
    )

    def public(self) -> Referral:
        """Return the form of the API and the feed."""
        return to_public({name: getattr(self, name) for name in Referral.model_fields})


def to_public(row: Mapping[str, Any]) -> Referral:
    """Convert the columns of a referral to the form of the API and the feed."""
    return Referral.model_validate({name: row[name] for name in Referral.model_fields})


class FeverRow(Row):
    """One reported reading of a fever. `region` is where it was measured."""

    __tablename__ = "fevers"

    referral_id: Mapped[UUID] = mapped_column(ForeignKey("observation.referrals.id"), index=True)
    resident_id: Mapped[UUID] = mapped_column(index=True)
    party: Mapped[str] = mapped_column(comment="The machine or service point that measured it; empty for people.")
    role: Mapped[str]
    celsius: Mapped[float] = mapped_column(Numeric(3, 1, asdecimal=False))
    symptoms: Mapped[list[str]] = mapped_column(ARRAY(Text))
    measured_at: Mapped[datetime]

    __table_args__ = (CheckConstraint("celsius BETWEEN 30 AND 45", name="fever_celsius"),)
