"""The tables that every service's schema has: feed, idempotency keys, audit, jobs, uploads."""

from sqlalchemy import (
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
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from shared.audit.tables import add_audit_tables
from shared.db import REGION
from shared.feed.tables import add_feed_tables

JOB_STATES = ("queued", "running", "succeeded", "failed", "cancelled")


def add_house_tables(metadata: MetaData) -> None:
    """Declare the common tables in a service's schema."""
    add_feed_tables(metadata)
    add_audit_tables(metadata)
    Table(
        "idempotency",
        metadata,
        Column("id", UUID, primary_key=True, comment="Made from actor, operation and key."),
        Column("fingerprint", LargeBinary, nullable=False),
        Column("answer", LargeBinary, comment="Sealed; null while the first request runs."),
        Column("at", DateTime(timezone=True), nullable=False, index=True),
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
