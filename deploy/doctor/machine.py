"""Checks of the machine and of the data directory."""

import os
import socket
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from deploy import data
from deploy import keys as key_files
from deploy.doctor.finding import Finding, Target
from deploy.embedded.user import server_user
from deploy.trouble import Trouble

OLDEST_CLOCK = datetime(2025, 1, 1, tzinfo=UTC)
NEARLY_FULL_BYTES = 2 * 1024**3


def python(_: Target) -> Iterator[Finding]:
    """Check the version of Python."""
    current = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), current, "install Python 3.11 or later")


def clock(_: Target) -> Iterator[Finding]:
    """Check that the clock of this machine is not obviously wrong."""
    now = datetime.now(UTC)
    yield Finding("clock", now > OLDEST_CLOCK, f"{now:%Y-%m-%d %H:%M} UTC", "set the clock, preferably with NTP")


def root(_: Target) -> Iterator[Finding]:
    """For root, show as which user the embedded servers run."""
    if os.geteuid() == 0:
        user = server_user()
        yield Finding("user", True, f"root; the embedded servers run as {user.name}")


def disk(target: Target) -> Iterator[Finding]:
    """Check the free space of the disk."""
    try:
        data.check_space(target.directory)
    except Trouble as trouble:
        yield Finding("disk", False, str(trouble), "make room, or choose another --data")
        return
    free = data.free_bytes(target.directory)
    result = f"{free / 1024**3:.1f} GB free"
    yield Finding("disk", free >= NEARLY_FULL_BYTES, result, "make room: below 500 MB nothing starts")


def directory(target: Target) -> Iterator[Finding]:
    """Check the data directory and its permissions."""
    directory = target.directory
    try:
        data.check(directory)
    except Trouble as trouble:
        yield Finding("data directory", False, str(trouble))
        return
    if not directory.path.exists():
        yield Finding("data directory", True, f"{directory.path} does not exist yet")
        return
    version = (
        directory.version.read_text(encoding="utf-8", errors="replace").strip()
        if directory.is_complete
        else "not complete"
    )
    yield Finding("data directory", True, f"{directory.path}, format {version}")
    loose = [path for path in (directory.path, directory.logs) if path.exists() and _others_may(path, stat.S_IWOTH)]
    remedy = f"chmod o-w {' '.join(map(str, loose))}"
    yield Finding("directory permissions", not loose, "other users can write to it" if loose else "private", remedy)


def keys(target: Target) -> Iterator[Finding]:
    """Check that all key files exist and are private."""
    directory = target.directory.keys
    if not directory.exists():
        yield Finding("keys", not target.directory.is_complete, "not created", "restore them from a backup")
        return
    missing = key_files.missing(directory)
    result = ", ".join(missing) + " missing" if missing else "complete"
    yield Finding("keys", not missing, result, "restore them from a backup")
    loose = [path for path in (directory, *directory.rglob("*")) if _others_may(path, stat.S_IRWXG | stat.S_IRWXO)]
    result = f"{loose[0]} is open to others" if loose else "private"
    yield Finding("key permissions", not loose, result, f"chmod -R go-rwx {directory}")


def _others_may(path: Path, bits: int) -> bool:
    return bool(path.stat().st_mode & bits)


def ports(target: Target) -> Iterator[Finding]:
    """Check that the four ports are free. Skipped while the installation runs, because it uses them itself."""
    if target.pid is not None:
        return
    taken = [port for port in target.options.ports.values() if _is_taken(port)]
    result = f"{', '.join(map(str, taken))} in use" if taken else "free"
    yield Finding("ports", not taken, result, "stop the other program, or choose another --port")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
