"""Memory of processes.

The PSS (proportional set size) of each process counts. Memory that several processes share, such as imported modules
and PostgreSQL's buffers, is divided among them. So the sum is the memory that is really used. If the kernel has no PSS,
the resident set without shared memory counts, which is slightly too small.
"""

from pathlib import Path

import psutil

HAS_PSS = Path("/proc/self/smaps_rollup").exists()
METHOD = "PSS" if HAS_PSS else "RSS less shared"


def sizes_of(pid: int) -> list[int]:
    """Return the bytes of a process and of each of its children; empty if it has ended."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    return [size for process in family if (size := _size_of(process)) is not None]


def _size_of(process: psutil.Process) -> int | None:
    """Return the bytes of a process; None if it has ended meanwhile."""
    return _pss(process) if HAS_PSS else _rss_less_shared(process)


def _pss(process: psutil.Process) -> int | None:
    try:
        with open(f"/proc/{process.pid}/smaps_rollup", "rb") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:")), None)
    except OSError:
        return None


def _rss_less_shared(process: psutil.Process) -> int | None:
    try:
        memory = process.memory_info()
    except psutil.Error:
        return None
    return int(memory.rss - getattr(memory, "shared", 0))
