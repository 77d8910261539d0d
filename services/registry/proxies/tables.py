"""Tables of proxies. An ended proxy stays on record, because past acts of the guardian refer to it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from services.registry.base import Row
from shared.contracts.registry import Proxy
from shared.database.rows import Code


class ProxyRow(Row):
    """One guardian of one dependant."""

    __tablename__ = "proxies"

    guardian_id: Mapped[UUID] = mapped_column(ForeignKey("registry.residents.id"), index=True)
    dependant_id: Mapped[UUID] = mapped_column(ForeignKey("registry.residents.id"), index=True)
    state: Mapped[Literal["active", "ended"]] = mapped_column(Code, default="active", server_default="active")
    evidence: Mapped[str]
    given_by: Mapped[str]
    ended_by: Mapped[str | None]
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("guardian_id <> dependant_id", name="proxy_self"),
        CheckConstraint("state IN ('active', 'ended')", name="proxy_state"),
        CheckConstraint("(state = 'ended') = (ended_at IS NOT NULL)", name="proxy_ended"),
        Index("proxy_exists", "guardian_id", "dependant_id", unique=True, postgresql_where=text("state = 'active'")),
    )

    def public(self) -> Proxy:
        """Return the form of the API and the feed."""
        return Proxy(
            id=self.id,
            version=self.version,
            region=self.region,
            guardian_id=self.guardian_id,
            dependant_id=self.dependant_id,
            state=self.state,
        )
