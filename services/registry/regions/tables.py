"""Tables of regions. The column `region` of a row is its own code."""

from datetime import date

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from services.registry.base import Row
from shared.contracts.registry import Region
from shared.core.regions import LEVELS, Level
from shared.database.rows import Code


class RegionRow(Row):
    """One region. Its parent must exist, and the parent's code must be a prefix of its own."""

    __tablename__ = "regions"

    name: Mapped[str]
    level: Mapped[Level] = mapped_column(Code)
    parent: Mapped[str | None] = mapped_column(Code, ForeignKey("registry.regions.region"))
    valid_from: Mapped[date | None]
    valid_until: Mapped[date | None]

    __table_args__ = (
        UniqueConstraint("region", name="region_taken"),
        CheckConstraint(
            "level = CASE length(region) "
            + " ".join(f"WHEN {length} THEN '{level}'" for length, level in LEVELS.items())
            + " END",
            name="region_level",
        ),
        CheckConstraint("parent IS NULL OR starts_with(region, parent)", name="region_parent"),
    )

    def public(self) -> Region:
        """Return the form of the API and the feed."""
        return Region(
            id=self.id,
            version=self.version,
            region=self.region,
            name=self.name,
            level=self.level,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
        )
