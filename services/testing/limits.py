"""What a district may set for testing: its deadlines, in hours."""

from datetime import timedelta
from functools import lru_cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CLOCK_AHEAD = timedelta(minutes=5)
"""How far a device's clock may be ahead of the server's."""

MOST_ITEMS = 1_000
"""Items in one batch."""

MOST_EXPECTED = 300_000
"""People of one round: their snapshot is one statement of about three seconds. Larger districts plan by township."""


class Limits(BaseSettings):
    """Deadlines of testing, read from `FANGXIAN_TESTING_…`."""

    model_config = SettingsConfigDict(env_prefix="FANGXIAN_TESTING_", frozen=True, extra="ignore")

    receipt_hours: float = Field(
        default=4, gt=0, description="From the first swab to the laboratory; longer is flagged. Source: local decision."
    )
    retest_hours: float = Field(
        default=24, gt=0, description="From the call to the decision of a retest. Source: local decision."
    )

    @property
    def receipt(self) -> timedelta:
        """The longest way of a tube to its laboratory."""
        return timedelta(hours=self.receipt_hours)

    @property
    def retest(self) -> timedelta:
        """The time within which a person called to a retest should know."""
        return timedelta(hours=self.retest_hours)


@lru_cache
def limits() -> Limits:
    """The limits of this process."""
    return Limits()
