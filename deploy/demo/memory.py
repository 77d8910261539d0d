"""How much memory an installation takes: the peak of the sum over all its processes, looked at twice a second.

Of each process its PSS (proportional set size) counts: what several processes share, such as the imported stack and
PostgreSQL's buffers, is divided among them, so that the sum is what the machine really gives. Where the kernel has no
PSS, the resident set less what is shared counts, which is a little too small.
"""

import threading
from dataclasses import dataclass, field

import psutil

EVERY_SECONDS = 0.5


@dataclass
class Watch:
    """Watches a process and all that it has started. Use it as a context."""

    pid: int
    peak: int = 0
    """Bytes, of all processes together at one moment."""
    processes: int = 0
    """How many there were at that moment."""
    method: str = "PSS"
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

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
        sizes = [size for process in family if (size := self._size(process)) is not None]
        if sum(sizes) > self.peak:
            self.peak, self.processes = sum(sizes), len(sizes)
        return sum(sizes)

    def _size(self, process: psutil.Process) -> int | None:
        try:
            with open(f"/proc/{process.pid}/smaps_rollup", "rb") as file:
                for line in file:
                    if line.startswith(b"Pss:"):
                        return int(line.split()[1]) * 1024
        except (FileNotFoundError, ProcessLookupError):
            if not process.is_running():
                return None
        except OSError:
            pass
        return self._private(process)

    def _private(self, process: psutil.Process) -> int | None:
        try:
            memory = process.memory_info()
        except psutil.Error:
            return None
        self.method = "RSS less shared"
        return int(memory.rss - getattr(memory, "shared", 0))
