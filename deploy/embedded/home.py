"""Where the embedded servers keep their files: `servers/` in the data directory, or where their user can reach it.

    postgres/   the cluster            run/        the sockets, if their path is short enough
    valkey/     its configuration      binaries/   a copy of the programs, if their user cannot read the installed ones

If root starts them, the servers run as another user, who may be unable to reach the data directory (for example under
`/root`). Permissions of existing directories are not changed. Instead `servers` is a link to a new directory under
`/var/lib/fangxian`.
"""

import contextlib
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.user import ServerUser, may_pass, server_user
from deploy.trouble import Trouble

ELSEWHERE = Path("/var/lib/fangxian")
LONGEST_SOCKET = 106
"""Bytes of a socket's path: 108 in `sockaddr_un`, with its closing NUL, less one for macOS."""
LONGEST_NAME = len("/.s.PGSQL.5432")
NOT_FOR_SOCKETS = re.compile(rb"""[^ -~]|[,"'\\]""")
"""PostgreSQL and its clients read a comma as the separator of several directories. The bytes of other characters depend
on the locale of the process that reads the address."""


@dataclass(frozen=True)
class Home:
    """The directory of the embedded servers, and its owner."""

    path: Path
    user: ServerUser

    @property
    def cluster(self) -> Path:
        """PostgreSQL's data directory."""
        return self.path / "postgres"

    @property
    def sockets(self) -> Path:
        """The directory (0700) of both sockets: here, or in `/tmp` if this path is too long or not plain ASCII."""
        here = self.path / "run"
        name = os.fsencode(here)
        if len(name) + LONGEST_NAME <= LONGEST_SOCKET and not NOT_FOR_SOCKETS.search(name):
            return here
        mark = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path("/tmp") / f"fangxian-{self.user.uid}-{mark}"  # noqa: S108 (checked in make_own)


def make_data_directory(path: Path) -> list[Path]:
    """Create a data directory and its missing parents. Returns the created directories, the deepest first."""
    missing = [step for step in (path, *path.parents) if not step.exists()]
    # If root starts the servers, another user runs them, who must pass. The content has its own permissions.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    for step in reversed(missing):
        step.mkdir(mode=mode, exist_ok=True)
        step.chmod(mode)
    return missing


def find(data: Path) -> Home:
    """Return the directory of the servers, without creating it."""
    return Home((data / "servers").resolve(), server_user())


def make(data: Path) -> Home:
    """Create the directory of the servers, accessible only to their user."""
    home = _make(data)
    make_own(home.sockets, home.user)
    return home


def _make(data: Path) -> Home:
    link, user = data / "servers", server_user()
    if not os.path.lexists(link):
        if may_pass(user, data.resolve()):
            make_own(link, user)
            return Home(link.resolve(), user)
        link.symlink_to(_elsewhere(link, user))
    home = Home(link.resolve(), user)
    make_own(home.path, user)
    return home


def _elsewhere(link: Path, user: ServerUser) -> Path:
    place = ELSEWHERE / hashlib.sha256(os.fsencode(link.absolute())).hexdigest()[:16]
    try:
        ELSEWHERE.mkdir(mode=0o755, exist_ok=True)
        if place.exists():  # its data directory was deleted: keep it under another name
            place.rename(place.with_name(f"{place.name}.old-{os.stat(place).st_mtime_ns}"))
        make_own(place, user)
    except OSError as error:
        raise Trouble(
            f"The embedded servers run as {user.name}, who cannot reach {link.parent}, and {ELSEWHERE} cannot be made "
            f"({error.strerror}). Choose a --data that every user can reach, for example /srv/fangxian."
        ) from error
    if not may_pass(user, place):
        raise Trouble(f"The embedded servers run as {user.name}, who can reach neither {link.parent} nor {ELSEWHERE}.")
    return place


def make_own(path: Path, user: ServerUser) -> None:
    """Create a directory (0700) of the servers' user. An existing one must have this owner and mode."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        status = path.lstat()
        if not path.is_dir() or path.is_symlink() or status.st_uid != user.uid or status.st_mode & 0o077:
            raise Trouble(f"{path} must be a directory of {user.name} with mode 0700. Remove it.") from None
        return
    path.chmod(0o700)
    user.owns(path)


def remove(data: Path) -> None:
    """Remove the directories of the servers and of their sockets."""
    home = find(data)
    shutil.rmtree(home.sockets, ignore_errors=True)
    shutil.rmtree(home.path, ignore_errors=True)
    if (data / "servers").is_symlink():
        (data / "servers").unlink()
        with contextlib.suppress(OSError):  # it contains directories of others
            ELSEWHERE.rmdir()
