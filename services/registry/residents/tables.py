"""Tables of residents, their history, registration requests and transfers."""

import json
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, DateTime, ForeignKey, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from services.registry.base import Base, Row
from services.registry.residents import rules
from services.registry.residents.identity import Sex, mask_name, mask_number, mask_phone
from services.registry.residents.rules import ClosedReason, mask_address
from services.registry.residents.schemas import Registration, ResidentShown, Transfer
from shared.contracts.registry import Resident
from shared.core import clock
from shared.crypto.encryption import Encrypted, Slots
from shared.database.rows import Code


class ResidentRow(Row):
    """One person. A record is closed first, and removed when its retention period ends."""

    __tablename__ = "residents"

    region: Mapped[str] = mapped_column(
        Code, ForeignKey("registry.regions.region", name="region_unknown"), sort_order=-7
    )
    document_type: Mapped[int] = mapped_column(SmallInteger)
    document_index: Mapped[bytes | None] = mapped_column(comment="Blind index of document type and number.")
    document_index_b: Mapped[bytes | None] = mapped_column(comment="The same under the other of the two index keys.")
    document_number_sealed: Mapped[bytes]
    document_number = Encrypted()
    name_sealed: Mapped[bytes]
    name = Encrypted()
    phone_sealed: Mapped[bytes | None]
    phone = Encrypted()
    phone_index: Mapped[bytes | None] = mapped_column(index=True)
    address_sealed: Mapped[bytes | None]
    address = Encrypted()
    birth_date: Mapped[date]
    sex: Mapped[Sex] = mapped_column(Code)
    household_id: Mapped[UUID | None] = mapped_column(index=True)
    pregnant_from: Mapped[date | None]
    pregnant_until: Mapped[date | None]
    dependent_from: Mapped[date | None]
    dependent_until: Mapped[date | None]
    state: Mapped[Literal["active", "closed"]] = mapped_column(Code, default="active", server_default="active")
    closed_reason: Mapped[ClosedReason | None] = mapped_column(Code)
    since: Mapped[datetime] = mapped_column(
        comment="Since when the columns that population counts read are as they are."
    )
    known_at: Mapped[datetime] = mapped_column(
        server_default=text("now()"),
        comment="The time of the newest thing known: of the change by hand, or of the date of the file.",
    )
    by_hand: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether the newest thing known was entered by hand."
    )
    erasure_asked_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("document_index", name="resident_exists"),
        Index(
            "resident_exists_b",
            "document_index_b",
            unique=True,
            postgresql_where=text("document_index_b IS NOT NULL"),
        ),
        CheckConstraint("num_nonnulls(document_index, document_index_b) > 0", name="resident_index"),
        CheckConstraint("length(region) IN (12, 14, 16)", name="resident_region"),
        CheckConstraint("sex IN ('male', 'female')", name="resident_sex"),
        CheckConstraint("state IN ('active', 'closed')", name="resident_state"),
        CheckConstraint("(state = 'closed') = (closed_reason IS NOT NULL)", name="resident_closed_reason"),
        CheckConstraint("(phone_sealed IS NULL) = (phone_index IS NULL)", name="resident_phone"),
        *(
            CheckConstraint(
                f"{tag}_until IS NULL OR ({tag}_from IS NOT NULL AND {tag}_from <= {tag}_until)", name=f"resident_{tag}"
            )
            for tag in ("pregnant", "dependent")
        ),
    )

    @property
    def slots(self) -> Slots:
        """The blind indexes of the document, by column."""
        return Slots(self.document_index, self.document_index_b)

    @property
    def counted(self) -> rules.Counted:
        """The facts that population counts use."""
        return rules.Counted(
            self.region,
            self.state,
            self.birth_date,
            self.household_id,
            self.pregnant_from,
            self.pregnant_until,
            self.dependent_from,
            self.dependent_until,
        )

    def public(self) -> Resident:
        """Return the form of the feed, without name, number, phone and address."""
        return rules.resident(self.id, self.version, self.counted, clock.day_of(clock.now()))

    def shown(self) -> ResidentShown:
        """Return the masked form for staff and the person."""
        return ResidentShown(
            **self.public().model_dump(),
            name=ResidentRow.name.masked(self, mask_name) or "",
            document_type=self.document_type,
            document_number=ResidentRow.document_number.masked(self, mask_number) or "",
            phone=ResidentRow.phone.masked(self, mask_phone),
            address=ResidentRow.address.masked(self, mask_address),
            sex=self.sex,
            closed_reason=self.closed_reason,
        )


class ResidentHistoryRow(Base):
    """The facts that population counts used for a resident from `since` until `until`."""

    __tablename__ = "resident_history"

    resident_id: Mapped[UUID] = mapped_column(ForeignKey("registry.residents.id"), primary_key=True)
    until: Mapped[datetime] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    region: Mapped[str] = mapped_column(Code, index=True)
    state: Mapped[str] = mapped_column(Code)
    birth_date: Mapped[date]
    household_id: Mapped[UUID | None]
    pregnant_from: Mapped[date | None]
    pregnant_until: Mapped[date | None]
    dependent_from: Mapped[date | None]
    dependent_until: Mapped[date | None]

    __table_args__ = (
        {
            "comment": "As what a resident was counted between since and until, to repeat an earlier count.",
        },
    )


class RegistrationRow(Row):
    """A registration request. All requests look the same to the caller until they are settled."""

    __tablename__ = "registrations"

    region: Mapped[str] = mapped_column(
        Code, ForeignKey("registry.regions.region", name="region_unknown"), sort_order=-7
    )
    document_index: Mapped[bytes]
    person_sealed: Mapped[bytes | None]
    person = Encrypted()
    actor: Mapped[str]
    scope_low: Mapped[str] = mapped_column(Code)
    scope_high: Mapped[str] = mapped_column(Code)
    state: Mapped[Literal["received", "settled", "refused"]] = mapped_column(
        Code, default="received", server_default="received"
    )
    reason: Mapped[Literal["resident_exists", "declined"] | None] = mapped_column(Code)
    resident_id: Mapped[UUID | None]
    transfer_id: Mapped[UUID | None] = mapped_column(
        comment="Never shown to the caller, because it says that the person lives elsewhere."
    )

    __table_args__ = (
        CheckConstraint("state IN ('received', 'settled', 'refused')", name="registration_state"),
        CheckConstraint("(state = 'received') = (person_sealed IS NOT NULL)", name="registration_person"),
        CheckConstraint("state <> 'settled' OR resident_id IS NOT NULL", name="registration_resident"),
        Index("registrations_transfer_id_idx", "transfer_id", postgresql_where=text("state = 'received'")),
        Index("registrations_document_index_idx", "document_index", postgresql_where=text("state = 'received'")),
        Index("registrations_waiting_idx", "seq", postgresql_where=text("state = 'received' AND transfer_id IS NULL")),
    )

    def public(self) -> Registration:
        """Return the form that the caller sees."""
        return Registration(
            id=self.id,
            version=self.version,
            region=self.region,
            state=self.state,
            reason=self.reason,
            resident_id=self.resident_id,
            asked_at=self.created_at,
        )

    def settle(self, resident_id: UUID) -> None:
        """Settle the request: the person is registered here. The data sent are removed."""
        self.state, self.resident_id, self.person = "settled", resident_id, None

    def refuse(self, reason: Literal["resident_exists", "declined"], resident_id: UUID | None = None) -> None:
        """Refuse the request. The data sent are removed."""
        self.state, self.reason, self.resident_id, self.person = "refused", reason, resident_id, None


class TransferRow(Row):
    """A transfer of a person between two regions. `region` is the one that decides."""

    __tablename__ = "transfers"

    region: Mapped[str] = mapped_column(
        Code,
        sort_order=-7,
        comment="Where it is decided: a claim where the person lives, an offer where the person goes.",
    )
    kind: Mapped[Literal["claim", "offer"]] = mapped_column(Code)
    resident_id: Mapped[UUID] = mapped_column(ForeignKey("registry.residents.id"))
    from_region: Mapped[str] = mapped_column(Code, index=True)
    to_region: Mapped[str] = mapped_column(Code, ForeignKey("registry.regions.region", name="region_unknown"))
    name_sealed: Mapped[bytes]
    name = Encrypted()
    document_number_sealed: Mapped[bytes]
    document_number = Encrypted()
    terms_sealed: Mapped[bytes | None]
    terms = Encrypted()
    state: Mapped[rules.TransferState] = mapped_column(Code, default="asked", server_default="asked")

    __table_args__ = (
        CheckConstraint("state IN ('asked', 'accepted', 'refused', 'done')", name="transfer_state"),
        CheckConstraint("kind IN ('claim', 'offer')", name="transfer_kind"),
        Index(
            "transfer_open",
            "resident_id",
            "to_region",
            unique=True,
            postgresql_where=text("state IN ('asked', 'accepted')"),
        ),
        Index("transfers_accepted_idx", "seq", postgresql_where=text("state = 'accepted'")),
    )

    @property
    def new_home(self) -> dict[str, Any]:
        """The new address and household, as the offering region entered them."""
        home: dict[str, Any] = json.loads(self.terms or "{}")
        return home

    def public(self) -> Transfer:
        """Return the form that the deciding region sees."""
        return Transfer(
            id=self.id,
            version=self.version,
            region=self.region,
            kind=self.kind,
            resident_id=self.resident_id,
            from_region=self.from_region,
            to_region=self.to_region,
            name=TransferRow.name.masked(self, mask_name) or "",
            document_number=TransferRow.document_number.masked(self, mask_number) or "",
            state=self.state,
            asked_at=self.created_at,
        )


class RevealsRow(Base):
    """The times at which one member of staff viewed unmasked data within the last hour."""

    __tablename__ = "reveals"

    actor: Mapped[str] = mapped_column(primary_key=True)
    times: Mapped[list[datetime]] = mapped_column(ARRAY(DateTime(timezone=True)))

    __table_args__ = {"comment": "When each member of staff saw a person in clear within the last hour."}  # noqa: RUF012


class BirthdayRow(Base):
    """A day whose birthdays were processed."""

    __tablename__ = "birthdays"

    day: Mapped[date] = mapped_column(primary_key=True)

    __table_args__ = {"comment": "Days whose birthdays were looked at."}  # noqa: RUF012
