"""One supervisor: starts the processes, starts again what ends, ends all in good order, leaves nothing behind.

It has one thread and no event loop: it waits for signals and for what its children say, and forks.
"""

import contextlib
import itertools
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import TypeVar

from deploy import status
from deploy.data import DataDirectory
from deploy.embedded.server import Server, launch
from deploy.logs import Journal, LogFile
from deploy.processes import Errand, Process, Running, fork, how_it_ended, kill_group

FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0
STEADY_SECONDS = 30.0
"""A process that ran this long is started again without delay when it ends."""
DRAIN_SECONDS = 20.0
WAIT_SECONDS = 0.02
"""Between two looks at what is awaited during the start. A signal or the end of a child is noticed at once."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


Result = TypeVar("Result")


class Stop(BaseException):
    """The operator asked to stop during a step of the start that waits."""


@dataclass
class Child:
    """One supervised process, including its restarts."""

    name: str
    launch: Callable[[int], Running]
    log: LogFile
    stop_signal: signal.Signals = signal.SIGTERM
    give_up_signal: signal.Signals = signal.SIGKILL
    is_ready: Callable[[int], bool] = lambda _pid: True
    is_server: bool = False
    """Whether other processes need it, so that it ends after them."""
    running: Running | None = None
    since: float = 0.0
    restarts: int = 0
    delay: float = FIRST_DELAY
    due: float = 0.0
    """When to start it again, by the monotonic clock."""

    def state(self) -> dict[str, object]:
        """Return its entry in the status file."""
        pid = self.running.pid if self.running else None
        return {"name": self.name, "pid": pid, "since": self.since, "restarts": self.restarts}


class Supervisor:
    """Starts and restarts the children of one data directory. It is a context manager: on exit it ends every child."""

    def __init__(
        self, directory: DataDirectory, journal: Journal, let_go: Callable[[], None], facts: Mapping[str, object]
    ) -> None:
        """`let_go` closes files that a child must not hold; `facts` are written into the status file."""
        self.children: list[Child] = []
        self.journal = journal
        self._logs, self._status_file = directory.logs, directory.status
        self._let_go, self._facts = let_go, facts
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._killing = False
        self._under_way = 0
        self._wakes, self._wakeup = socket.socketpair()
        self._wakes.setblocking(False)
        self._wakeup.setblocking(False)

    def __enter__(self) -> "Supervisor":
        for number in SIGNALS:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                signal.signal(number, self._asked_to_stop)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._wakes, selectors.EVENT_READ, None)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stop_all()
        finally:
            self._status_file.unlink(missing_ok=True)
            signal.set_wakeup_fd(-1)
            for number in (*SIGNALS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for child in self.children:
                child.log.close()
            self._selector.close()
            self._wakes.close()
            self._wakeup.close()

    def add_server(self, server: Server) -> Child:
        """Start an embedded server."""
        child = Child(
            server.name,
            partial(launch, server),
            LogFile(self._logs / f"{server.name}.log"),
            server.stop_signal,
            server.give_up_signal,
            server.ready,
            is_server=True,
        )
        self._add(child)
        return child

    def add_process(self, process: Process) -> Child:
        """Start an API or worker."""

        def start(output: int) -> Running:
            return fork(partial(process.target, process.settings), output, self._let_go)

        log = LogFile(self._logs / f"{process.name}.log")
        child = Child(process.name, start, log, is_ready=lambda _pid: process.is_ready())
        self._add(child)
        return child

    def do(self, name: str, work: Callable[[], None]) -> None:
        """Run some work in a separate process and wait for it. Its output goes to the log of that name."""
        self.finish(self.doing(name, work))

    def doing(self, name: str, work: Callable[[], None]) -> Generator[None, None, None]:
        """Run some work in a separate process, and yield until it has ended. Raises Trouble if it fails."""
        path = self._logs / f"{name}.log"
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            errand = Errand(work, output, self._let_go)
        finally:
            os.close(output)
        self._under_way = errand.pid
        try:
            while not errand.is_done():
                yield
        finally:
            self._under_way = 0
            errand.close()
            if self._stopping:
                raise Stop

    def finish(self, steps: Generator[None, None, Result], meanwhile: Iterator[object] = iter(())) -> Result:
        """Take steps that yield while they wait, and return what they return.

        Between them it looks after the children, and takes steps of other work, `meanwhile`, which never waits and
        may be unfinished at the end.
        """
        with contextlib.closing(steps):
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    result: Result = end.value
                    break
                has_worked = any(True for _ in itertools.islice(meanwhile, 1))
                self.turn(0 if has_worked else WAIT_SECONDS)
        return result

    def work_through(self, steps: Iterator[object]) -> None:
        """Take all steps of work that never waits, and look after the children between them."""
        for _ in steps:
            self.turn(0)
            if self._stopping:
                raise Stop

    def until_ready(
        self, children: Iterable[Child], seconds: float, attempts: int | None = None
    ) -> Generator[None, None, list[Child]]:
        """Yield until all children are ready. Returns those that are not ready.

        It gives up when the time is over, or when one of them has ended `attempts` times.
        """
        deadline = time.monotonic() + seconds
        waiting = list(children)
        while waiting and time.monotonic() < deadline and not self._stopping:
            waiting = [child for child in waiting if not (child.running and child.is_ready(child.running.pid))]
            if attempts and any(child.restarts >= attempts for child in waiting):
                break
            if waiting:
                yield
        if self._stopping:
            raise Stop
        return waiting

    def run(self) -> None:
        """Keep everything running until a stop is requested."""
        while not self._stopping:
            self.turn(self._seconds_to_next_start())

    def _asked_to_stop(self, number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            if not self._killing:
                self._killing = True
                self.journal.write_line("Killing.")
            for child in self.children:
                if child.running and not child.is_server:
                    kill_group(child.running)
            return
        self._stopping = True
        if self._under_way:
            os.kill(self._under_way, signal.SIGTERM)
        self.journal.write_line(f"Stopping ({signal.Signals(number).name}).")

    def _add(self, child: Child) -> None:
        self.children.append(child)
        self._start(child)

    def _start(self, child: Child) -> None:
        reader, writer = os.pipe()
        try:
            child.running = child.launch(writer)
        except OSError as error:  # no memory or no free process: treat it as if it had ended at once
            os.close(reader)
            self._plan_restart(child, f"could not be started ({error.strerror})")
            return
        finally:
            os.close(writer)
        os.set_blocking(reader, False)
        self._selector.register(reader, selectors.EVENT_READ, child)
        child.since = time.time()
        child.due = 0.0
        self.write_status()

    def turn(self, timeout: float | None) -> None:
        """Wait for the next event and handle it."""
        self._listen(timeout)
        self._reap()
        if not self._stopping:
            now = time.monotonic()
            for child in self.children:
                if child.running is None and child.due <= now:
                    self._start(child)

    def _listen(self, timeout: float | None) -> None:
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._wakes.recv(4096)
            else:
                self._take(key.fd, key.data)

    def _take(self, descriptor: int, child: Child) -> None:
        try:
            said = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        if said:
            child.log.write(said)
        else:
            self._selector.unregister(descriptor)
            os.close(descriptor)

    def _reap(self) -> None:
        for child in self.children:
            if child.running is None or (code := child.running.poll()) is None:
                continue
            kill_group(child.running)  # kill the processes that it may have started
            child.running = None
            if not self._stopping:
                self._plan_restart(child, how_it_ended(code))

    def _plan_restart(self, child: Child, how: str) -> None:
        if child.since and time.time() - child.since > STEADY_SECONDS:
            child.delay = FIRST_DELAY
        child.restarts += 1
        child.due = time.monotonic() + child.delay
        self.journal.write_line(
            f"{child.name} {how}. It restarts in {child.delay:g} s (restart {child.restarts}).",
            "warning",
            process=child.name,
            restarts=child.restarts,
        )
        child.delay = min(child.delay * 2, LONGEST_DELAY)
        self.write_status()

    def _seconds_to_next_start(self) -> float | None:
        due = [child.due for child in self.children if child.running is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _stop_all(self) -> None:
        """End the processes, then the servers that they use."""
        self._stopping = True
        self._stop([child for child in self.children if not child.is_server])
        self._stop([child for child in self.children if child.is_server])

    def _stop(self, children: list[Child]) -> None:
        for attempt in ("stop", "give up", "kill"):
            alive = [child for child in children if child.running]
            for child in alive:
                self._signal(child, attempt)
            deadline = time.monotonic() + DRAIN_SECONDS
            while any(child.running for child in alive) and time.monotonic() < deadline:
                self._listen(0.05)
                self._reap()
            for child in alive:
                if child.running and attempt != "kill":
                    self.journal.write_line(f"{child.name} did not end within {DRAIN_SECONDS:g} s.", "warning")
        self._listen(0)

    def _signal(self, child: Child, attempt: str) -> None:
        if child.running is None:
            return
        number = {"stop": child.stop_signal, "give up": child.give_up_signal, "kill": signal.SIGKILL}[attempt]
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                kill_group(child.running)
            else:
                os.kill(child.running.pid, number)

    def write_status(self) -> None:
        """Write the status file."""
        status.write(self._status_file, self._facts, (child.state() for child in self.children))
