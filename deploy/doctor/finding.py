"""The types that all checks share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from deploy import status
from deploy.data import DataDirectory
from deploy.up import Options


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    is_ok: bool
    result: str
    remedy: str = ""
    """How to solve the problem; empty if `result` already says it."""
    is_warning: bool = False
    """Whether the installation works although the check is not ok."""

    @property
    def is_failure(self) -> bool:
        """Whether the installation does not work as it is."""
        return not (self.is_ok or self.is_warning)


@dataclass(frozen=True)
class Target:
    """The installation that is examined."""

    options: Options
    directory: DataDirectory
    pid: int | None
    """The process id of the supervisor; None if it does not run."""

    @property
    def is_starting(self) -> bool:
        """Whether the supervisor runs but has not started all processes yet."""
        state = status.read(self.directory.status) or {}
        return self.pid is not None and not (state.get("pid") == self.pid and state.get("started"))


Check: TypeAlias = Callable[[Target], Iterator[Finding]]
