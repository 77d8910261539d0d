"""Assign one core to the server, and another to everything else."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

MOST_NAMED = 4
LEAST_NAMED_SECONDS = 0.05


@dataclass(frozen=True)
class Cores:
    """Two cores of this machine; the same one twice if there is only one, or if cores cannot be chosen."""

    server: int
    other: int
    can_pin: bool

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """Return the first core that this process may use for the server, and the last one for the rest."""
        if not hasattr(os, "sched_setaffinity"):
            return cls(0, 0, can_pin=False)
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[-1], can_pin=True)

    def pin(self, pid: int, *, server: bool) -> None:
        """Pin a process and its children to one of the two cores. Later children stay there too.

        For this process itself only its threads are pinned, because its children are placed by name.
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
        """Pin this process, which generates the load, to the other core."""
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
    """Load of each core (0 to 1), and CPU seconds of each process. A fully loaded core is the limit."""

    server: float
    other: float
    seconds: Mapping[str, float]

    def __str__(self) -> str:
        most = sorted(self.seconds.items(), key=lambda one: -one[1])[:MOST_NAMED]
        used = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in most if seconds >= LEAST_NAMED_SECONDS)
        return f"cores busy: server {self.server:.0%}, other {self.other:.0%}" + (f"; CPU: {used}" if used else "")

    def numbers(self) -> dict[str, float]:
        """For the JSON."""
        cores = {"server_core_busy": self.server, "other_core_busy": self.other}
        return cores | {f"{name}_cpu_seconds": seconds for name, seconds in self.seconds.items()}


class Meter:
    """Watches both cores and some processes: `meter = Meter(cores, pids)`, then `meter.busy()` since then."""

    def __init__(self, cores: Cores, pids: Mapping[str, int]) -> None:
        self._cores, self._pids = cores, pids
        self._before = psutil.cpu_times(percpu=True)
        self._spent = self._spend()

    def busy(self) -> Busy:
        """Since the meter was made."""
        after = psutil.cpu_times(percpu=True)
        server, other = (_share(self._before[core], after[core]) for core in (self._cores.server, self._cores.other))
        return Busy(server, other, {name: spent - self._spent[name] for name, spent in self._spend().items()})

    def _spend(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and its children, including children that have ended."""
    spent = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = member.cpu_times()
                spent += times.user + times.system
                if member is process:
                    spent += times.children_user + times.children_system
    return spent


def _share(before: Any, after: Any) -> float:
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    spent = {name: getattr(after, name, 0.0) - getattr(before, name, 0.0) for name in names}
    total = sum(spent.values())
    return 1 - (spent["idle"] + spent["iowait"]) / total if total else 0.0
