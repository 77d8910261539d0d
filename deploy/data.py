"""The data directory: keys, servers and logs of one installation. One supervisor at a time holds it.

version   the format of the directory, written at the end of the first start
lock      held by the supervisor; contains its process id
keys/     0700, see deploy/keys.py        servers/   the embedded servers, see deploy/embedded/home.py
logs/     one file per process            status.json   what `fangxian status` shows
cluster   where the embedded PostgreSQL was created, so that its loss is noticed
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy import secret_files
from deploy.embedded import home
from deploy.trouble import Trouble

FORMAT = 1
VARIABLE = "FANGXIAN_DATA"
"""The environment variable that every command reads if `--data` is not given."""
LEAST_FREE_BYTES = 500 * 1024**2
OURS = {"version", "lock", "keys", "keys.half", "servers", "cluster", "logs", "status.json"}


@dataclass(frozen=True)
class DataDirectory:
    """The paths in a data directory."""

    path: Path

    @property
    def version(self) -> Path:
        """The file with its format; absent until the first start has ended."""
        return self.path / "version"

    @property
    def lock(self) -> Path:
        """The lock file that the supervisor holds."""
        return self.path / "lock"

    @property
    def keys(self) -> Path:
        """The directory of all keys."""
        return self.path / "keys"

    @property
    def logs(self) -> Path:
        """The directory of the logs, one file per process."""
        return self.path / "logs"

    @property
    def status(self) -> Path:
        """The status file of the supervisor."""
        return self.path / "status.json"

    @property
    def cluster(self) -> Path:
        """The file that says where the embedded PostgreSQL was created, if it was."""
        return self.path / "cluster"

    @property
    def is_complete(self) -> bool:
        """Whether the first start has ended."""
        return self.version.exists()


def default_path() -> Path:
    """Return FANGXIAN_DATA, otherwise `fangxian` in XDG_DATA_HOME, otherwise `~/.local/share/fangxian`."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "fangxian"


def at(path: Path) -> DataDirectory:
    """Return the data directory with this path, whether or not it exists."""
    return DataDirectory(Path(os.path.abspath(path.expanduser())))


def check(data: DataDirectory) -> None:
    """Raise Trouble if a start would fail: other format, other files, too little space. Changes nothing."""
    if data.is_complete:
        check_format(data)
    elif data.path.exists():
        if not data.path.is_dir():
            raise Trouble(f"{data.path} is not a directory. Choose another --data.")
        check_access(data)
        if foreign := sorted({entry.name for entry in data.path.iterdir()} - OURS):
            raise Trouble(f"{data.path} contains other files ({foreign[0]}). Choose an empty directory for --data.")
    check_space(data)
    check_access(data)


def check_access(data: DataDirectory) -> None:
    """Raise Trouble if this user cannot write to the directory or create it."""
    nearest = next(step for step in (data.path, *data.path.parents) if os.path.lexists(step))
    what = "written" if nearest == data.path else f"created in {nearest}"
    if nearest.is_dir() and not os.access(nearest, os.W_OK | os.X_OK):
        raise Trouble(f"{data.path} cannot be {what} by this user. Choose your own --data, for example ~/fangxian.")


def check_format(data: DataDirectory) -> None:
    """Raise Trouble if this version does not know the format of the directory."""
    content = data.version.read_text(encoding="utf-8", errors="replace").strip()
    if not content.isdigit():
        raise Trouble(f"{data.version} must contain a number, but contains {content[:20]!r}. Restore it from a backup.")
    if int(content) > FORMAT:
        raise Trouble(
            f"{data.path} was made by a newer Fangxian (format {content}; this one knows {FORMAT}). "
            "Install that version."
        )


def check_space(data: DataDirectory) -> None:
    """Raise Trouble if the path is not on a disk, or if the disk has too little space."""
    free, nearest = _free(data)
    if shutil.disk_usage(nearest).total == 0:  # for example /proc
        raise Trouble(f"{nearest} cannot store files. Choose another --data.")
    if free < LEAST_FREE_BYTES:
        raise Trouble(
            f"The disk of {nearest} is full: {free // 1024**2} MB free, {LEAST_FREE_BYTES // 1024**2} MB needed."
        )


def free_bytes(data: DataDirectory) -> int:
    """Return the free space in bytes. If keys and servers are on different disks, the smaller value counts."""
    return _free(data)[0]


def _free(data: DataDirectory) -> tuple[int, Path]:
    paths = {data.path, (data.path / "servers").resolve()}
    nearest = [next(step for step in (path, *path.parents) if step.exists()) for path in paths]
    return min((shutil.disk_usage(path).free, path) for path in nearest)


def holder(data: DataDirectory) -> int | None:
    """Return the process id of the supervisor that holds the directory; 0 if it is not written yet; None if none."""
    try:
        handle = os.open(data.lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        content = os.read(handle, 32).strip()
        return int(content) if content.isdigit() else 0
    finally:
        os.close(handle)
    return None


def refuse_if_held(data: DataDirectory) -> None:
    """Raise Trouble if a supervisor runs on the directory."""
    pid = holder(data)
    if pid is not None:
        raise Trouble(
            f"Another Fangxian runs on {data.path} (process {pid or 'starting'}). Stop it, or choose another --data."
        )


def hold(data: DataDirectory) -> int:
    """Lock the directory for this process, as long as the returned file descriptor is open."""
    handle = os.open(data.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        refuse_if_held(data)
        raise Trouble(f"Another Fangxian has just ended on {data.path}. Try again.") from None
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except OSError:  # the disk is full
        if not data.is_complete:
            data.lock.unlink()
        os.close(handle)
        raise
    return handle


@contextmanager
def taken(data: DataDirectory) -> Iterator[int]:
    """Create the directory if necessary, and hold it. If its first start fails, everything it created is removed.

    Files that existed before stay, because keys that were restored from a backup may be the only copy.
    """
    made = home.make_data_directory(data.path)
    there = {entry.name for entry in data.path.iterdir()}
    handle: int | None = None
    try:
        handle = hold(data)
        data.logs.mkdir(mode=0o700, exist_ok=True)
        yield handle
    finally:
        if handle is not None:
            if not data.is_complete:
                _remove_content(data, OURS - there)
            os.close(handle)
        for path in made if not data.is_complete else ():
            _remove_if_empty(path)


def complete(data: DataDirectory) -> None:
    """Record that the first start has ended."""
    if not data.is_complete:
        secret_files.write_once(data.version, f"{FORMAT}\n")


def remove(data: DataDirectory) -> None:
    """Remove an installation that does not run, with all its data."""
    refuse_if_held(data)
    _remove_content(data, OURS)
    shutil.rmtree(data.path, ignore_errors=True)


def _remove_content(data: DataDirectory, names: Collection[str]) -> None:
    if "servers" in names and os.path.lexists(data.path / "servers"):
        home.remove(data.path)
    for name in names:
        path = data.path / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_if_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.ENOENT, errno.EEXIST}:
            raise
