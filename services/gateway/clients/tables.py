"""Tables of clients. Secrets are stored as hashes."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Base, Row
from services.gateway.clients import rules
from services.gateway.clients.schemas import Client
from shared.core.actors import Actor, Role
from shared.core.regions import lies_under, range_of
from shared.database.rows import Code


class ClientRow(Row):
    """One app or machine. `region` is where it serves; for a machine it is also its scope."""

    __tablename__ = "clients"

    client_id: Mapped[str] = mapped_column(Code)
    kind: Mapped[rules.Kind] = mapped_column(Code)
    name: Mapped[str]
    people: Mapped[rules.People] = mapped_column(Code, default="everyone", server_default="everyone")
    redirect_uris: Mapped[list[str]] = mapped_column(JSONB)
    role: Mapped[str | None] = mapped_column(Code)
    party: Mapped[str]
    secrets: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    public_keys: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    revoked_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("client_id", name="client_taken"),
        CheckConstraint("kind IN ('app', 'machine')", name="client_kind"),
        CheckConstraint("people IN ('everyone', 'staff', 'residents')", name="client_people"),
        CheckConstraint("(kind = 'machine') = (role IS NOT NULL)", name="client_role"),
    )

    def actor(self) -> Actor:
        """The actor of a machine."""
        assert self.role is not None
        return Actor(f"client:{self.client_id}", Role.named(self.role), range_of(self.region), party=self.party)

    def serves(self, region: str) -> bool:
        """Whether people may act in a region through this client: it must be in the client's region."""
        return lies_under(region, self.region)

    def public(self) -> Client:
        """The client as the API shows it."""
        return Client(
            id=self.id,
            version=self.version,
            region=self.region,
            client_id=self.client_id,
            kind=self.kind,
            name=self.name,
            people=self.people,
            redirect_uris=self.redirect_uris,
            role=self.role,
            party=self.party,
            revoked_at=self.revoked_at,
        )


class AssertionRow(Base):
    """An assertion (private_key_jwt) that was used. It is accepted only once."""

    __tablename__ = "assertions"

    hash: Mapped[bytes] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
