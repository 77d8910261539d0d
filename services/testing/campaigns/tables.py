"""Tables of campaigns: the rounds, and the people expected in each."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index
from sqlalchemy.orm import Mapped, mapped_column

from services.testing.base import Base, Row
from shared.contracts.testing import Campaign, CampaignState, PoolSize
from shared.database.rows import Code


class CampaignRow(Row):
    """One round of sampling over a region."""

    __tablename__ = "campaigns"

    name: Mapped[str]
    round: Mapped[int]
    pool_size: Mapped[int]
    opens_at: Mapped[datetime]
    closes_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(Code, default="planned")
    drill: Mapped[bool]
    expected: Mapped[int] = mapped_column(default=0)
    opened_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None] = mapped_column(comment="When it was closed or cancelled.")

    __table_args__ = (
        CheckConstraint("pool_size IN (1, 5, 10, 20)", name="campaign_pool_size"),
        CheckConstraint("round BETWEEN 1 AND 1000", name="campaign_round"),
        CheckConstraint("opens_at < closes_at", name="campaign_window"),
        CheckConstraint("state IN ('planned', 'open', 'closed', 'cancelled')", name="campaign_state"),
        CheckConstraint("(ended_at IS NOT NULL) = (state IN ('closed', 'cancelled'))", name="campaign_ended"),
        CheckConstraint("opened_at IS NOT NULL OR state IN ('planned', 'cancelled')", name="campaign_opened"),
    )

    def public(self) -> Campaign:
        """Return the form of the API and the feed."""
        pool_size: PoolSize = self.pool_size  # type: ignore[assignment]  # the check constraint ensures it
        state: CampaignState = self.state  # type: ignore[assignment]
        return Campaign(
            id=self.id,
            version=self.version,
            region=self.region,
            name=self.name,
            round=self.round,
            pool_size=pool_size,
            opens_at=self.opens_at,
            closes_at=self.closes_at,
            state=state,
            drill=self.drill,
            expected=self.expected,
        )


class ExpectedRow(Base):
    """A person expected in a round. `region` is the person's grid when the round was planned; a later move keeps it."""

    __tablename__ = "campaign_people"

    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("testing.campaigns.id"), primary_key=True)
    resident_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(Identity(always=True))
    region: Mapped[str] = mapped_column(Code)

    __table_args__ = (Index(None, "campaign_id", "region", "seq"),)
