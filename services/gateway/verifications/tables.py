"""Tables of visits, partitioned by the day of the scan."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, LargeBinary, SmallInteger, Table, text
from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Base
from services.gateway.codes.tables import LABELS
from services.gateway.verifications.rules import Outcome
from services.gateway.verifications.schemas import Visit
from shared.database.rows import Code
from shared.feed.tables import Xid8


class VisitRow(Base):
    """One visit. Only the statements of door.py write visits, and a visit never changes."""

    __tablename__ = "visits"

    at: Mapped[datetime] = mapped_column(primary_key=True)
    """When the device made the scan: the time inside its id."""
    scan_id: Mapped[UUID] = mapped_column(primary_key=True)
    point_id: Mapped[UUID]
    resident_id: Mapped[UUID]
    shown_by: Mapped[UUID | None]
    region: Mapped[str] = mapped_column(Code)
    colour: Mapped[int] = mapped_column(SmallInteger)
    outcome: Mapped[int] = mapped_column(SmallInteger)
    temperature_tenths: Mapped[int | None] = mapped_column(SmallInteger)
    receipt_seconds: Mapped[int] = mapped_column(Integer)
    decided_at: Mapped[datetime]
    epoch: Mapped[int] = mapped_column(Integer, server_default=text("1"), deferred=True)
    """Epoch and transaction id give the commit order, in which seals.py chains visits. The database sets both."""
    xid: Mapped[int] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"), deferred=True)

    __table_args__ = (
        Index("visits_resident_id_at_idx", "resident_id", "at"),
        Index("visits_region_at_idx", "region", "at"),
        Index("visits_epoch_xid_idx", "epoch", "xid"),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    def public(self, point_name: str) -> Visit:
        """The visit as the API shows it."""
        verdict, why = Outcome.of(self.outcome)
        tenths = self.temperature_tenths
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
                "temperature_celsius": None if tenths is None else tenths / 10,
                "decided_at": self.decided_at,
            }
        )


Table(
    "visit_seals",
    Base.metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("after_epoch", Integer, nullable=False),
    Column("after_xid", Xid8, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("xid", Xid8, nullable=False),
    Column("last_at", DateTime(timezone=True), nullable=False),
    Column(
        "leaves", LargeBinary, nullable=False, comment="For each visit in order, 32 bytes of hash and 8 of its time."
    ),
    comment="The hashes of each batch of visits, while any visit of it is kept. The seal of a batch is in the audit.",
)
Table(
    "visits_sealed",
    Base.metadata,
    Column("only", Boolean, primary_key=True, server_default=text("true")),
    Column("number", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("xid", Xid8, nullable=False),
    comment="How far the sealer of visits has come: every visit up to there is in a batch.",
)
