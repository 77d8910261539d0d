"""Maintenance of partitions, removal of old idempotency keys, and the metrics for operators."""

import asyncio
import math
from collections.abc import Sequence
from datetime import timedelta

import httpx
from sqlalchemy import text

from shared.audit import chaining
from shared.feed.log import PRIORITIES
from shared.feed.reader import Reaction, Reader
from shared.http import idempotency
from shared.observability import telemetry
from shared.problems import Problem
from shared.runtime.context import ServiceContext, owners_read_by

KEEP_PARTITIONS = text("SELECT keep_partitions(:retention_days), keep_audit_partitions()")

COUNT_DEAD_LETTERS = text("SELECT count(*) FROM feed_parked")
COUNT_OPEN_JOBS = text("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')")
SELECT_OLDEST_TRANSACTION = text("SELECT cluster.oldest_transaction_seconds()")


async def keep_partitions(context: ServiceContext) -> None:
    """Create the partitions of the next days and months. Drop feed partitions that are past their retention."""
    async with context.system_unit_of_work("keep_partitions") as uow:
        await uow.rows(KEEP_PARTITIONS, retention_days=context.settings.feed_retention_days)


async def forget_old_keys(context: ServiceContext) -> None:
    """Remove idempotency keys after 24 hours."""
    async with context.system_unit_of_work("forget_old_keys") as uow:
        await uow.run(idempotency.DELETE_OLD_KEYS, before=uow.now - timedelta(hours=24))


async def measure(context: ServiceContext, reactions: Sequence[Reaction]) -> None:
    """Set the gauges for `/metrics`."""
    readers = (Reader(context, owner, reactions) for owner in owners_read_by(context.settings.service))
    await asyncio.gather(_measure_own(context), *(_measure_lag(reader) for reader in readers if reader.types))


async def _measure_lag(reader: Reader) -> None:
    """Set the lag of a reader. Only the owner knows it, so it is NaN while the owner does not answer."""
    try:
        lags = await reader.unread()
    except (Problem, httpx.HTTPError):
        lags = dict.fromkeys(PRIORITIES, math.nan)
    for priority, seconds in lags.items():
        telemetry.FEED_LAG.labels(reader.context.settings.service, reader.owner, priority).set(seconds)


async def _measure_own(context: ServiceContext) -> None:
    service = context.settings.service
    async with context.system_unit_of_work("metrics") as uow:
        telemetry.FEED_DEAD_LETTERS.labels(service).set((await uow.session.execute(COUNT_DEAD_LETTERS)).scalar_one())
        telemetry.JOBS_OPEN.labels(service).set((await uow.session.execute(COUNT_OPEN_JOBS)).scalar_one())
        await chaining.measure(uow)
        telemetry.FEED_STALLED.labels(service).set((await uow.session.execute(SELECT_OLDEST_TRANSACTION)).scalar_one())
