"""Tables of codes, facts and policies."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, ForeignKeyConstraint, Index, SmallInteger, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Base
from shared.contracts import gateway as contracts
from shared.database.rows import Code

DECIDING = "kind <> 'negative' OR answers IS NOT NULL"
"""Which facts can change a colour. The text must equal the index condition, otherwise PostgreSQL ignores the index."""

LABELS: dict[int, contracts.Colour] = {1: "green", 2: "yellow", 3: "red"}


class CodeRow(Base):
    """One person's code, and how it changes by time alone. RECORD_VISITS of door.py reads only this table for it."""

    __tablename__ = "codes"

    resident_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(server_default="1")
    region: Mapped[str] = mapped_column(Code, index=True)
    colour: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    until: Mapped[datetime | None]
    colour_after: Mapped[int | None] = mapped_column(SmallInteger)
    green_from: Mapped[datetime | None]
    last_negative: Mapped[datetime | None]
    policy: Mapped[int]
    reasons: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        CheckConstraint("colour BETWEEN 1 AND 3 AND colour_after BETWEEN 1 AND 3", name="code_colour"),
        CheckConstraint(
            "(colour = 1) = (reasons = '[]' OR NOT reasons @? '$[*] ? (@.colour > 1)')", name="code_reasons"
        ),
        Index("codes_ending_idx", "until", postgresql_where=text("colour > 1 AND until IS NOT NULL")),
    )

    def public(self) -> contracts.Code:
        """The code as the API and the feed show it."""
        return to_public(self)


class FactRow(Base):
    """One fact that a service asserts about one person. All facts of a subject are replaced when the subject changes.

    Most facts are negatives, and only a person's latest negative counts, unless it answers a pool. Negatives have an
    index of their own, so that the number of rounds a person took part in does not slow down an evaluation.
    """

    __tablename__ = "facts"

    subject: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    resident_id: Mapped[UUID]
    region: Mapped[str] = mapped_column(Code)
    source_type: Mapped[str]
    kind: Mapped[str]
    variant: Mapped[str] = mapped_column(server_default="")
    at: Mapped[datetime]
    until: Mapped[datetime | None]
    answers: Mapped[UUID | None]
    sampled_at: Mapped[datetime | None]
    pool_size: Mapped[int | None] = mapped_column(SmallInteger)
    earliest_end: Mapped[datetime | None]

    __table_args__ = (
        Index("facts_negative_idx", "resident_id", "sampled_at", postgresql_where=text("kind = 'negative'")),
        Index("facts_deciding_idx", "resident_id", postgresql_where=text(DECIDING)),
        Index("facts_sampled_at_idx", "sampled_at", postgresql_using="brin"),
    )


class CodeChangeRow(Base):
    """One change of a code, with time, policy and reasons. Rows never change, because appeals are decided by them."""

    __tablename__ = "code_changes"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    resident_id: Mapped[UUID] = mapped_column(index=True)
    version: Mapped[int]
    region: Mapped[str] = mapped_column(Code)
    at: Mapped[datetime]
    colour: Mapped[int] = mapped_column(SmallInteger)
    policy: Mapped[int]
    reasons: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)


class PolicyRow(Base):
    """One published version of the rules. Versions are only added."""

    __tablename__ = "policies"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)
    published_at: Mapped[datetime] = mapped_column(server_default=func.now())
    proposal_id: Mapped[UUID | None] = mapped_column(unique=True)
    approved: Mapped[str] = mapped_column(Computed("'approved'", persisted=True))

    __table_args__ = (
        CheckConstraint("version = 1 OR proposal_id IS NOT NULL", name="policy_proposed"),
        ForeignKeyConstraint(
            ["proposal_id", "approved"],
            ["gateway.proposals.id", "gateway.proposals.state"],
            name="policies_proposal_fkey",
        ),
    )


def to_public(code: Any) -> contracts.Code:
    """Return the public form of a code's row. `code` is a row of the table or of a raw statement."""
    return contracts.Code(
        id=code.resident_id,
        version=code.version,
        region=code.region,
        colour=LABELS[code.colour],
        until=code.until,
        colour_after=None if code.colour_after is None else LABELS[code.colour_after],
        green_from=code.green_from,
        policy=code.policy,
        reasons=tuple(
            contracts.Reason(
                rule=reason["rule"],
                colour=LABELS[reason["colour"]],
                evidence_type=reason["source_type"],
                evidence_id=UUID(reason["source_id"]),
                since=datetime.fromisoformat(reason["since"]),
                until=_instant(reason["until"]),
                earliest_end=_instant(reason.get("earliest_end")),
            )
            for reason in code.reasons
        ),
    )


def _instant(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None
