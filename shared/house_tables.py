"""The tables that every service's schema has: feed, idempotency keys, audit, jobs, uploads, proposals."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from shared.db import REGION
from shared.feed.tables import add_feed_tables

PROPOSAL_STATES = ("proposed", "approved", "refused", "withdrawn", "expired")
JOB_STATES = ("queued", "running", "succeeded", "failed", "cancelled")


def add_house_tables(metadata: MetaData) -> None:
    """Declare the common tables in a service's schema."""
    add_feed_tables(metadata)
    Table(
        "idempotency",
        metadata,
        Column("id", UUID, primary_key=True, comment="Made from actor, operation and key."),
        Column("fingerprint", LargeBinary, nullable=False),
        Column("answer", LargeBinary, comment="Sealed; null while the first request runs."),
        Column("at", DateTime(timezone=True), nullable=False, index=True),
    )
    Table(
        "audit",
        metadata,
        Column("seq", BigInteger, Identity(always=True), primary_key=True),
        Column("at", DateTime(timezone=True), nullable=False),
        Column("actor", Text, nullable=False),
        Column("role", Text, nullable=False),
        Column("scope", Text, nullable=False),
        Column("purpose", Text, nullable=False),
        Column("request_id", Text, nullable=False),
        Column("operation", Text, nullable=False),
        Column("subjects", ARRAY(UUID(as_uuid=True)), nullable=False),
        comment="Whose personal data was looked at or changed: one entry a request, append-only.",
    )
    Table(
        "jobs",
        metadata,
        Column("id", UUID, primary_key=True),
        Column("seq", BigInteger, Identity(always=True), unique=True),
        Column("version", BigInteger, nullable=False, server_default="1"),
        Column("region", REGION, nullable=False, index=True),
        Column("kind", Text, nullable=False),
        Column("actor", JSONB, nullable=False, comment="On whose behalf, and within which scope, it runs."),
        Column("input", JSONB, nullable=False),
        Column("state", Text, nullable=False, server_default="queued"),
        Column("total", Integer, comment="Items to do, once known."),
        Column("done", Integer, nullable=False, server_default="0"),
        Column("result", JSONB, nullable=False, server_default=text("'{}'")),
        Column("error", Text),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("finished_at", DateTime(timezone=True)),
        CheckConstraint(f"state IN {JOB_STATES}", name="job_state"),
        CheckConstraint("(finished_at IS NULL) = (state IN ('queued', 'running'))", name="job_finished"),
        Index("jobs_open_idx", "seq", postgresql_where=text("state IN ('queued', 'running')")),
    )
    Table(
        "uploads",
        metadata,
        Column("job_id", UUID, ForeignKey(f"{metadata.schema}.jobs.id", ondelete="CASCADE"), primary_key=True),
        Column("part", Integer, primary_key=True, autoincrement=False),
        Column("sealed", LargeBinary, nullable=False),
        comment="The file of a job, sealed in parts, until the job has ended.",
    )
    Table(
        "proposals",
        metadata,
        Column("id", UUID, primary_key=True),
        Column("seq", BigInteger, Identity(always=True), unique=True),
        Column("version", BigInteger, nullable=False, server_default="1"),
        Column("region", REGION, nullable=False, index=True),
        Column("kind", Text, nullable=False),
        Column("content", JSONB, nullable=False, comment="What exactly is decided. Never changed."),
        Column("content_hash", Text, nullable=False),
        Column("reason_sealed", LargeBinary, nullable=False),
        Column("state", Text, nullable=False, server_default="proposed"),
        Column("proposed_by", Text, nullable=False),
        Column("proposed_at", DateTime(timezone=True), nullable=False),
        Column("expires_at", DateTime(timezone=True), nullable=False),
        Column("decided_by", Text),
        Column("decided_at", DateTime(timezone=True)),
        Column("decision_sealed", LargeBinary),
        CheckConstraint(f"state IN {PROPOSAL_STATES}", name="proposal_state"),
        CheckConstraint(
            "state NOT IN ('approved', 'refused') OR decided_by <> proposed_by", name="proposal_same_person"
        ),
        CheckConstraint(
            "(state IN ('approved', 'refused', 'withdrawn')) = (decided_by IS NOT NULL AND decided_at IS NOT NULL)",
            name="proposal_decision",
        ),
        UniqueConstraint("id", "state", name="proposals_id_state_key"),
        Index("proposals_open_idx", "expires_at", postgresql_where=text("state = 'proposed'")),
        comment="What one person proposed and another decides. An effect refers to (id, 'approved').",
    )
