"""The tables of the feed, in every service's schema: the owner's log and the reader's cursors."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, UUID
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from shared.database.rows import Code


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


ischema_names["xid8"] = Xid8


def add_feed_tables(metadata: MetaData) -> None:
    """Declare the feed's tables in a service's schema."""
    Table(
        "feed",
        metadata,
        Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("epoch", Integer, nullable=False),
        Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
        Column("seq", BigInteger, Identity(always=True), nullable=False),
        Column("type", Text, nullable=False),
        Column("subject", UUID, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("region", Code, nullable=False),
        Column("change", Text, nullable=False),
        Column("urgent", Boolean, nullable=False),
        Column("data", JSON, nullable=False),
        # The order of reading. `at` is included because the key of a partitioned table must contain it.
        PrimaryKeyConstraint("epoch", "xid", "seq", "at"),
        Index("feed_urgent_idx", "epoch", "xid", "seq", postgresql_where=text("urgent")),
        postgresql_partition_by="RANGE (at)",
        comment="The owner's log, by day. Entries are read in the order (epoch, xid, seq).",
    )
    Table(
        "feed_epochs",
        metadata,
        Column("epoch", Integer, primary_key=True, autoincrement=False),
        Column("system_identifier", BigInteger, nullable=False),
        Column("began_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        comment="One row for each cluster this schema has lived in: a restored one begins a new epoch.",
    )
    Table(
        "feed_floor",
        metadata,
        Column("only", Boolean, primary_key=True, server_default=text("true")),
        Column("epoch", Integer, nullable=False),
        Column("xid", Xid8, nullable=False),
        Column("seq", BigInteger, nullable=False),
        comment="The last entry that retention dropped. A reader behind it must rebuild.",
    )
    Table(
        "feed_cursors",
        metadata,
        Column("owner", Text, primary_key=True),
        Column("lane", Text, primary_key=True),
        Column("cursor", Text, nullable=False),
        Column("moved_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        comment="How far this service has read another's log.",
    )
    Table(
        "feed_held",
        metadata,
        Column("type", Text, primary_key=True),
        Column("subject", UUID, primary_key=True),
        Column("version", BigInteger, nullable=False),
        Column("held_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
        comment="The version applied of every subject: only a newer one is applied.",
    )
    Table(
        "feed_parked",
        metadata,
        Column("type", Text, primary_key=True),
        Column("subject", UUID, primary_key=True),
        Column("version", BigInteger, nullable=False),
        Column("region", Code, nullable=False),
        Column("data", JSON, nullable=False),
        Column("error", Text, nullable=False),
        Column("attempts", Integer, nullable=False, server_default="1"),
        Column("parked_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        comment="Entries that could not be handled. Operators see and retry them.",
    )
