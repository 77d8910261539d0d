"""Laboratories: those that are registered, as the gateway tells of them."""

from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from services.testing.base import Base
from shared.db import REGION


class LaboratoryRow(Base):
    """One laboratory. A tube is sealed and packed only for one that is active."""

    __tablename__ = "laboratories"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    party: Mapped[str] = mapped_column(REGION)
    active: Mapped[bool]

    __table_args__ = (Index("laboratories_party_idx", "party", postgresql_where=text("active")),)
