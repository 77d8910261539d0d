"""Visits: who showed a code where, when, and what came of it. Partitioned by the day of the scan."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, Integer, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Base
from services.gateway.codes.tables import LABELS
from services.gateway.verifications.rules import Outcome
from services.gateway.verifications.schemas import Visit
from shared.db import REGION


class VisitRow(Base):
    """One visit, written by the door's statement alone, and never changed."""

    __tablename__ = "visits"

    at: Mapped[datetime] = mapped_column(primary_key=True)
    """When the device made the scan: the time inside its id, which never changes."""
    scan_id: Mapped[UUID] = mapped_column(primary_key=True)
    point_id: Mapped[UUID]
    resident_id: Mapped[UUID]
    shown_by: Mapped[UUID | None]
    region: Mapped[str] = mapped_column(REGION)
    colour: Mapped[int] = mapped_column(SmallInteger)
    outcome: Mapped[int] = mapped_column(SmallInteger)
    temperature_tenths: Mapped[int | None] = mapped_column(SmallInteger)
    receipt_seconds: Mapped[int] = mapped_column(Integer)
    decided_at: Mapped[datetime]

    __table_args__ = (
        Index("visits_resident_id_at_idx", "resident_id", "at"),
        Index("visits_region_at_idx", "region", "at"),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    def public(self, point_name: str) -> Visit:
        """As the API says it."""
        verdict, why = Outcome.of(self.outcome)
        heat = self.temperature_tenths
        return Visit.model_validate(
            {
                "scan_id": self.scan_id,
                "at": self.at,
                "point_id": self.point_id,
                "point_name": point_name,
                "region": self.region,
                "resident_id": self.resident_id,
                "shown_by": self.shown_by,
                "colour": LABELS.get(self.colour),
                "verdict": verdict.label,
                "why": why.label,
                "temperature_celsius": None if heat is None else heat / 10,
                "decided_at": self.decided_at,
            }
        )
