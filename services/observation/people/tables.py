"""Copies of other services' records of people. Only the worker of this service reads and writes them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from services.observation.base import Base
from shared.database.rows import Code


class PersonRow(Base):
    """A copy of a resident of the registry: region, household and tags."""

    __tablename__ = "people"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    region: Mapped[str] = mapped_column(Code)
    household_id: Mapped[UUID | None]
    active: Mapped[bool]
    tags: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)

    __table_args__ = (
        Index("people_household_id_idx", "household_id", postgresql_where=text("household_id IS NOT NULL")),
    )


class FindingRow(Base):
    """The result of a single tube for its person. Drills and pools have no findings."""

    __tablename__ = "findings"

    subject: Mapped[UUID] = mapped_column(primary_key=True, comment="The tube.")
    resident_id: Mapped[UUID] = mapped_column(primary_key=True, index=True)
    region: Mapped[str] = mapped_column(Code, comment="Where the tube was filled.")
    positive: Mapped[bool]
    sampled_at: Mapped[datetime]
    tested_at: Mapped[datetime]
    reported_at: Mapped[datetime]
