"""Service points: the places that ask for a code before they serve."""

from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from services.gateway.base import Row
from services.gateway.codes.policy import Colour
from services.gateway.points.schemas import Asked, ServicePoint
from services.gateway.verifications.rules import PointPolicy, Verdict, outcomes
from shared.db import REGION


class PointRow(Row):
    """One place, what it asks of those who come, and the service it protects, if any."""

    __tablename__ = "points"

    name: Mapped[str]
    passes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    registers: Mapped[list[str]] = mapped_column(ARRAY(Text))
    negative_within: Mapped[timedelta | None]
    without_negative: Mapped[str] = mapped_column(REGION)
    fever_tenths: Mapped[int] = mapped_column(SmallInteger)
    with_fever: Mapped[str] = mapped_column(REGION)
    unknown_person: Mapped[str] = mapped_column(REGION)
    medical: Mapped[bool]
    outcomes: Mapped[bytes]
    """What the policy says in each of the 16 situations (verifications/rules.py); the door's statement picks one."""
    receipt_seconds: Mapped[int] = mapped_column(Integer)
    slug: Mapped[str | None] = mapped_column(REGION)
    upstream_url: Mapped[str | None]
    closed_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("octet_length(outcomes) = 16", name="point_outcomes"),
        CheckConstraint("receipt_seconds BETWEEN 1 AND 43200", name="point_receipt"),
        CheckConstraint("slug IS NOT NULL OR upstream_url IS NULL", name="point_protects"),
        Index("slug_taken", "slug", unique=True, postgresql_where=text("closed_at IS NULL")),
    )

    def ask(self, asked: Asked) -> None:
        """Let the point ask this from now on. What follows for each situation is worked out here, once."""
        policy = policy_of(asked)
        hours = policy.negative_within_hours
        self.name = asked.name
        self.passes = sorted(asked.passes)
        self.registers = sorted(asked.registers)
        self.negative_within = None if hours is None else timedelta(hours=hours)
        self.without_negative = asked.without_negative
        self.fever_tenths = policy.fever_tenths
        self.with_fever = asked.with_fever
        self.unknown_person = asked.unknown_person
        self.medical = asked.medical
        self.outcomes = outcomes(policy)
        self.receipt_seconds = asked.receipt_seconds
        self.slug = asked.slug
        self.upstream_url = asked.upstream_url

    def public(self) -> ServicePoint:
        """As the API says it."""
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


def policy_of(asked: Asked) -> PointPolicy:
    """What is asked, as the rules take it."""
    return PointPolicy(
        passes=frozenset(Colour[name.upper()] for name in asked.passes),
        registers=frozenset(Colour[name.upper()] for name in asked.registers),
        negative_within_hours=asked.negative_within_hours,
        without_negative=Verdict[asked.without_negative.upper()],
        fever_celsius=asked.fever_celsius,
        with_fever=Verdict[asked.with_fever.upper()],
        unknown_person=Verdict[asked.unknown_person.upper()],
        never_refuses=asked.medical,
    )
