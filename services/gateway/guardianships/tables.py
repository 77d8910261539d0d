"""Table of guardianships: for whom a person may act. Tokens contain it."""

from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Base


class GuardianshipRow(Base):
    """One active proxy of the registry."""

    __tablename__ = "guardianships"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    guardian_id: Mapped[UUID] = mapped_column(index=True)
    dependant_id: Mapped[UUID]
