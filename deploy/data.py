"""The data directory: one installation's keys, servers and logs, held by one supervisor at a time.

version   the format of the directory, written last of all on the first start
lock      held by the supervisor; contains its process id
keys/     0700, see deploy/keys.py        servers/   the embedded servers, see deploy/embedded/home.py
logs/     one file a process              status.json   what `fangxian status` shows
cluster   where the embedded PostgreSQL was made, so that its loss is noticed
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
"""The environment variable that every command reads when it is not given `--data`."""
LEAST_FREE_BYTES = 500 * 1024**2
OURS = {"version", "lock", "keys", "keys.half", "servers", "cluster", "logs", "status.json"}


@dataclass(frozen=True)
class DataDirectory:
    """The paths in a data directory."""

    path: Path

    @property
    def version(self) -> Path:
        """Which format it has; absent until it is complete."""
        return self.path / "version"

    @property
    def lock(self) -> Path:
        """Held by the supervisor."""
        return self.path / "lock"

    @property
    def keys(self) -> Path:
        """All keys."""
        return self.path / "keys"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.path / "logs"

    @property
    def status(self) -> Path:
        """What the supervisor says of its processes."""
        return self.path / "status.json"

    @property
    def cluster(self) -> Path:
        """Says that an embedded PostgreSQL was made for it, and where."""
        return self.path / "cluster"

    @property
    def is_complete(self) -> bool:
        """Whether its first start came to its end."""
        return self.version.exists()


def default_path() -> Path:
    """FANGXIAN_DATA, or else `fangxian` in XDG_DATA_HOME, or else `~/.local/share/fangxian`."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "fangxian"


def at(path: Path) -> DataDirectory:
    """The data directory of that path, whether or not it is there."""
    return DataDirectory(Path(os.path.abspath(path.expanduser())))


def check(data: DataDirectory) -> None:
    """Trouble if a start cannot go well: another format, another's files, too little space. Changes nothing."""
    if data.is_complete:
        check_format(data)
    elif data.path.exists():
        if not data.path.is_dir():
            raise Trouble(f"{data.path} is not a directory: choose another --data.")
        check_access(data)
        if foreign := sorted({entry.name for entry in data.path.iterdir()} - OURS):
            raise Trouble(f"{data.path} holds other things ({foreign[0]}): choose an empty directory for --data.")
    check_space(data)
    check_access(data)


def check_access(data: DataDirectory) -> None:
    """Trouble if this user may not write into the directory, or cannot make it."""
    nearest = next(step for step in (data.path, *data.path.parents) if os.path.lexists(step))
    what = "written" if nearest == data.path else f"made in {nearest}"
    if nearest.is_dir() and not os.access(nearest, os.W_OK | os.X_OK):
        raise Trouble(f"{data.path} cannot be {what} by this user: choose a --data of your own, as in ~/fangxian.")


def check_format(data: DataDirectory) -> None:
    """Trouble if the directory is of a version that this one does not know."""
    said = data.version.read_text(encoding="utf-8", errors="replace").strip()
    if not said.isdigit():
        raise Trouble(f"{data.version} should hold a number and holds {said[:20]!r}: put it back from a backup.")
    if int(said) > FORMAT:
        raise Trouble(
            f"{data.path} was made by a newer Fangxian (format {said}; this one knows {FORMAT}): install that version."
        )


def check_space(data: DataDirectory) -> None:
    """Trouble if there is no disk, or if it has no room to work in."""
    free, nearest = _free(data)
    if shutil.disk_usage(nearest).total == 0:  # as /proc
        raise Trouble(f"{nearest} keeps no files: choose another --data.")
    if free < LEAST_FREE_BYTES:
        raise Trouble(
            f"The disk of {nearest} is full: {free // 1024**2} MB free, {LEAST_FREE_BYTES // 1024**2} MB are needed."
        )


def free_bytes(data: DataDirectory) -> int:
    """The room that is left: the least, where keys and servers lie on different disks."""
    return _free(data)[0]


def _free(data: DataDirectory) -> tuple[int, Path]:
    paths = {data.path, (data.path / "servers").resolve()}
    nearest = [next(step for step in (path, *path.parents) if step.exists()) for path in paths]
    return min((shutil.disk_usage(path).free, path) for path in nearest)


def holder(data: DataDirectory) -> int | None:
    """The process id of the supervisor that holds the directory; 0 if it has not said it yet; None if none does."""
    try:
        handle = os.open(data.lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        said = os.read(handle, 32).strip()
        return int(said) if said.isdigit() else 0
    finally:
        os.close(handle)
    return None


def refuse_if_held(data: DataDirectory) -> None:
    """Trouble if a supervisor runs on the directory."""
    pid = holder(data)
    if pid is not None:
        raise Trouble(
            f"Another Fangxian runs on {data.path} (process {pid or 'starting'}): stop it, or choose another --data."
        )


def hold(data: DataDirectory) -> int:
    """Take the directory for this process, for as long as the returned file descriptor is open."""
    handle = os.open(data.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        refuse_if_held(data)
        raise Trouble(f"Another Fangxian has just ended on {data.path}: try again.") from None
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
    """Make the directory if need be, and hold it. If its first start fails, all that it made is removed again.

    What was there stays: keys that were put back from a backup may be the only ones.
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
    """Say that the first start came to its end."""
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
