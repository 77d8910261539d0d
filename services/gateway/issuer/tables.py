"""Tables of the issuer: pending sign-ins, sessions and tokens. Codes and tokens are stored as hashes."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Base, Row
from services.gateway.issuer.schemas import Session
from shared.core.ids import new_id
from shared.crypto.encryption import Encrypted
from shared.database.rows import Code

Stage = Literal["start", "phone", "authenticator", "enrol", "grant", "done"]


class InteractionRow(Base):
    """One pending sign-in: the authorization request and the current stage."""

    __tablename__ = "interactions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    browser: Mapped[bytes] = mapped_column(comment="Hash of the cookie of the browser it began in.")
    asked: Mapped[dict[str, Any]] = mapped_column(JSONB, comment="The authorization request, checked.")
    stage: Mapped[Stage] = mapped_column(Code, default="start", server_default="start")
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("gateway.accounts.id", ondelete="CASCADE"), index=True)
    challenge_id: Mapped[UUID | None]
    authenticator_sealed: Mapped[bytes | None]
    authenticator = Encrypted()
    amr: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default=text("'{}'"))
    expires_at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = (
        CheckConstraint(
            "stage IN ('start', 'phone', 'authenticator', 'enrol', 'grant', 'done')", name="interaction_stage"
        ),
    )


class SessionRow(Row):
    """One session of one person with one client."""

    __tablename__ = "sessions"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("gateway.accounts.id"), index=True)
    grant_id: Mapped[UUID | None] = mapped_column(ForeignKey("gateway.grants.id"), index=True)
    client_id: Mapped[str]
    amr: Mapped[list[str]] = mapped_column(ARRAY(Text))
    agent: Mapped[str]
    used_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_why: Mapped[str | None]

    def public(self) -> Session:
        """The session as its owner sees it."""
        return Session(
            id=self.id,
            client_id=self.client_id,
            grant_id=self.grant_id,
            began_at=self.created_at,
            used_at=self.used_at,
            expires_at=self.expires_at,
            agent=self.agent,
        )


class AuthorizationCodeRow(Base):
    """A code that a client exchanges for tokens once, within a minute."""

    __tablename__ = "authorization_codes"

    hash: Mapped[bytes] = mapped_column(primary_key=True)
    asked: Mapped[dict[str, Any]] = mapped_column(JSONB)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("gateway.accounts.id", ondelete="CASCADE"), index=True)
    grant_id: Mapped[UUID | None]
    amr: Mapped[list[str]] = mapped_column(ARRAY(Text))
    agent: Mapped[str]
    proved_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    session_id: Mapped[UUID | None] = mapped_column(comment="The session it was exchanged for.")


class RefreshTokenRow(Base):
    """A refresh token. It is used once and replaced by a successor."""

    __tablename__ = "refresh_tokens"

    hash: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("gateway.sessions.id", ondelete="CASCADE"), index=True)
    used_at: Mapped[datetime | None]


class DeviceAuthorizationRow(Base):
    """A device without a browser that waits for approval (RFC 8628)."""

    __tablename__ = "device_authorizations"

    hash: Mapped[bytes] = mapped_column(primary_key=True, comment="Hash of the device code.")
    user_code: Mapped[bytes] = mapped_column(unique=True, comment="Hash of the code that the person types.")
    client_id: Mapped[str]
    network: Mapped[str] = mapped_column(comment="The network of the device, to show it to the person.")
    state: Mapped[Literal["open", "approved", "refused"]] = mapped_column(Code, default="open", server_default="open")
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("gateway.accounts.id", ondelete="CASCADE"), index=True)
    grant_id: Mapped[UUID | None]
    amr: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default=text("'{}'"))
    wait_seconds: Mapped[int] = mapped_column(comment="How long the device waits between two requests.")
    asked_at: Mapped[datetime | None]
    begun_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = (
        CheckConstraint("state IN ('open', 'approved', 'refused')", name="device_authorization_state"),
        CheckConstraint("(state = 'approved') = (account_id IS NOT NULL)", name="device_authorization_account"),
    )


class EndingRow(Base):
    """A recently ended session, account or client. Its tokens issued up to `at` are no longer valid."""

    __tablename__ = "endings"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)


class IssuerKeyRow(Base):
    """A key that signs id_tokens."""

    __tablename__ = "issuer_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    private_sealed: Mapped[bytes]
    private = Encrypted()
    made_at: Mapped[datetime]
