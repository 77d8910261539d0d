"""Tables of retests: people who need a single swab because of a pool."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from services.testing.base import Row
from shared.contracts.testing import Retest
from shared.database.rows import Code


class RetestRow(Row):
    """One person's retest because of one pool. `region` is where the person lives now."""

    __tablename__ = "retests"

    resident_id: Mapped[UUID] = mapped_column(index=True)
    pool_id: Mapped[UUID] = mapped_column(ForeignKey("testing.tubes.id"))
    state: Mapped[str] = mapped_column(Code)
    called_at: Mapped[datetime]
    due_at: Mapped[datetime]
    tube_id: Mapped[UUID | None] = mapped_column(ForeignKey("testing.tubes.id"), index=True)
    outcome: Mapped[str | None] = mapped_column(Code)

    __table_args__ = (
        UniqueConstraint("pool_id", "resident_id"),
        CheckConstraint("state IN ('called', 'sampled', 'settled', 'withdrawn')", name="retest_state"),
        CheckConstraint("outcome IN ('negative', 'positive')", name="retest_outcome"),
        CheckConstraint("(outcome IS NOT NULL) = (state = 'settled')", name="retest_settled"),
        CheckConstraint("tube_id IS NOT NULL OR state IN ('called', 'withdrawn')", name="retest_sampled"),
        CheckConstraint("tube_id IS NULL OR state <> 'called'", name="retest_called"),
        Index("retests_open_idx", "due_at", postgresql_where=text("state IN ('called', 'sampled')")),
    )

    def public(self) -> Retest:
        """Return the form of the API and the feed."""
        return Retest(**{name: getattr(self, name) for name in Retest.model_fields})
