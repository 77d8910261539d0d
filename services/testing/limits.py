"""Limits of the testing service. A district can set the deadlines, in hours."""

from datetime import timedelta
from functools import lru_cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CLOCK_AHEAD = timedelta(minutes=5)
"""How far a device's clock may be ahead of the server's."""

MOST_ITEMS = 1_000
"""Items in one batch."""

MOST_EXPECTED = 300_000
"""People of one round. Their snapshot is one statement of about three seconds. A larger district plans by township."""


class Limits(BaseSettings):
    """Deadlines of testing, read from `FANGXIAN_TESTING_…`."""

    model_config = SettingsConfigDict(env_prefix="FANGXIAN_TESTING_", frozen=True, extra="ignore")

    receipt_hours: float = Field(
        default=4,
        gt=0,
        description="Hours from the first swab to receipt by the laboratory. A later tube is flagged. "
        "Source: local decision.",
    )
    retest_hours: float = Field(
        default=24, gt=0, description="Hours from the call to the result of a retest. Source: local decision."
    )

    @property
    def reception(self) -> timedelta:
        """The longest time from the first swab in a tube to its receipt."""
        return timedelta(hours=self.receipt_hours)

    @property
    def retest(self) -> timedelta:
        """The time within which a person called to a retest should have the result."""
        return timedelta(hours=self.retest_hours)


@lru_cache
def limits() -> Limits:
    """The limits of this process."""
    return Limits()
