"""Webhooks: endpoints, their cursors, and their deliveries."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Base, Row
from services.gateway.webhooks.schemas import Delivery, DeliveryState, DisabledReason, Endpoint, State
from shared.crypto.encryption import Encrypted
from shared.database.rows import Code

Table(
    "installation",
    Base.metadata,
    Column("only", Boolean, primary_key=True, server_default=text("true")),
    Column("id", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    comment="The id by which events name this installation where it has no public address.",
)


class EndpointRow(Row):
    """An endpoint. It receives the events of `region`. `party` owns it if it belongs to a machine.

    A worker serves it until `leased_until`. The lease of a killed worker ends after seconds.
    """

    __tablename__ = "webhook_endpoints"

    url: Mapped[str]
    types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    party: Mapped[str]
    owner: Mapped[str] = mapped_column(comment="Who made or enabled it last. It is sent only what this person can see.")
    secrets_sealed: Mapped[bytes | None]
    secrets = Encrypted()
    state: Mapped[State] = mapped_column(Code, default="enabled")
    disabled_reason: Mapped[DisabledReason | None] = mapped_column(Code)
    failures: Mapped[int] = mapped_column(default=0)
    failing_since: Mapped[datetime | None]
    next_attempt_at: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    gap_at: Mapped[datetime | None]
    lease: Mapped[UUID | None]
    leased_until: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("state IN ('enabled', 'disabled')", name="webhook_state"),
        CheckConstraint("(disabled_reason IS NOT NULL) = (state = 'disabled')", name="webhook_disabled_reason"),
    )

    def public(self) -> Endpoint:
        """The endpoint as its owner sees it, without secrets."""
        return Endpoint(**{name: getattr(self, name) for name in Endpoint.model_fields})


class CursorRow(Base):
    """How far an endpoint has read one lane of an owner's log."""

    __tablename__ = "webhook_cursors"

    endpoint_id: Mapped[UUID] = mapped_column(
        ForeignKey("gateway.webhook_endpoints.id", ondelete="CASCADE"), primary_key=True
    )
    owner: Mapped[str] = mapped_column(primary_key=True)
    lane: Mapped[str] = mapped_column(primary_key=True)
    cursor: Mapped[str]
    moved_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DeliveryRow(Row):
    """One event for one endpoint. `region` is the event's. The body is kept, because it may be sent again."""

    __tablename__ = "webhook_deliveries"

    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("gateway.webhook_endpoints.id", ondelete="CASCADE"))
    party: Mapped[str]
    event_id: Mapped[str]
    type: Mapped[str]
    subject: Mapped[UUID]
    event_version: Mapped[int]
    body: Mapped[str]
    state: Mapped[DeliveryState] = mapped_column(Code)
    attempts: Mapped[int]
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    next_attempt_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("endpoint_id", "event_id", name="webhook_delivery_twice"),
        CheckConstraint("state IN ('delivered', 'parked', 'dead')", name="webhook_delivery_state"),
        Index("webhook_deliveries_list_idx", "endpoint_id", "region", "seq"),
        Index(
            "webhook_deliveries_parked_idx",
            "endpoint_id",
            "subject",
            "next_attempt_at",
            postgresql_where=text("state = 'parked'"),
        ),
        Index("webhook_deliveries_created_at_idx", "created_at"),
    )

    def public(self) -> Delivery:
        """The delivery as the owner of the endpoint sees it."""
        return Delivery(**{name: getattr(self, name) for name in Delivery.model_fields})


# Of each subject the first parked delivery is due now, and the others wait behind it.
SCHEDULE_SUBJECTS = text("""
    UPDATE webhook_deliveries AS delivery SET next_attempt_at = turn.due_at
    FROM (
        SELECT id, CASE row_number() OVER (PARTITION BY type, subject ORDER BY seq)
            WHEN 1 THEN CAST(:now AS timestamptz) END AS due_at
        FROM webhook_deliveries
        WHERE endpoint_id = :endpoint_id AND state = 'parked' AND subject = ANY(CAST(:subjects AS uuid[]))
    ) AS turn
    WHERE delivery.id = turn.id AND delivery.next_attempt_at IS DISTINCT FROM turn.due_at
""")
