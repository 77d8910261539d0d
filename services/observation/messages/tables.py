"""Tables of messages of the 120 desk and hospitals about referrals, with their outcome."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from services.observation.base import Row
from services.observation.messages.schemas import KeptMessage
from shared.database.rows import Code

MessageState = Literal["applied", "rejected"]


class MessageRow(Row):
    """One message. Its `region` is that of its referral, or of the sender if the referral does not exist."""

    __tablename__ = "messages"

    source: Mapped[str] = mapped_column(Code)
    party: Mapped[str]
    message_id: Mapped[str]
    kind: Mapped[str]
    referral_id: Mapped[UUID | None]
    hospital: Mapped[str | None]
    occurred_at: Mapped[datetime]
    received_at: Mapped[datetime]
    state: Mapped[MessageState] = mapped_column(Code)
    reason: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("state IN ('applied', 'rejected')", name="message_state"),
        CheckConstraint("(state = 'rejected') = (reason IS NOT NULL)", name="message_reason"),
        Index("messages_referral_id_idx", "referral_id", postgresql_where=text("referral_id IS NOT NULL")),
    )

    def to_public(self) -> KeptMessage:
        """Return the form of the API."""
        return KeptMessage.model_validate({name: getattr(self, name) for name in KeptMessage.model_fields})
