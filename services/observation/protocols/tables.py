"""Tables of protocols: versioned documents. A published version never changes."""

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, ForeignKeyConstraint, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from services.observation.base import Row
from services.observation.protocols.rules import Protocol


class ProtocolRow(Row):
    """One version of the protocol."""

    __tablename__ = "protocols"

    number: Mapped[int]
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)
    proposal_id: Mapped[UUID | None] = mapped_column(unique=True)
    approved: Mapped[str] = mapped_column(Computed("'approved'", persisted=True))

    __table_args__ = (
        UniqueConstraint("number", name="protocol_taken"),
        CheckConstraint("number = 1 OR proposal_id IS NOT NULL", name="protocol_proposed"),
        ForeignKeyConstraint(
            ["proposal_id", "approved"],
            ["observation.proposals.id", "observation.proposals.state"],
            name="protocols_proposal_fkey",
        ),
    )

    def read(self) -> Protocol:
        """Return the document, validated."""
        return Protocol.model_validate(self.document)
