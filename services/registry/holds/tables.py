"""Tables of legal holds."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from services.registry.base import Row
from services.registry.holds.schemas import Hold
from shared.contracts.registry import LegalHold
from shared.crypto.encryption import Encrypted


class HoldRow(Row):
    """One order that a person's data must not be deleted before a day."""

    __tablename__ = "holds"

    resident_id: Mapped[UUID] = mapped_column(ForeignKey("registry.residents.id"), index=True)
    reason_sealed: Mapped[bytes]
    reason = Encrypted()
    ordered_by: Mapped[str] = mapped_column(comment="The court or authority.")
    until: Mapped[datetime]
    released_at: Mapped[datetime | None]

    def public(self) -> LegalHold:
        """Return the form of the feed, without the reason and the authority."""
        return LegalHold(
            id=self.id,
            version=self.version,
            region=self.region,
            resident_id=self.resident_id,
            until=self.until,
            state="active" if self.released_at is None else "released",
        )

    def shown(self) -> Hold:
        """Return the form of the API."""
        return Hold(
            **self.public().model_dump(),
            reason=HoldRow.reason.masked(self, str) or "",
            ordered_by=self.ordered_by,
            created_at=self.created_at,
            released_at=self.released_at,
        )
