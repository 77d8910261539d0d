"""Which core serves, and which does everything else."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Cores:
    """Two cores of this machine; the same one twice where there is but one, or where none can be chosen."""

    server: int
    other: int
    can_pin: bool

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """The first core this process may use serves; the last does the rest."""
        if not hasattr(os, "sched_setaffinity"):
            return cls(0, 0, can_pin=False)
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[-1], can_pin=True)

    def pin(self, pid: int, *, server: bool) -> None:
        """Put a process and all it has started on one of the two; what it starts later stays there too.

        Of this process itself only its own threads: what it has started is placed by name.
        """
        if not self.can_pin:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            family = [process] if pid == os.getpid() else [process, *process.children(recursive=True)]
            for member in family:
                for thread in _threads(member.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.sched_setaffinity(thread, {self.server if server else self.other})

    def pin_self(self) -> None:
        """Put this process, which generates the load, on the other core."""
        self.pin(os.getpid(), server=False)

    def free_self(self) -> None:
        """Let this process, and what it starts, use both again."""
        if self.can_pin:
            os.sched_setaffinity(0, {self.server, self.other})


def _threads(pid: int) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError):
        yield from (int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())


@dataclass(frozen=True)
class Busy:
    """How busy each core was, from 0 to 1: the one that is full is the limit."""

    server: float
    other: float

    def __str__(self) -> str:
        return f"cores busy: server {self.server:.0%}, other {self.other:.0%}"


class Meter:
    """Watches both cores: `meter = Meter(cores)`, then `meter.busy()` since then."""

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._before = psutil.cpu_times(percpu=True)

    def busy(self) -> Busy:
        """Since the meter was made."""
        after = psutil.cpu_times(percpu=True)
        return Busy(*(_share(self._before[core], after[core]) for core in (self._cores.server, self._cores.other)))


def _share(before: Iterable[float], after: Iterable[float]) -> float:
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    spent = {name: getattr(after, name, 0.0) - getattr(before, name, 0.0) for name in names}
    total = sum(spent.values())
    return 1 - (spent["idle"] + spent["iowait"]) / total if total else 0.0
