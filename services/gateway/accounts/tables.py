"""Tables of accounts and of authentication. Secrets are hashed or encrypted, and never returned."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.accounts.schemas import Account
from services.gateway.base import Base, Row
from shared.core.ids import new_id
from shared.crypto.encryption import Encrypted
from shared.database.rows import Code

Kind = Literal["staff", "resident"]


class AccountRow(Row):
    """One person who signs in. Staff have a sign-in name and a home region, residents a phone or a mini-program id."""

    __tablename__ = "accounts"

    kind: Mapped[Kind] = mapped_column(Code)
    state: Mapped[Literal["active", "closed"]] = mapped_column(Code, default="active", server_default="active")
    login: Mapped[str | None] = mapped_column(Code)
    name_sealed: Mapped[bytes | None]
    name = Encrypted()
    phone_sealed: Mapped[bytes | None]
    phone = Encrypted()
    phone_index: Mapped[bytes | None]
    open_id_index: Mapped[bytes | None] = mapped_column(comment="Blind index of the mini-program's id of the person.")
    resident_id: Mapped[UUID | None] = mapped_column(comment="The resident this account belongs to, by evidence.")
    password_hash: Mapped[str | None]
    authenticator_sealed: Mapped[bytes | None]
    authenticator = Encrypted()
    authenticator_step: Mapped[int] = mapped_column(default=0, server_default="0")

    __table_args__ = (
        UniqueConstraint("login", name="login_taken"),
        UniqueConstraint("phone_index", name="phone_taken"),
        UniqueConstraint("open_id_index", name="open_id_taken"),
        UniqueConstraint("resident_id", name="resident_bound"),
        CheckConstraint("kind IN ('staff', 'resident')", name="account_kind"),
        CheckConstraint("state IN ('active', 'closed')", name="account_state"),
        CheckConstraint("(kind = 'staff') = (login IS NOT NULL)", name="account_login"),
        CheckConstraint("(phone_sealed IS NULL) = (phone_index IS NULL)", name="account_phone"),
        CheckConstraint("kind = 'resident' OR resident_id IS NULL", name="account_resident"),
    )

    @property
    def subject(self) -> str:
        """The subject in tokens and in the audit."""
        return subject_of(self.id)

    def public(self) -> Account:
        """The account as the API shows it to command, supervisors and auditors."""
        return Account(
            id=self.id,
            version=self.version,
            region=self.region,
            login=self.login or "",
            name=self.name or "",
            state=self.state,
            is_enrolled=self.authenticator_sealed is not None,
        )


SUBJECT = "account:"


def subject_of(account_id: UUID) -> str:
    """Return the subject of an account in tokens and in the audit."""
    return f"{SUBJECT}{account_id}"


def account_of(subject: str) -> UUID | None:
    """Return the account id of a subject; None for machines and for people of other issuers."""
    try:
        return UUID(subject.removeprefix(SUBJECT)) if subject.startswith(SUBJECT) else None
    except ValueError:
        return None


class RecoveryCodeRow(Base):
    """A code that replaces a lost authenticator once."""

    __tablename__ = "recovery_codes"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("gateway.accounts.id", ondelete="CASCADE"), primary_key=True)
    hash: Mapped[bytes] = mapped_column(primary_key=True)
    used_at: Mapped[datetime | None]


class LinkRow(Base):
    """A one-time link to become the first administrator or to set a password."""

    __tablename__ = "links"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    hash: Mapped[bytes] = mapped_column(unique=True)
    account_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("gateway.accounts.id", ondelete="CASCADE"),
        index=True,
        comment="Null: the link of the first administrator.",
    )
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class AttemptRow(Base):
    """The number of guesses in one lane."""

    __tablename__ = "attempts"

    lane: Mapped[bytes] = mapped_column(primary_key=True)
    count: Mapped[int]
    since: Mapped[datetime] = mapped_column(index=True)


class DeviceRow(Base):
    """A browser on which a person signed in before."""

    __tablename__ = "devices"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("gateway.accounts.id", ondelete="CASCADE"), primary_key=True)
    hash: Mapped[bytes] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]


class PhoneCodeRow(Base):
    """The latest code of a phone."""

    __tablename__ = "phone_codes"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    phone_index: Mapped[bytes] = mapped_column(unique=True)
    code_sealed: Mapped[bytes]
    code = Encrypted()
    digits: Mapped[int]
    sent_at: Mapped[datetime]
    sends: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    guesses: Mapped[int] = mapped_column(default=0, server_default="0")
    longer_since: Mapped[datetime | None]


class ChallengeRow(Base):
    """One challenge to prove that a phone is yours, with a limited number of tries."""

    __tablename__ = "challenges"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    secret: Mapped[bytes] = mapped_column(comment="Hash of a secret that only the caller knows.")
    phone_index: Mapped[bytes]
    phone_sealed: Mapped[bytes]
    phone = Encrypted()
    tries: Mapped[int] = mapped_column(default=0, server_default="0")
    expires_at: Mapped[datetime] = mapped_column(index=True)
