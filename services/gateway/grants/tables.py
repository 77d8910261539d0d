"""Table of grants. Grants are ended, never deleted, so that it stays known who could do what at any time."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Row
from services.gateway.grants import rules
from services.gateway.grants.schemas import Grant
from shared.core.actors import Actor, Role
from shared.core.regions import range_of
from shared.database.rows import Code


class GrantRow(Row):
    """One role of one person. `region` is where the grant is valid."""

    __tablename__ = "grants"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("gateway.accounts.id"), index=True)
    role: Mapped[str] = mapped_column(Code)
    party: Mapped[str] = mapped_column(default="", server_default="")
    valid_from: Mapped[datetime]
    valid_until: Mapped[datetime | None]
    why: Mapped[str]
    state: Mapped[rules.State] = mapped_column(Code)
    given_by: Mapped[str]
    decided_by: Mapped[str | None]
    ended_by: Mapped[str | None]
    ended_why: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("state IN ('proposed', 'active', 'refused', 'ended')", name="grant_state"),
        CheckConstraint("valid_until IS NULL OR valid_from < valid_until", name="grant_order"),
        CheckConstraint("decided_by IS DISTINCT FROM given_by", name="grant_two_people"),
        Index(
            "grant_exists",
            "account_id",
            "role",
            "region",
            "party",
            unique=True,
            postgresql_where=text("state IN ('proposed', 'active')"),
        ),
    )

    def holds(self, now: datetime) -> bool:
        """Whether a person can act in this grant now."""
        return rules.holds(self.state, self.valid_from, self.valid_until, now)

    def actor(self, subject: str) -> Actor:
        """Return the actor of a person who acts in this grant."""
        return Actor(subject, Role.named(self.role), range_of(self.region), party=self.party)

    def public(self) -> Grant:
        """The grant as the API shows it."""
        return Grant(
            id=self.id,
            version=self.version,
            region=self.region,
            account_id=self.account_id,
            role=self.role,
            party=self.party,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            why=self.why,
            state=self.state,
            given_by=self.given_by,
            decided_by=self.decided_by,
            ended_by=self.ended_by,
            ended_why=self.ended_why,
        )
