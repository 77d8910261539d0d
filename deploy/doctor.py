"""`fangxian doctor`: what is wrong with an installation, and how to mend it. Changes nothing."""

import asyncio
import importlib.util
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploy import data, forwarding, keys, regions, secret_files, status, variables
from deploy.data import DataDirectory
from deploy.embedded import home, postgres, valkey
from deploy.embedded.user import server_user
from deploy.own_servers import check_redis, place_of
from deploy.trouble import Trouble
from deploy.up import Options
from shared import tracing
from shared.settings import LOCK_CONNECTIONS, SERVICES, Settings

if TYPE_CHECKING:
    from deploy.feed import Lag

PROCESSES = 2 * len(SERVICES)
SPARE_CONNECTIONS = 12
"""For the gateway's hot paths, migrations, backups and an operator's psql."""
OLDEST_CLOCK = datetime(2025, 1, 1, tzinfo=UTC)
CLOCK_DIFFERENCE_SECONDS = 2.0
NEARLY_FULL_BYTES = 2 * 1024**3
IDLE_SECONDS = 90.0
"""A reader with nothing to read still moves its cursor each 60 seconds."""
LATE_SECONDS = 30.0
LONGEST_TRANSACTION_SECONDS = 30.0

OLDEST_TRANSACTION = """
    SELECT coalesce(extract(epoch FROM max(now() - xact_start)), 0)::float8 FROM pg_stat_activity
    WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    well: bool
    found: str
    mend: str = ""
    is_warning: bool = False
    """Whether it works all the same, though not as it should."""

    @property
    def fails(self) -> bool:
        """Whether the installation does not work as it is."""
        return not (self.well or self.is_warning)


@dataclass(frozen=True)
class Patient:
    """What is examined."""

    options: Options
    directory: DataDirectory
    pid: int | None
    """The supervisor's, if it runs."""

    @property
    def is_starting(self) -> bool:
        """Whether a supervisor runs that has not yet started everything."""
        state = status.read(self.directory.status) or {}
        return self.pid is not None and not (state.get("pid") == self.pid and state.get("started"))


def examine(options: Options) -> list[Finding]:
    """All findings, in the order in which one would mend them."""
    directory = data.at(options.data)
    patient = Patient(options, directory, data.holder(directory))
    return [finding for check in CHECKS for finding in _findings(check, patient)]


def _findings(check: "Check", patient: Patient) -> list[Finding]:
    name = (check.__name__).strip("_").replace("_", " ")
    try:
        return list(check(patient))
    except PermissionError as error:
        return [Finding(name, False, f"{error.filename}: {error.strerror}", "run doctor as the user who runs `up`")]
    except (Trouble, OSError) as error:
        return [Finding(name, False, str(error), "see the sentence itself")]


def _python(_: Patient) -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), found, "install Python 3.11 or later")


def _disk(patient: Patient) -> Iterator[Finding]:
    try:
        data.check_space(patient.directory)
    except Trouble as trouble:
        yield Finding("disk", False, str(trouble), "make room, or choose another --data")
        return
    free = data.free_bytes(patient.directory)
    found = f"{free / 1024**3:.1f} GB free"
    yield Finding("disk", free >= NEARLY_FULL_BYTES, found, "make room: at 500 MB nothing starts any more")


def _directory(patient: Patient) -> Iterator[Finding]:
    directory = patient.directory
    try:
        data.check(directory)
    except Trouble as trouble:
        yield Finding("data directory", False, str(trouble), "see the sentence itself")
        return
    if not directory.path.exists():
        yield Finding("data directory", True, f"{directory.path} is not made yet")
        return
    said = (
        directory.version.read_text(encoding="utf-8", errors="replace").strip()
        if directory.is_complete
        else "not complete"
    )
    yield Finding("data directory", True, f"{directory.path}, format {said}")
    loose = [path for path in (directory.path, directory.logs) if path.exists() and _others_may(path, stat.S_IWOTH)]
    mend = f"chmod o-w {' '.join(map(str, loose))}"
    yield Finding("directory permissions", not loose, "others may write into it" if loose else "private", mend)


def _keys(patient: Patient) -> Iterator[Finding]:
    directory = patient.directory.keys
    if not directory.exists():
        yield Finding("keys", not patient.directory.is_complete, "not made", "put them back from a backup")
        return
    gone = keys.missing(directory)
    yield Finding(
        "keys", not gone, ", ".join(gone) + " missing" if gone else "all there", "put them back from a backup"
    )
    loose = [path for path in (directory, *directory.rglob("*")) if _others_may(path, stat.S_IRWXG | stat.S_IRWXO)]
    found = f"{loose[0]} is open to others" if loose else "private"
    yield Finding("key permissions", not loose, found, f"chmod -R go-rwx {directory}")


def _others_may(path: Path, bits: int) -> bool:
    return bool(path.stat().st_mode & bits)


def _supervisor(patient: Patient) -> Iterator[Finding]:
    if patient.pid is None:
        yield Finding("supervisor", True, "does not run")
        return
    if patient.is_starting:
        yield Finding("supervisor", True, "is starting everything: ask again when `up` says that it runs")
        return
    yield Finding("supervisor", True, f"runs as process {patient.pid}")
    state = status.read(patient.directory.status)
    for name, pid, says, _, restarts, _ in status.rows(state) if state else ():
        well = pid != "-" and says in {"running", "ready"}
        yield Finding(name, well, f"{says}, {restarts} restarts", f"read `fangxian logs {name}`")


def _reverse_proxy(patient: Patient) -> Iterator[Finding]:
    """Whether the gateway knows the reverse proxy in front of it, by what it counted since it started."""
    if patient.pid is None or patient.is_starting:
        return
    state = status.read(patient.directory.status) or {}
    if port := urlsplit(state.get("urls", {}).get("registry", "")).port:
        yield Finding(*forwarding.finding(port))


def _ports(patient: Patient) -> Iterator[Finding]:
    if patient.pid is not None:
        return
    taken = [port for port in patient.options.ports.values() if _is_taken(port)]
    found = f"{', '.join(map(str, taken))} in use" if taken else "free"
    yield Finding("ports", not taken, found, "stop the other program, or choose another --port")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _database(patient: Patient) -> Iterator[Finding]:
    if patient.is_starting or _unnamed(patient, "DATABASE_URL"):
        return
    url = _owner_url(patient)
    if url is None:
        yield Finding("PostgreSQL", True, "embedded, and not running")
        return
    findings = asyncio.run(_ask_database(url, _pool(patient)))
    yield from findings
    if findings[0].well:
        migrated = _migrations(url)
        yield migrated
        if migrated.well:
            yield from _region(patient, url)
            yield from asyncio.run(_ask_feeds(url))


def _servers(patient: Patient) -> Iterator[Finding]:
    state = status.read(patient.directory.status) or {}
    absent = status.not_named(state, patient.options.own_servers) if patient.pid is not None else []
    if absent:
        names = " and ".join(absent)
        yield Finding("servers", False, f"cannot be looked at: {names} not set here", f"set {names} here as for `up`")


def _unnamed(patient: Patient, variable: str) -> bool:
    """Whether what runs uses a server of one's own that this environment does not name."""
    state = status.read(patient.directory.status) or {}
    return patient.pid is not None and variable in status.not_named(state, patient.options.own_servers)


def _region(patient: Patient, url: str) -> Iterator[Finding]:
    """Whether what the installation should serve exists, also where it does not run now."""
    import migrations
    import migrations.regions

    try:
        region = _settings(patient).region
    except Trouble:  # told by the finding of its own
        return
    if region:
        there = migrations.with_owner(url, lambda connection: migrations.regions.exists(connection, region))
        yield Finding("region", there, region if there else regions.not_there(region), "see the sentence itself")


def _owner_url(patient: Patient) -> str | None:
    if patient.options.database_url:
        return patient.options.database_url
    password = patient.directory.keys / "owner" / "database-owner.password"
    if patient.pid is None or not password.exists():
        return None
    return postgres.owner_url(home.find(patient.directory.path), secret_files.read(password))


async def _ask_database(url: str, pool: int) -> list[Finding]:
    import asyncpg

    mend = "start it; check DATABASE_URL, or read `fangxian logs postgres`"
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [Finding("PostgreSQL", False, f"{place_of(url)} cannot be reached: {error}", mend)]
    try:
        version = connection.get_server_version()
        allowed = int(await connection.fetchval("SHOW max_connections"))
        before = time.time()
        its_time: datetime = await connection.fetchval("SELECT clock_timestamp()")
        after = time.time()
        safe = [name for name in ("fsync", "full_page_writes") if await connection.fetchval(f"SHOW {name}") != "on"]
    finally:
        await connection.close()
    needed = PROCESSES * pool + len(SERVICES) * LOCK_CONNECTIONS + SPARE_CONNECTIONS
    differs = max(before - its_time.timestamp(), its_time.timestamp() - after, 0.0)  # however long it took to say so
    return [
        Finding("PostgreSQL", version.major >= 18, f"{version.major}.{version.micro}", "use PostgreSQL 18"),
        Finding(
            "connections",
            needed <= allowed,
            f"{needed} needed, {allowed} allowed",
            "raise max_connections, or lower FANGXIAN_DATABASE_POOL",
        ),
        Finding(
            "durability", not safe, f"{', '.join(safe)} off" if safe else "on", "set fsync and full_page_writes on"
        ),
        Finding("clocks", differs < CLOCK_DIFFERENCE_SECONDS, f"differ by {differs:.2f} s", "set both clocks by NTP"),
    ]


def _migrations(url: str) -> Finding:
    import migrations

    try:
        if problem := migrations.version_problem(url):
            return Finding("migrations", False, problem, "install that version")
        behind = migrations.pending(url)
    except Exception as error:  # whatever the database says, doctor goes on
        said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return Finding("migrations", False, said, "see the sentence itself")
    found = f"{', '.join(behind)} behind this version" if behind else f"of this version ({version('fangxian')})"
    return Finding("migrations", not behind, found, "run `fangxian migrate`, or `fangxian up`, which does it too")


async def _ask_feeds(url: str) -> list[Finding]:
    """Whether every worker reads, how late it is, and what it could not handle."""
    import asyncpg

    from deploy import feed

    connection = await asyncpg.connect(url, timeout=5)
    try:
        lanes, parked = await feed.lag_of(connection), await feed.parked_of(connection)
        oldest = float(await connection.fetchval(OLDEST_TRANSACTION))
    finally:
        await connection.close()
    now = datetime.now(UTC)
    late = [lane for lane in lanes if lane.oldest and (now - lane.oldest).total_seconds() > LATE_SECONDS]
    behind = [f"{lane.reader} is {lane.entries} entries behind {lane.owner} ({lane.lane})" for lane in late]
    return [
        _reading(lanes),
        Finding("feeds", not late, "; ".join(behind) or "read in time", "see `fangxian feed lag` and the worker's log"),
        Finding(
            "parked",
            not parked,
            f"{len(parked)} entries could not be handled" if parked else "nothing",
            "see `fangxian feed parked`, mend the cause, then `fangxian feed retry`",
        ),
        Finding(
            "transactions",
            oldest <= LONGEST_TRANSACTION_SECONDS,
            f"the oldest runs for {oldest:.0f} s",
            "it holds up every feed: find it in pg_stat_activity by xact_start, and end it",
        ),
    ]


def _reading(lanes: Sequence["Lag"]) -> Finding:
    """Whether the feeds are read. Who reads no other either has stopped; else it is the owner who does not answer."""
    idle = [lane for lane in lanes if lane.idle_seconds is None or lane.idle_seconds > IDLE_SECONDS]
    stopped = sorted({lane.reader for lane in idle} - {lane.reader for lane in lanes if lane not in idle})
    silent = sorted({lane.owner for lane in idle if lane.reader not in stopped})
    if stopped:
        mend = f"start them; read `fangxian logs {stopped[0]}-worker`"
        return Finding("workers", False, f"not reading: {', '.join(stopped)}", mend)
    if silent:
        mend = f"start it again; read `fangxian logs {silent[0]}`"
        return Finding("workers", False, f"wait for {', '.join(silent)}, which does not answer", mend)
    return Finding("workers", True, "read their feeds")


def _pool(patient: Patient) -> int:
    try:
        return _settings(patient).database_pool
    except Trouble:  # told by the finding of its own
        return int(Settings.model_fields["database_pool"].default)


def _redis(patient: Patient) -> Iterator[Finding]:
    if patient.is_starting or _unnamed(patient, "REDIS_URL"):
        return
    if patient.options.redis_url:
        check_redis(patient.options.redis_url)
        yield Finding("Redis", True, "answers")
        return
    password = patient.directory.keys / "owner" / "valkey.password"
    if patient.pid is None or not password.exists():
        yield Finding("Valkey", True, "embedded, and not running")
        return
    answers = valkey.answers(valkey.socket_of(home.find(patient.directory.path)), secret_files.read(password))
    yield Finding("Valkey", answers, "answers" if answers else "does not answer", "read `fangxian logs valkey`")


def _clock(_: Patient) -> Iterator[Finding]:
    now = datetime.now(UTC)
    yield Finding("clock", now > OLDEST_CLOCK, f"{now:%Y-%m-%d %H:%M} UTC", "set the clock, best by NTP")


def _settings_of_production(patient: Patient) -> Iterator[Finding]:
    for sentence in variables.unknown():
        yield Finding("unknown setting", False, sentence, "correct its name, or unset it")
    try:
        settings = _settings(patient)
    except Trouble as trouble:
        yield Finding("settings", False, str(trouble), "change the FANGXIAN_… variables")
        return
    yield from _sign_in_of_residents(settings)
    if settings.production:
        yield Finding("settings", True, "of production")
        yield Finding(
            "notices",
            bool(settings.headquarters),
            settings.headquarters or "a blank line is left for the headquarters' name",
            "set FANGXIAN_HEADQUARTERS, as in '新塘街道疫情防控指挥部'",
            is_warning=True,
        )
        return
    on = [
        name
        for name, value in (
            ("FANGXIAN_DEVELOPMENT_ISSUER", settings.development_issuer),
            ("FANGXIAN_DEMONSTRATION_IDS", settings.demonstration_ids),
        )
        if value
    ]
    yield Finding("settings", True, f"of development ({', '.join(on) or 'nothing of it on'})")


def _sign_in_of_residents(settings: Settings) -> Iterator[Finding]:
    yield Finding(
        "residents",
        settings.lets_residents_in,
        "can sign in"
        if settings.lets_residents_in
        else "residents cannot sign in: FANGXIAN_PHONE_GATEWAY_URL is not set",
        "set FANGXIAN_PHONE_GATEWAY_URL, as in 'https://sms.example.cn/fangxian', and "
        "FANGXIAN_PHONE_GATEWAY_SECRET: docs/first-day.md says what is posted there",
    )


def _settings(patient: Patient) -> Settings:
    """Those of the processes, if they run, else those they would be started with from here.

    What runs was checked when it started, in an environment that may differ from this one: so it is not checked again.
    """
    running = (status.read(patient.directory.status) or {}) if patient.pid is not None else {}
    if shown := running.get("settings"):
        return Settings.model_construct(**shown)
    return variables.check(patient.directory.keys)


def _traces(_: Patient) -> Iterator[Finding]:
    if tracing.is_wanted():
        there = importlib.util.find_spec("opentelemetry.sdk") is not None
        yield Finding("traces", there, "sent" if there else "wanted, and not sent", "pip install 'fangxian[otel]'")


def _root(_: Patient) -> Iterator[Finding]:
    if os.geteuid() == 0:
        user = server_user()
        yield Finding("user", True, f"root; the embedded servers run as {user.name}")


Check = Callable[[Patient], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    _python,
    _clock,
    _root,
    _disk,
    _directory,
    _keys,
    _settings_of_production,
    _traces,
    _ports,
    _supervisor,
    _reverse_proxy,
    _servers,
    _database,
    _redis,
)
