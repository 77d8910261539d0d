"""Table of parties: the laboratories, hospitals, 120 desks and city systems registered as client or hook source.

Triggers of the database maintain the table: see `migrations/gateway/versions/0001_baseline.sql`, Parties.
"""

from typing import Literal

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Row
from shared.contracts.gateway import Party
from shared.database.rows import Code


class PartyRow(Row):
    """One party. It is active while a client or hook source with its name and role is registered."""

    __tablename__ = "parties"

    role: Mapped[Literal["laboratory", "desk_120", "hospital", "municipal"]] = mapped_column(Code)
    party: Mapped[str] = mapped_column(Code)
    state: Mapped[Literal["active", "ended"]] = mapped_column(Code)

    __table_args__ = (
        UniqueConstraint("role", "party", name="parties_role_party_key"),
        CheckConstraint("state IN ('active', 'ended')", name="party_state"),
    )

    def public(self) -> Party:
        """The party as the feed shows it."""
        return Party(
            id=self.id, version=self.version, region=self.region, role=self.role, party=self.party, state=self.state
        )
