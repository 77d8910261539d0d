"""Retention: the use cases."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import structlog
from pydantic import ConfigDict, Field
from sqlalchemy import column, func, select, table, text

from shared.audit.kinds import Kind as Act
from shared.contracts.resource import Schema
from shared.core.actors import Role
from shared.database.unit_of_work import UnitOfWork
from shared.governance.proposals.use_cases import Proposal, ProposalType, propose
from shared.problems import NotFound
from shared.runtime.context import ServiceContext

logger = structlog.get_logger()

BATCH = 2_000
MOST_BATCHES = 500
"""Batches of one kind in one run. The rest waits for the next run, so that other tasks can run in between."""


class Period(Schema):
    """How long one kind of data is kept."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"kind": "visits", "days": 28, "source": "local decision: two incubation periods of 14 days"}]
        }
    )

    kind: str = Field(min_length=1, max_length=40, examples=["visits"])
    days: int = Field(ge=1, le=3_650, description="Days after which the data is removed.")
    source: str = Field(min_length=1, max_length=300, description="The law, article of the plan, or local decision.")


class PeriodProposed(Schema):
    """A proposed period and the reason for it."""

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


class Removed(Schema):
    """The number of rows of one kind that were removed on one day."""

    kind: str
    day: date
    rows: int


class Retention(Schema):
    """How long a service keeps each kind of data, and what it removed in the last year."""

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


SELECT_PERIODS = text("SELECT kind, days, source FROM retention_periods ORDER BY kind")
SELECT_REMOVED = text("SELECT kind, day, rows FROM purges WHERE day > CURRENT_DATE - 366 ORDER BY day DESC, kind")
SELECT_IS_KNOWN = text("SELECT EXISTS (SELECT FROM retention_periods WHERE kind = :kind)")
UPDATE_PERIOD = text("""
    UPDATE retention_periods SET days = :days, source = :source, proposal_id = :proposal_id WHERE kind = :kind
""")
DAYS = table("retention_periods", column("kind"), column("days"))


@dataclass(frozen=True)
class Purge:
    """Removes one kind of data when its period is over: a function of the database, created by a migration."""

    kind: str
    function: Callable[[int], Any]
    """As in `func.purge_visits`. It takes the number of rows it may remove at most, and returns how many it removed."""


PURGES = (Purge("audit", func.purge_audit), Purge("jobs", func.purge_jobs))
"""Of every service. A service lists its own in its worker."""


async def get_retention(uow: UnitOfWork) -> Retention:
    """Return all periods, and what was removed in the last year."""
    periods = [Period(**row) for row in await uow.rows(SELECT_PERIODS)]
    return Retention(periods=periods, removed=[Removed(**row) for row in await uow.rows(SELECT_REMOVED)])


async def propose_period(uow: UnitOfWork, period: Period, reason: str) -> Proposal:
    """Propose a period for a known kind of data. Raises `NotFound` for another kind."""
    if not (await uow.rows(SELECT_IS_KNOWN, kind=period.kind))[0]["exists"]:
        raise NotFound()
    return await propose(uow, RETENTION, period, reason)


async def change_period(uow: UnitOfWork, period: Period, proposal_id: UUID) -> None:
    """Set the approved period of a kind of data."""
    await uow.run(UPDATE_PERIOD, **period.model_dump(), proposal_id=proposal_id)


RETENTION = ProposalType("retention", Period, Role.COMMAND, change_period)


async def purge_all(context: ServiceContext, purges: Iterable[Purge]) -> dict[str, int]:
    """Remove all data past its period, in small batches. Each batch is a transaction that also counts its rows."""
    removed = {one.kind: await _purge(context, one) for one in (*purges, *PURGES)}
    if any(removed.values()):
        logger.info("retention.purged", **removed)
    return removed


async def _purge(context: ServiceContext, one: Purge) -> int:
    days = select(DAYS.c.days).where(DAYS.c.kind == one.kind).scalar_subquery()
    statement = select(one.function(BATCH).label("removed"), days.label("days"))
    total = 0
    for _ in range(MOST_BATCHES):
        async with context.system_unit_of_work("purge") as uow:
            (row,) = await uow.rows(statement)
            count: int = row["removed"]
            if count:
                uow.audit(kind=Act.PURGE, reason=f"{one.kind}: {count} older than {row['days']} days")
        total += count
        if count < BATCH:
            break
    return total
