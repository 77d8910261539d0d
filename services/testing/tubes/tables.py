"""Tables of tubes: rolls of numbers, tubes, their samples, and refused records."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from services.testing.base import Base, Row
from services.testing.tubes.rules import number_of
from services.testing.tubes.schemas import Roll
from shared.database.rows import Code

IDS = ARRAY(PG_UUID(as_uuid=True))


class SerialRow(Base):
    """The next free serial of a tube, in a single row. A serial is never returned."""

    __tablename__ = "tube_serials"

    only: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    following: Mapped[int]

    __table_args__ = (CheckConstraint('"only"', name="tube_serials_one"),)


class RollRow(Row):
    """A range of tube numbers for one region in one round, so that offline devices cannot conflict."""

    __tablename__ = "rolls"

    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("testing.campaigns.id"), index=True)
    capacity: Mapped[int]
    first: Mapped[int] = mapped_column(unique=True)
    last: Mapped[int]

    __table_args__ = (
        CheckConstraint("capacity IN (1, 5, 10, 20)", name="roll_capacity"),
        CheckConstraint("first <= last", name="roll_range"),
    )

    def public(self) -> Roll:
        """Return the API's form, with every number of the range."""
        return Roll.model_validate(
            {
                "id": self.id,
                "campaign_id": self.campaign_id,
                "region": self.region,
                "capacity": self.capacity,
                "numbers": [number_of(serial) for serial in range(self.first, self.last + 1)],
            }
        )


class TubeRow(Row):
    """One tube of one round. Its first swab or its seal creates the row."""

    __tablename__ = "tubes"

    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("testing.campaigns.id"), index=True)
    number: Mapped[str] = mapped_column(Code)
    capacity: Mapped[int]
    drill: Mapped[bool]
    state: Mapped[str] = mapped_column(Code, server_default="open")
    people: Mapped[int] = mapped_column(server_default="0", comment="Samples in it without an exception.")
    answers: Mapped[list[UUID]] = mapped_column(IDS, server_default="{}")
    first_sampled_at: Mapped[datetime | None]
    manifest: Mapped[list[UUID] | None] = mapped_column(IDS)
    missing: Mapped[int] = mapped_column(
        server_default="0", comment="Samples that the manifest lists and that have not arrived yet."
    )
    sealed_at: Mapped[datetime | None]
    received_at: Mapped[datetime | None]
    late: Mapped[bool] = mapped_column(server_default=text("false"))
    laboratory: Mapped[str | None] = mapped_column(Code)
    box_id: Mapped[UUID | None] = mapped_column(ForeignKey("testing.boxes.id"), index=True)
    outcome: Mapped[str | None] = mapped_column(Code)
    revision: Mapped[int | None]
    tested_at: Mapped[datetime | None]
    reported_at: Mapped[datetime | None]
    held: Mapped[bool] = mapped_column(server_default=text("false"))
    discarded_at: Mapped[datetime | None]
    discard_reason: Mapped[str | None] = mapped_column(Code)

    __table_args__ = (
        UniqueConstraint("number", name="tube_number_taken"),
        CheckConstraint("capacity IN (1, 5, 10, 20)", name="tube_capacity"),
        CheckConstraint("people BETWEEN 0 AND capacity", name="tube_full"),
        CheckConstraint(
            "state IN ('open', 'sealed', 'in_transit', 'received', 'resulted', 'discarded')", name="tube_state"
        ),
        CheckConstraint(
            "(manifest IS NULL) = (sealed_at IS NULL) AND (manifest IS NOT NULL OR state IN ('open', 'discarded'))"
            " AND (manifest IS NULL OR state <> 'open')",
            name="tube_manifest",
        ),
        CheckConstraint("missing BETWEEN 0 AND coalesce(cardinality(manifest), 0)", name="tube_missing"),
        CheckConstraint("received_at IS NOT NULL OR state NOT IN ('received', 'resulted')", name="tube_received"),
        CheckConstraint("received_at IS NULL OR laboratory IS NOT NULL", name="tube_laboratory"),
        CheckConstraint(
            "num_nulls(outcome, revision, tested_at, reported_at) IN (0, 4)"
            " AND (outcome IS NOT NULL OR state <> 'resulted')"
            " AND (outcome IS NULL OR state IN ('resulted', 'discarded'))",
            name="tube_result",
        ),
        CheckConstraint("outcome IN ('negative', 'positive', 'inconclusive', 'invalid')", name="tube_outcome"),
        CheckConstraint("held = (outcome IS NOT NULL AND missing > 0)", name="tube_held"),
        CheckConstraint("(discarded_at IS NULL) = (state <> 'discarded')", name="tube_discarded"),
        CheckConstraint("answers = '{}' OR capacity = 1", name="tube_answers"),
        Index("tubes_laboratory_idx", "laboratory", "id", postgresql_where=text("laboratory IS NOT NULL")),
    )


class SampleRow(Base):
    """One person's swab in a tube. `region` is that of the tube, `home` the grid where the round expects the person."""

    __tablename__ = "samples"

    id: Mapped[UUID] = mapped_column(primary_key=True, comment="Made by the device.")
    campaign_id: Mapped[UUID]
    tube_id: Mapped[UUID] = mapped_column(ForeignKey("testing.tubes.id"), index=True)
    resident_id: Mapped[UUID] = mapped_column(index=True)
    region: Mapped[str] = mapped_column(Code)
    home: Mapped[str | None] = mapped_column(Code)
    sampled_at: Mapped[datetime]
    exception: Mapped[str | None] = mapped_column(Code)
    offline: Mapped[bool]
    retest: Mapped[bool] = mapped_column(comment="Taken for the pools of its tube and not for the round.")
    counted: Mapped[bool] = mapped_column(comment="Takes the person's only place in the round.")
    moved_from: Mapped[UUID | None] = mapped_column(comment="The tube it was recorded in first.")
    moved_reason: Mapped[str | None] = mapped_column(Code)
    undone_at: Mapped[datetime | None]
    undone_reason: Mapped[str | None] = mapped_column(Code)
    kept_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index(
            "twice_in_round",
            "campaign_id",
            "resident_id",
            unique=True,
            postgresql_where=text("counted"),
            postgresql_include=["home", "region"],
        ),
        Index(
            "samples_exceptions_idx",
            "campaign_id",
            "resident_id",
            postgresql_where=text("exception IS NOT NULL"),
        ),
        CheckConstraint(
            "exception IN ('over_capacity', 'twice_in_round', 'single_only', 'after_close', 'stale_code')",
            name="sample_exception",
        ),
        CheckConstraint(
            "NOT counted OR (exception IS NULL AND undone_at IS NULL AND NOT retest)", name="sample_counted"
        ),
        CheckConstraint("(undone_at IS NULL) = (undone_reason IS NULL)", name="sample_undone"),
    )


class RefusedSampleRow(Row):
    """A record of a swab that was taken but could not be kept, with the reason. Staff see and resolve it."""

    __tablename__ = "refused_samples"

    sample_id: Mapped[UUID]
    campaign_id: Mapped[UUID]
    tube_number: Mapped[str] = mapped_column(Code)
    resident_id: Mapped[UUID | None] = mapped_column(comment="Null if the scanned code does not identify a person.")
    sampled_at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(Code, comment="The code of the problem.")
    resolved_at: Mapped[datetime | None] = mapped_column(comment="When the same record was kept after all.")

    __table_args__ = (UniqueConstraint("sample_id", "reason"),)
