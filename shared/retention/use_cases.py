"""Retention: what happens."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import structlog
from pydantic import ConfigDict, Field
from sqlalchemy import column, func, select, table, text

from shared.actors import Role
from shared.audit.kinds import Kind as Act
from shared.contracts.resource import Said
from shared.house import House
from shared.problems import NotFound
from shared.proposals.use_cases import Kind, Proposal, propose
from shared.work import Work

logger = structlog.get_logger()

BATCH = 2_000
MOST_BATCHES = 500
"""Of one kind in one run: the rest waits for the next, and other work has its turn."""


class Period(Said):
    """How long one kind of data is kept."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"kind": "visits", "days": 28, "source": "local decision: two incubation periods of 14 days"}]
        }
    )

    kind: str = Field(min_length=1, max_length=40, examples=["visits"])
    days: int = Field(ge=1, le=3_650, description="Days after which it is removed.")
    source: str = Field(min_length=1, max_length=300, description="The law, the plan's article, or a local decision.")


class PeriodProposed(Said):
    """Another period, and why."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "period": {"kind": "visits", "days": 14, "source": "local decision: one incubation period"},
                    "reason": "疫情缓解，缩短保存期",
                }
            ]
        }
    )

    period: Period
    reason: str = Field(min_length=1, max_length=1_000)


class Removed(Said):
    """What was removed on one day."""

    kind: str
    day: date
    rows: int


class Retention(Said):
    """What a service keeps how long, and what it removed in the last year."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "periods": [{"kind": "visits", "days": 28, "source": "local decision: two incubation periods"}],
                    "removed": [{"kind": "visits", "day": "2021-02-20", "rows": 51230}],
                }
            ]
        }
    )

    periods: list[Period]
    removed: list[Removed]


PERIODS = text("SELECT kind, days, source FROM retention_periods ORDER BY kind")
REMOVED = text("SELECT kind, day, rows FROM purges WHERE day > CURRENT_DATE - 366 ORDER BY day DESC, kind")
KNOWN = text("SELECT EXISTS (SELECT FROM retention_periods WHERE kind = :kind)")
CHANGE = text("""
    UPDATE retention_periods SET days = :days, source = :source, proposal_id = :proposal_id WHERE kind = :kind
""")
DAYS = table("retention_periods", column("kind"), column("days"))


@dataclass(frozen=True)
class Purge:
    """How one kind of data is removed once its period is over: by a function of the database, made by a migration."""

    kind: str
    function: Callable[[int], Any]
    """As in `func.purge_visits`. It takes the number of rows it may remove at most, and returns how many it removed."""


PURGES = (Purge("audit", func.purge_audit), Purge("jobs", func.purge_jobs))
"""Of what every service has. Those of its own a service lists in its worker."""


async def get_retention(work: Work) -> Retention:
    periods = [Period(**row) for row in await work.rows(PERIODS)]
    return Retention(periods=periods, removed=[Removed(**row) for row in await work.rows(REMOVED)])


async def propose_period(work: Work, period: Period, reason: str) -> Proposal:
    if not (await work.rows(KNOWN, kind=period.kind))[0]["exists"]:
        raise NotFound()
    return await propose(work, RETENTION, period, reason)


async def change_period(work: Work, period: Period, proposal_id: UUID) -> None:
    """Keep a kind of data as long as two people agreed."""
    await work.run(CHANGE, **period.model_dump(), proposal_id=proposal_id)


RETENTION = Kind("retention", Period, Role.COMMAND, change_period)


async def purge_all(house: House, purges: Iterable[Purge]) -> dict[str, int]:
    """Remove all that is past its period, in small batches, each a transaction that also counts what it removed."""
    removed = {one.kind: await _purge(house, one) for one in (*purges, *PURGES)}
    if any(removed.values()):
        logger.info("retention.purged", **removed)
    return removed


async def _purge(house: House, one: Purge) -> int:
    days = select(DAYS.c.days).where(DAYS.c.kind == one.kind).scalar_subquery()
    statement = select(one.function(BATCH).label("removed"), days.label("days"))
    total = 0
    for _ in range(MOST_BATCHES):
        async with house.system_work("purge") as work:
            (row,) = await work.rows(statement)
            found: int = row["removed"]
            if found:
                work.audit(kind=Act.PURGE, reason=f"{one.kind}: {found} older than {row['days']} days")
        total += found
        if found < BATCH:
            break
    return total
