"""How much memory an installation takes: the peak of the sum over all its processes, looked at twice a second.

Of each process its PSS (proportional set size) counts: what several processes share, such as the imported stack and
PostgreSQL's buffers, is divided among them, so that the sum is what the machine really gives. Where the kernel has no
PSS, the resident set less what is shared counts, which is a little too small.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

EVERY_SECONDS = 0.5
HAS_PSS = Path("/proc/self/smaps_rollup").exists()


@dataclass
class Watch:
    """Watches a process and all that it has started. Use it as a context."""

    pid: int
    peak: int = 0
    """Bytes, of all processes together at one moment."""
    processes: int = 0
    """How many there were at that moment."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def method(self) -> str:
        """What is summed."""
        return "PSS" if HAS_PSS else "RSS less shared"

    @property
    def _size_of(self) -> Callable[[psutil.Process], int | None]:
        return _pss if HAS_PSS else _rss_less_shared

    def __enter__(self) -> "Watch":
        self._thread = threading.Thread(target=self._run, daemon=True, name="memory")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self.now()

    def now(self) -> int:
        """Bytes at this moment."""
        try:
            parent = psutil.Process(self.pid)
            family = [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0
        sizes = [size for process in family if (size := self._size_of(process)) is not None]
        if sum(sizes) > self.peak:
            self.peak, self.processes = sum(sizes), len(sizes)
        return sum(sizes)


def _pss(process: psutil.Process) -> int | None:
    """Bytes; None if the process has ended meanwhile."""
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
