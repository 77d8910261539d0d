"""The user of the embedded servers: the current user, or an unprivileged one if root starts them."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.trouble import Trouble

CANDIDATES = ("fangxian", "nobody")
"""For root: the first of these users that exists. PostgreSQL refuses to run as root."""


@dataclass(frozen=True)
class ServerUser:
    """The user that runs the embedded servers."""

    name: str
    uid: int
    gid: int
    differs: bool
    """Whether it differs from the user of this process."""

    @property
    def popen(self) -> dict[str, Any]:
        """The arguments of `subprocess` to run a program as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.differs else {}

    def owns(self, path: Path) -> None:
        """Change the owner of a new file or directory to this user."""
        if self.differs:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def server_user() -> ServerUser:
    """Return the user of this process; for root `fangxian` if it exists, otherwise `nobody`."""
    if os.geteuid() != 0:
        return ServerUser(str(os.geteuid()), os.geteuid(), os.getegid(), differs=False)
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return ServerUser(name, entry.pw_uid, entry.pw_gid, differs=True)
    raise Trouble("PostgreSQL does not run as root, and there is no user `nobody`. Add a system user `fangxian`.")


def may_pass(user: ServerUser, directory: Path) -> bool:
    """Whether the user can pass a directory and all its parents."""
    return all(_searchable(user, step) for step in (directory, *directory.parents))


def _searchable(user: ServerUser, directory: Path) -> bool:
    if not user.differs:
        return os.access(directory, os.X_OK)
    status = directory.stat()
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
