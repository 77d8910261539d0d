"""Checks of PostgreSQL, of the feeds in it, and of Redis."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from deploy import regions, secret_files, status
from deploy.doctor.configuration import settings_of
from deploy.doctor.finding import Finding, Target
from deploy.embedded import home, postgres, valkey
from deploy.own_servers import check_redis, host_of
from deploy.trouble import Trouble
from shared.core.settings import LOCK_CONNECTIONS, SERVICES, Settings

if TYPE_CHECKING:
    from deploy.feed import Lag

PROCESSES = 2 * len(SERVICES)
SPARE_CONNECTIONS = 12
"""For the fast path of the gateway, migrations, backups and the psql of an operator."""
CLOCK_DIFFERENCE_SECONDS = 2.0
IDLE_SECONDS = 90.0
"""A reader moves its cursor every 60 seconds, even if there is nothing to read."""
LATE_SECONDS = 30.0
LONGEST_TRANSACTION_SECONDS = 30.0

OLDEST_TRANSACTION = """
    SELECT coalesce(extract(epoch FROM max(now() - xact_start)), 0)::float8 FROM pg_stat_activity
    WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
"""


def servers(target: Target) -> Iterator[Finding]:
    """Check that this shell names the servers that the running installation uses."""
    state = status.read(target.directory.status) or {}
    absent = status.not_named(state, target.options.own_servers) if target.pid is not None else []
    if absent:
        names = " and ".join(absent)
        yield Finding(
            "servers", False, f"cannot be checked: {names} not set here", f"set {names} to the same value as for `up`"
        )


def _is_unnamed(target: Target, variable: str) -> bool:
    """Whether the running installation uses its own server, and this environment does not name it."""
    state = status.read(target.directory.status) or {}
    return target.pid is not None and variable in status.not_named(state, target.options.own_servers)


def database(target: Target) -> Iterator[Finding]:
    """Check PostgreSQL; if it answers, also the migrations, the region and the feeds."""
    if target.is_starting or _is_unnamed(target, "DATABASE_URL"):
        return
    url = _owner_url(target)
    if url is None:
        yield Finding("PostgreSQL", True, "embedded, not running")
        return
    findings = asyncio.run(_check_server(url, _pool_size(target)))
    yield from findings
    if findings[0].is_ok:
        migrated = _migrations(url)
        yield migrated
        if migrated.is_ok:
            yield from _region(target, url)
            yield from asyncio.run(_check_feeds(url))


def _owner_url(target: Target) -> str | None:
    if target.options.database_url:
        return target.options.database_url
    password = target.directory.keys / "owner" / "database-owner.password"
    if target.pid is None or not password.exists():
        return None
    return postgres.owner_url(home.find(target.directory.path), secret_files.read(password))


def _pool_size(target: Target) -> int:
    try:
        return settings_of(target).database_pool
    except Trouble:  # reported by the check of the settings
        return int(Settings.model_fields["database_pool"].default)


async def _check_server(url: str, pool: int) -> list[Finding]:
    import asyncpg

    remedy = "start it; check DATABASE_URL, or read `fangxian logs postgres`"
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [Finding("PostgreSQL", False, f"{host_of(url)} cannot be reached: {error}", remedy)]
    try:
        version = connection.get_server_version()
        allowed = int(await connection.fetchval("SHOW max_connections"))
        before = time.time()
        server_time: datetime = await connection.fetchval("SELECT clock_timestamp()")
        after = time.time()
        off = [name for name in ("fsync", "full_page_writes") if await connection.fetchval(f"SHOW {name}") != "on"]
    finally:
        await connection.close()
    needed = PROCESSES * pool + len(SERVICES) * LOCK_CONNECTIONS + SPARE_CONNECTIONS
    # The server read its clock between `before` and `after`. So a slow answer does not count as a difference.
    difference = max(before - server_time.timestamp(), server_time.timestamp() - after, 0.0)
    return [
        Finding("PostgreSQL", version.major >= 18, f"{version.major}.{version.micro}", "use PostgreSQL 18"),
        Finding(
            "connections",
            needed <= allowed,
            f"{needed} needed, {allowed} allowed",
            "raise max_connections, or lower FANGXIAN_DATABASE_POOL",
        ),
        Finding(
            "durability", not off, f"{', '.join(off)} off" if off else "on", "set fsync and full_page_writes to on"
        ),
        Finding(
            "clocks",
            difference < CLOCK_DIFFERENCE_SECONDS,
            f"differ by {difference:.2f} s",
            "synchronise both clocks with NTP",
        ),
    ]


def _migrations(url: str) -> Finding:
    import migrations

    try:
        if problem := migrations.version_problem(url):
            return Finding("migrations", False, problem, "install that version")
        behind = migrations.pending(url)
    except Exception as error:  # whatever the database answers, doctor continues
        first_line = str(error).partition("\n")[0]
        return Finding("migrations", False, f"{type(error).__name__}: {first_line}")
    result = f"{', '.join(behind)} behind this version" if behind else f"at this version ({version('fangxian')})"
    return Finding("migrations", not behind, result, "run `fangxian migrate`, or `fangxian up`, which also migrates")


def _region(target: Target, url: str) -> Iterator[Finding]:
    """Check that the region to serve exists, even if the installation does not run."""
    import migrations
    import migrations.regions

    try:
        region = settings_of(target).region
    except Trouble:  # reported by the check of the settings
        return
    if region:
        exists = migrations.with_owner(url, lambda connection: migrations.regions.exists(connection, region))
        yield Finding("region", exists, region if exists else regions.not_there(region))


async def _check_feeds(url: str) -> list[Finding]:
    """Check that every worker reads in time, that no entry failed, and that no old transaction delays the feeds."""
    import asyncpg

    from deploy import feed

    connection = await asyncpg.connect(url, timeout=5)
    try:
        readings, dead_letters = await feed.lag_of(connection), await feed.dead_letters_of(connection)
        oldest = float(await connection.fetchval(OLDEST_TRANSACTION))
    finally:
        await connection.close()
    now = datetime.now(UTC)
    late = [reading for reading in readings if reading.oldest and (now - reading.oldest).total_seconds() > LATE_SECONDS]
    behind = [
        f"{reading.reader} is {reading.entries} entries behind {reading.owner} ({reading.priority})" for reading in late
    ]
    return [
        _workers(readings),
        Finding(
            "feeds", not late, "; ".join(behind) or "read in time", "see `fangxian feed lag` and the log of the worker"
        ),
        Finding(
            "parked",
            not dead_letters,
            f"{len(dead_letters)} entries could not be processed" if dead_letters else "nothing",
            "see `fangxian feed parked`, correct the cause, then run `fangxian feed retry`",
        ),
        Finding(
            "transactions",
            oldest <= LONGEST_TRANSACTION_SECONDS,
            f"the oldest one runs for {oldest:.0f} s",
            "it delays every feed: find it in pg_stat_activity by xact_start, and end it",
        ),
    ]


def _workers(readings: Sequence["Lag"]) -> Finding:
    """Check that the feeds are read.

    A worker that reads none of its feeds has stopped. If it reads others, the owner of the idle feed does not answer.
    """
    idle = [reading for reading in readings if reading.idle_seconds is None or reading.idle_seconds > IDLE_SECONDS]
    stopped = sorted(
        {reading.reader for reading in idle} - {reading.reader for reading in readings if reading not in idle}
    )
    silent = sorted({reading.owner for reading in idle if reading.reader not in stopped})
    if stopped:
        remedy = f"start them; read `fangxian logs {stopped[0]}-worker`"
        return Finding("workers", False, f"not reading: {', '.join(stopped)}", remedy)
    if silent:
        remedy = f"restart it; read `fangxian logs {silent[0]}`"
        return Finding("workers", False, f"waiting for {', '.join(silent)}, which does not answer", remedy)
    return Finding("workers", True, "read their feeds")


def redis(target: Target) -> Iterator[Finding]:
    """Check Redis, or the embedded Valkey."""
    if target.is_starting or _is_unnamed(target, "REDIS_URL"):
        return
    if target.options.redis_url:
        check_redis(target.options.redis_url)
        yield Finding("Redis", True, "answers")
        return
    password = target.directory.keys / "owner" / "valkey.password"
    if target.pid is None or not password.exists():
        yield Finding("Valkey", True, "embedded, not running")
        return
    answers = valkey.answers(valkey.socket_of(home.find(target.directory.path)), secret_files.read(password))
    yield Finding("Valkey", answers, "answers" if answers else "does not answer", "read `fangxian logs valkey`")
