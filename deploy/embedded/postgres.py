"""The embedded PostgreSQL: a real server on a private socket, with a password for every role and without TCP."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import psutil

from deploy.embedded.home import Home
from deploy.embedded.programs import postgres_programs
from deploy.embedded.server import Server
from deploy.trouble import Trouble

OWNER = "fangxian_owner"
DATABASE = "fangxian"
CLOSES_WITHIN_SECONDS = 20.0

ACCESS = "local all all scram-sha-256\nlocal replication fangxian_owner scram-sha-256\n"
"""The complete `pg_hba.conf`: access to the socket still needs a password. The second line is for base backups."""

SETTINGS = {
    "cluster_name": "fangxian",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    # For two cores and at most 2 GB, shared with our eight processes.
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_parallel_workers_per_gather": "0",
    "io_workers": "1",
    "jit": "off",
    "random_page_cost": "1.1",
    "wal_level": "replica",
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "autovacuum_naptime": "20s",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
    # Parameters of statements are personal data, and details and contexts of errors may quote them.
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_min_error_statement": "panic",
}

NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "max_connections": "500"}
"""For tests: the data survives a crash of the server, not of the machine. There are connections for many workers."""


def create(home: Home, owner_password: str, *, durable: bool = True) -> None:
    """Create the cluster and its database, unless it exists. It gets its name last, so it is whole or absent."""
    if home.cluster.exists():
        return
    programs, half_made = postgres_programs(home), home.path / "postgres.half"
    password_file = home.path / "postgres.password"
    shutil.rmtree(half_made, ignore_errors=True)
    password_file.unlink(missing_ok=True)
    try:
        password_file.touch(mode=0o600)
        password_file.write_text(owner_password, encoding="ascii")
        home.user.owns(password_file)
        _run(
            home,
            [str(programs / "initdb"), "--pgdata", str(half_made), "--username", OWNER, "--pwfile", str(password_file),
             "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-instructions",
             "--text-search-config", "simple", "--no-sync"],
        )  # fmt: skip
        (half_made / "pg_hba.conf").write_text(ACCESS, encoding="ascii")
        _run(
            home,
            [str(programs / "postgres"), "--single", "-D", str(half_made), "-c", "fsync=off", "template1"],
            f'CREATE DATABASE "{DATABASE}";\n',
        )
        if durable:
            _run(home, [str(programs / "initdb"), "--sync-only", "--pgdata", str(half_made)])
        half_made.rename(home.cluster)
    except BaseException as error:
        try:
            shutil.rmtree(half_made)
        except FileNotFoundError:
            pass
        except OSError as left:  # the next start removes it
            error.add_note(f"What was half made is still there: {left}")
        raise
    finally:
        password_file.unlink(missing_ok=True)


def server(home: Home, *, durable: bool = True) -> Server:
    """Return the server of an existing cluster."""
    settings = SETTINGS | {"unix_socket_directories": str(home.sockets)} | ({} if durable else NOT_DURABLE)
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return Server(
        name="postgres",
        command=[str(postgres_programs(home) / "postgres"), "-D", str(home.cluster), *options],
        user=home.user,
        tidy=lambda: end_the_last(home),
        ready=lambda pid: is_ready(home.cluster, pid),
        stop_signal=signal.SIGINT,  # "fast": sessions are ended, the cluster is shut down cleanly
        give_up_signal=signal.SIGQUIT,  # "immediate": the cluster recovers from its log at the next start
    )


def owner_url(home: Home, password: str) -> str:
    """Return the address of the database with the login of its owner."""
    return url(OWNER, password, home.sockets)


def url(role: str, password: str, sockets: Path) -> str:
    """Return the address of the database for a role, over the socket. asyncpg, libpq and SQLAlchemy can read it."""
    return f"postgresql://{role}:{quote(password, safe='')}@/{DATABASE}?host={quote(str(sockets))}"


def is_ready(cluster: Path, pid: int) -> bool:
    """Whether the pid file of the server with this process id says that it accepts connections."""
    lines = _lines(cluster / "postmaster.pid")
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def end_the_last(home: Home) -> None:
    """End all processes of an earlier run of this cluster. Only the holder of the directory may call this.

    PostgreSQL itself cleans up after a dead server, except if its process id now belongs to another program.
    """
    deadline = time.monotonic() + CLOSES_WITHIN_SECONDS
    while survivors := _processes_in(home.cluster):
        for process in survivors:
            # A server whose parent was killed is already shutting down. Its sessions end when they notice it.
            _signal(process, signal.SIGKILL if time.monotonic() > deadline else signal.SIGINT)
        psutil.wait_procs(survivors, timeout=1)
    for lock in (home.cluster / "postmaster.pid", home.sockets / ".s.PGSQL.5432.lock"):
        lines = _lines(lock)
        if lines and lines[0].isdigit() and psutil.pid_exists(int(lines[0])):
            lock.unlink()


def _processes_in(cluster: Path) -> list[psutil.Process]:
    """Return the PostgreSQL processes of this cluster. Their working directory is the cluster."""
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "postgres" and Path(process.cwd()) == cluster:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _run(home: Home, command: list[str], text: str = "") -> None:
    done = subprocess.run(  # noqa: S603
        command,
        input=text,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",  # the output names paths, which may contain any bytes
        check=False,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        umask=0o077,
        **home.user.popen,
    )
    # `postgres --single` ends with 0 even if its statement failed.
    errors = [line for line in done.stderr.splitlines() if "ERROR:" in line or "FATAL:" in line or "error:" in line]
    if done.returncode or errors:
        reason = (errors or done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise Trouble(f"PostgreSQL's cluster could not be created in {home.path} ({Path(command[0]).name}: {reason}).")
