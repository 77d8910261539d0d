"""Tables of hooks: the systems that may send messages, and their messages."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Row
from services.gateway.messages.rules import Rest
from services.gateway.messages.schemas import HookSource, MessageShown
from shared.contracts.gateway import Message
from shared.crypto.encryption import Encrypted
from shared.database.rows import Code

Source = Literal["desk_120", "hospital", "municipal"]


class HookSourceRow(Row):
    """One system that may send messages, with its secrets (several during a rotation). `region` is where it serves."""

    __tablename__ = "hook_sources"

    source: Mapped[Source] = mapped_column(Code)
    party: Mapped[str]
    secrets_sealed: Mapped[bytes | None]
    secrets = Encrypted()
    last_message_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("source", "party", name="hook_source_taken"),
        CheckConstraint("source IN ('desk_120', 'hospital', 'municipal')", name="hook_source_kind"),
    )

    def public(self) -> HookSource:
        """The source as staff see it, without secrets."""
        return HookSource(
            id=self.id,
            version=self.version,
            region=self.region,
            source=self.source,
            party=self.party,
            last_message_at=self.last_message_at,
        )


class MessageRow(Row):
    """One message of another system. A message that is sent again is not stored again."""

    __tablename__ = "messages"

    source: Mapped[Source] = mapped_column(Code)
    party: Mapped[str]
    message_id: Mapped[str]
    kind: Mapped[str]
    occurred_at: Mapped[datetime]
    received_at: Mapped[datetime]
    data: Mapped[dict[str, Any]] = mapped_column(
        JSONB, comment="What other services receive: known texts and small numbers."
    )
    rest_sealed: Mapped[bytes | None] = mapped_column(comment="All other fields of its data, which may name people.")
    rest = Encrypted()
    fingerprint: Mapped[bytes]

    __table_args__ = (UniqueConstraint("source", "party", "message_id", name="message_id_reused"),)

    def public(self) -> Message:
        """The message as the feed shows it."""
        return Message(
            id=self.id,
            version=self.version,
            region=self.region,
            source=self.source,
            party=self.party,
            message_id=self.message_id,
            kind=self.kind,
            occurred_at=self.occurred_at,
            received_at=self.received_at,
            data=self.data,
        )

    def shown(self, *, with_rest: bool) -> MessageShown:
        """The message as the API shows it. `with_rest` adds the unpublished fields, which may name people."""
        rest = self._rest() if with_rest else Rest()
        payload = self.public().model_dump(exclude={"data"})
        return MessageShown(**payload, data={**self.data, **rest.fields}, left_out=rest.left_out)

    def _rest(self) -> Rest:
        text = MessageRow.rest.masked(self, str)
        if text is None:
            return Rest()
        try:
            return msgspec.json.decode(text, type=Rest)
        except msgspec.DecodeError:  # a placeholder: the key was destroyed, or the value is damaged
            return Rest(left_out=[text])
