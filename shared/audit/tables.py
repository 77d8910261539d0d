"""The tables of the audit, in every service's schema: the entries, and the chain over them."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from shared.database.rows import Code
from shared.feed.tables import Xid8


def add_audit_tables(metadata: MetaData) -> None:
    """Declare the audit's tables in a service's schema."""
    _add_entries(metadata)
    _add_chain(metadata)


def _add_entries(metadata: MetaData) -> None:
    """Declare the table of entries."""
    Table(
        "audit",
        metadata,
        Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("epoch", Integer, nullable=False),
        Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
        Column("seq", BigInteger, Identity(always=True), nullable=False),
        Column("kind", Text, nullable=False),
        Column("operation", Text, nullable=False),
        Column("target", Text, nullable=False, comment="The path that was called, or of what was made."),
        Column("actor", Text, nullable=False),
        Column("role", Text, nullable=False),
        Column("party", Text, nullable=False),
        Column("scope", Code, nullable=False, comment="The region in whose name it was done; ~ for none."),
        Column("purpose", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("request_id", Text, nullable=False),
        Column("subjects", ARRAY(UUID(as_uuid=True)), nullable=False, comment="Whose data it was about."),
        Column(
            "told",
            Text,
            Computed("CASE WHEN kind = 'reveal' THEN reason ELSE '' END", persisted=True),
            nullable=False,
            comment="The reason, as far as the people it was about may read it.",
        ),
        PrimaryKeyConstraint("at", "seq"),
        Index("audit_order_idx", "epoch", "xid", "seq"),
        Index("audit_subjects_idx", "subjects", postgresql_using="gin"),
        postgresql_partition_by="RANGE (at)",
        comment="Who did what, to whose data: one entry an act, by month, append-only.",
    )


def _add_chain(metadata: MetaData) -> None:
    """Declare the tables of the hash chain, which proves that the entries are complete and unchanged."""
    Table(
        "audit_seals",
        metadata,
        Column("day", Date, nullable=False, comment="In Asia/Shanghai."),
        Column("position", BigInteger, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        PrimaryKeyConstraint("day", "position"),
        UniqueConstraint("day", "seq"),
        postgresql_partition_by="RANGE (day)",
        comment="The chain over the entries of each day, append-only. Only the sealer writes it.",
    )
    Table(
        "audit_sealed",
        metadata,
        Column("only", Boolean, primary_key=True, server_default=text("true")),
        Column("epoch", Integer, nullable=False),
        Column("xid", Xid8, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("at", DateTime(timezone=True), nullable=False),
        comment="How far the sealer has come: every entry up to there is in a chain.",
    )
    Table(
        "audit_heads",
        metadata,
        Column("day", Date, primary_key=True),
        Column("size", BigInteger, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        comment="How the chain of each day ended whose entries retention has dropped.",
    )
