"""Table of service points: the places that check codes."""

from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Row
from services.gateway.codes.policy import Colour
from services.gateway.points.schemas import Asked, ServicePoint
from services.gateway.verifications.rules import PointPolicy, Verdict, outcomes
from shared.database.rows import Code


class PointRow(Row):
    """One service point with its requirements and the service that it protects, if any."""

    __tablename__ = "points"

    name: Mapped[str]
    passes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    registers: Mapped[list[str]] = mapped_column(ARRAY(Text))
    negative_within: Mapped[timedelta | None]
    without_negative: Mapped[str] = mapped_column(Code)
    fever_tenths: Mapped[int] = mapped_column(SmallInteger)
    with_fever: Mapped[str] = mapped_column(Code)
    unknown_person: Mapped[str] = mapped_column(Code)
    medical: Mapped[bool]
    outcomes: Mapped[bytes]
    """The outcomes of the policy in the 16 situations (verifications/rules.py). RECORD_VISITS selects one of them."""
    receipt_seconds: Mapped[int] = mapped_column(Integer)
    slug: Mapped[str | None] = mapped_column(Code)
    upstream_url: Mapped[str | None]
    closed_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("octet_length(outcomes) = 16", name="point_outcomes"),
        CheckConstraint("receipt_seconds BETWEEN 1 AND 43200", name="point_receipt"),
        CheckConstraint("slug IS NOT NULL OR upstream_url IS NULL", name="point_protects"),
        Index("slug_taken", "slug", unique=True, postgresql_where=text("closed_at IS NULL")),
    )

    def ask(self, requirements: Asked) -> None:
        """Set the requirements, and compute the outcome of each situation."""
        policy = policy_of(requirements)
        hours = policy.negative_within_hours
        self.name = requirements.name
        self.passes = sorted(requirements.passes)
        self.registers = sorted(requirements.registers)
        self.negative_within = None if hours is None else timedelta(hours=hours)
        self.without_negative = requirements.without_negative
        self.fever_tenths = policy.fever_tenths
        self.with_fever = requirements.with_fever
        self.unknown_person = requirements.unknown_person
        self.medical = requirements.medical
        self.outcomes = outcomes(policy)
        self.receipt_seconds = requirements.receipt_seconds
        self.slug = requirements.slug
        self.upstream_url = requirements.upstream_url

    def public(self) -> ServicePoint:
        """The service point as the API shows it."""
        within = self.negative_within
        return ServicePoint.model_validate(
            {
                "id": self.id,
                "version": self.version,
                "region": self.region,
                "name": self.name,
                "passes": self.passes,
                "registers": self.registers,
                "negative_within_hours": None if within is None else round(within / timedelta(hours=1)),
                "without_negative": self.without_negative,
                "fever_celsius": self.fever_tenths / 10,
                "with_fever": self.with_fever,
                "unknown_person": self.unknown_person,
                "medical": self.medical,
                "receipt_seconds": self.receipt_seconds,
                "slug": self.slug,
                "upstream_url": self.upstream_url,
                "closed_at": self.closed_at,
            }
        )


def policy_of(requirements: Asked) -> PointPolicy:
    """Convert requirements to the type of the rules."""
    return PointPolicy(
        passes=frozenset(Colour[name.upper()] for name in requirements.passes),
        registers=frozenset(Colour[name.upper()] for name in requirements.registers),
        negative_within_hours=requirements.negative_within_hours,
        without_negative=Verdict[requirements.without_negative.upper()],
        fever_celsius=requirements.fever_celsius,
        with_fever=Verdict[requirements.with_fever.upper()],
        unknown_person=Verdict[requirements.unknown_person.upper()],
        never_refuses=requirements.medical,
    )
