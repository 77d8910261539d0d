"""Protocols: versioned documents. One that was published never changes."""

from typing import Any

from sqlalchemy import UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from services.observation.base import Row
from services.observation.protocols.rules import Protocol


class ProtocolRow(Row):
    """One version of the protocol."""

    __tablename__ = "protocols"

    number: Mapped[int]
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)

    __table_args__ = (UniqueConstraint("number", name="protocol_taken"),)

    def read(self) -> Protocol:
        """The document, checked."""
        return Protocol.model_validate(self.document)
