"""Who acts for whom, as the gateway needs to know it for tokens."""

from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Base


class GuardianshipRow(Base):
    """One proxy of the registry that is in force."""

    __tablename__ = "guardianships"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    guardian_id: Mapped[UUID] = mapped_column(index=True)
    dependant_id: Mapped[UUID]
