"""Days as Asia/Shanghai has them. Pure: rules may use it, which must not be able to reach a clock."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")


def day_of(instant: datetime) -> date:
    """The calendar day an instant falls on where the district lives. Needs an aware datetime."""
    if instant.tzinfo is None:
        raise ValueError("an instant without a time zone has no day")
    return instant.astimezone(SHANGHAI).date()


def start_of(day: date) -> datetime:
    """The first instant of a day in Asia/Shanghai, as UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=SHANGHAI).astimezone(UTC)
