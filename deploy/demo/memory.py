"""The memory of an installation: the peak of the sum over all its processes, measured twice a second."""

import threading
from dataclasses import dataclass, field

from deploy.memory import sizes_of

EVERY_SECONDS = 0.5


@dataclass
class MemoryMonitor:
    """Watches a process and all that it has started. Use it as a context."""

    pid: int
    peak: int = 0
    """Bytes, of all processes together at one moment."""
    processes: int = 0
    """How many there were at that moment."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "MemoryMonitor":
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
        sizes = sizes_of(self.pid)
        if sum(sizes) > self.peak:
            self.peak, self.processes = sum(sizes), len(sizes)
        return sum(sizes)
