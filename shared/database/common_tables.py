"""The tables of every service's schema: feed, audit, keys, jobs, proposals, retention, sunset."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKeyConstraint,
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

from shared.audit.tables import add_audit_tables
from shared.database.rows import Code
from shared.feed.tables import add_feed_tables

PROPOSAL_STATES = ("proposed", "approved", "refused", "withdrawn", "expired")
JOB_STATES = ("queued", "running", "succeeded", "failed", "cancelled")


def add_common_tables(metadata: MetaData) -> None:
    """Declare the common tables in a service's schema."""
    add_feed_tables(metadata)
    add_audit_tables(metadata)
    _add_data_keys(metadata)
    _add_idempotency(metadata)
    _add_jobs(metadata)
    _add_proposals(metadata)
    _add_retention(metadata)
    _add_sunset(metadata)


def _add_data_keys(metadata: MetaData) -> None:
    """Declare the table of data keys, which encrypt personal data."""
    Table(
        "data_keys",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("month", Integer, nullable=False),
        Column("master", Text, nullable=False, server_default="", comment="The master key that wraps it."),
        Column("wrapped", LargeBinary, comment="Null once it is destroyed, and with it what it encrypted."),
        Column("made_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("seals_from", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("destroyed_at", DateTime(timezone=True)),
        CheckConstraint("(wrapped IS NULL) = (destroyed_at IS NOT NULL)", name="data_key_destroyed"),
        comment="The keys that encrypt personal data of a month, wrapped by the master key.",
    )


def _add_idempotency(metadata: MetaData) -> None:
    """Declare the table of idempotency keys and their answers."""
    Table(
        "idempotency",
        metadata,
        Column("id", UUID, primary_key=True, comment="Made from actor, operation and key."),
        Column("fingerprint", LargeBinary, nullable=False),
        Column("answer", LargeBinary, comment="Encrypted; null while the first request runs."),
        Column("at", DateTime(timezone=True), nullable=False, index=True),
    )


def _listed_by_region() -> Sequence[Column[Any]]:
    """Return the columns that a table needs to be listed by page within a scope."""
    return (
        Column("id", UUID, primary_key=True),
        Column("seq", BigInteger, Identity(always=True), unique=True),
        Column("version", BigInteger, nullable=False, server_default="1"),
        Column("region", Code, nullable=False, index=True),
    )


def _add_jobs(metadata: MetaData) -> None:
    """Declare the tables of background jobs and their files."""
    Table(
        "jobs",
        metadata,
        *_listed_by_region(),
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
        Column("job_id", UUID, primary_key=True, comment="The job's id. The job is added after its file."),
        Column("part", Integer, primary_key=True, autoincrement=False),
        Column("sealed", LargeBinary, nullable=False),
        Column("kept_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        comment="The file of a job, encrypted in parts, until the job has ended.",
    )


def _add_proposals(metadata: MetaData) -> None:
    """Declare the table of proposals, which need two people."""
    Table(
        "proposals",
        metadata,
        *_listed_by_region(),
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


def _add_retention(metadata: MetaData) -> None:
    """Declare the tables of retention periods, legal holds and removed rows."""
    Table(
        "retention_periods",
        metadata,
        Column("kind", Text(collation="C"), primary_key=True),
        Column("days", Integer, nullable=False),
        Column("source", Text, nullable=False),
        Column("proposal_id", UUID),
        Column("approved", Text, Computed("'approved'", persisted=True), nullable=False),
        CheckConstraint("days BETWEEN 1 AND 3650", name="retention_days"),
        ForeignKeyConstraint(
            ["proposal_id", "approved"],
            [f"{metadata.schema}.proposals.id", f"{metadata.schema}.proposals.state"],
            name="retention_periods_proposal_fkey",
        ),
        comment="How long each kind of data is kept. A period other than the first rests on an approved proposal.",
    )
    Table(
        "legal_holds",
        metadata,
        Column("subject", UUID, primary_key=True),
        Column("resident_id", UUID, nullable=False, index=True),
        Column("region", Code, nullable=False),
        Column("until", DateTime(timezone=True), nullable=False),
        comment="Whose data must not be removed yet, by the registry's holds.",
    )
    Table(
        "purges",
        metadata,
        Column("kind", Text(collation="C"), primary_key=True),
        Column("day", Date, primary_key=True),
        Column("rows", BigInteger, nullable=False),
        comment="How many rows of each kind were removed on each day.",
    )


def _add_sunset(metadata: MetaData) -> None:
    """Declare the table whose row says that the emergency is over."""
    Table(
        "sunset",
        metadata,
        Column("only", Boolean, primary_key=True, server_default=text("true")),
        Column("declared_on", Date, nullable=False),
        Column("decree", Text, nullable=False),
        Column("proposal_id", UUID, nullable=False),
        Column("approved_at", DateTime(timezone=True), nullable=False),
        Column("progress", JSONB, nullable=False, server_default=text("'{}'")),
        CheckConstraint('"only"', name="sunset_once"),
        comment="Has its one row once the emergency is over. From then on nothing is collected.",
    )
