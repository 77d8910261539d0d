"""Copies of other services' records of people. They have no name, number, phone or address."""

from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from services.testing.base import Base
from shared.database.rows import Code


class PersonRow(Base):
    """A person who may be sampled. `region` is where the person lives now."""

    __tablename__ = "people"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    region: Mapped[str] = mapped_column(Code, index=True)
    active: Mapped[bool]


class ObservedRow(Base):
    """An open order under which a person needs a single tube."""

    __tablename__ = "observed"

    subject: Mapped[UUID] = mapped_column(
        primary_key=True, comment="The order that puts the person into a tube of their own."
    )
    resident_id: Mapped[UUID] = mapped_column(index=True)
    region: Mapped[str] = mapped_column(Code)
