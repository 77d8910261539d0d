"""Tables of laboratories: a copy of those registered at the gateway."""

from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from services.testing.base import Base
from shared.database.rows import Code


class LaboratoryRow(Base):
    """One laboratory. Tubes are sealed and packed only for active laboratories."""

    __tablename__ = "laboratories"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    party: Mapped[str] = mapped_column(Code)
    active: Mapped[bool]

    __table_args__ = (Index("laboratories_party_idx", "party", postgresql_where=text("active")),)
