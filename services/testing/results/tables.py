"""Tables of results: every revision that a laboratory reported. The tube carries the one in force."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from services.testing.base import Base
from shared.database.rows import Code


class ResultRow(Base):
    """One revision of a tube's result. A correction adds a row and overwrites none."""

    __tablename__ = "results"

    tube_id: Mapped[UUID] = mapped_column(ForeignKey("testing.tubes.id"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    region: Mapped[str] = mapped_column(Code)
    laboratory: Mapped[str] = mapped_column(Code)
    outcome: Mapped[str] = mapped_column(Code)
    tested_at: Mapped[datetime]
    reported_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("revision BETWEEN 1 AND 1000", name="result_revision"),
        CheckConstraint("outcome IN ('negative', 'positive', 'inconclusive', 'invalid')", name="result_outcome"),
    )
