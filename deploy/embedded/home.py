"""Where the embedded servers keep their files: `servers/` in the data directory, or where their user can reach it.

    postgres/   the cluster            run/        the sockets, if their path is short enough
    valkey/     its configuration      binaries/   a copy of the programs, if their user cannot read the installed ones

Started by root, the servers run as another user, who may not pass the data directory (under `/root`, say). No mode of
a directory we did not make is changed: then `servers` is a link to a directory of our own under `/var/lib/fangxian`.
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
"""PostgreSQL and its clients read a list of directories, separated by commas; and what bytes a letter is depends on the
locale of the process that reads an address."""


@dataclass(frozen=True)
class Home:
    """The directory of the embedded servers, and whose it is."""

    path: Path
    user: ServerUser

    @property
    def cluster(self) -> Path:
        """PostgreSQL's data directory."""
        return self.path / "postgres"

    @property
    def sockets(self) -> Path:
        """The directory (0700) of both sockets: here, or in a place with a shorter and plainer path."""
        here = self.path / "run"
        name = os.fsencode(here)
        if len(name) + LONGEST_NAME <= LONGEST_SOCKET and not NOT_FOR_SOCKETS.search(name):
            return here
        mark = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path("/tmp") / f"fangxian-{self.user.uid}-{mark}"  # noqa: S108 (checked in make_own)


def make_data_directory(path: Path) -> list[Path]:
    """Make a data directory and what is missing above it; what was made, deepest first."""
    missing = [step for step in (path, *path.parents) if not step.exists()]
    # Root's servers run as another user, who must pass; what lies inside is closed by itself.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    for step in reversed(missing):
        step.mkdir(mode=mode, exist_ok=True)
        step.chmod(mode)
    return missing


def find(data: Path) -> Home:
    """The servers' directory of a data directory, as it stands."""
    return Home((data / "servers").resolve(), server_user())


def make(data: Path) -> Home:
    """Make the servers' directory of a data directory, closed to all but the servers' user."""
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
        if place.exists():  # of a data directory that was deleted without it: kept, under another name
            place.rename(place.with_name(f"{place.name}.old-{os.stat(place).st_mtime_ns}"))
        make_own(place, user)
    except OSError as error:
        raise Trouble(
            f"The embedded servers run as {user.name}, who cannot reach {link.parent}, and {ELSEWHERE} cannot be made "
            f"({error.strerror}): choose a --data that everyone may pass, such as /srv/fangxian."
        ) from error
    if not may_pass(user, place):
        raise Trouble(f"The embedded servers run as {user.name}, who can reach neither {link.parent} nor {ELSEWHERE}.")
    return place


def make_own(path: Path, user: ServerUser) -> None:
    """A directory (0700) of the servers' user. What stands there already must be just that."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        status = path.lstat()
        if not path.is_dir() or path.is_symlink() or status.st_uid != user.uid or status.st_mode & 0o077:
            raise Trouble(f"{path} should be a directory of {user.name}, closed to others (0700): remove it.") from None
        return
    path.chmod(0o700)
    user.owns(path)


def remove(data: Path) -> None:
    """Remove the servers' directory, wherever it is, and the sockets'."""
    home = find(data)
    shutil.rmtree(home.sockets, ignore_errors=True)
    shutil.rmtree(home.path, ignore_errors=True)
    if (data / "servers").is_symlink():
        (data / "servers").unlink()
        with contextlib.suppress(OSError):  # others are in it
            ELSEWHERE.rmdir()
