"""Child processes: forked from a supervisor that has already imported everything, or embedded servers."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from deploy.embedded.server import die_with_parent
from deploy.trouble import Trouble
from shared.core.settings import Settings


@dataclass(frozen=True)
class Process:
    """One API or worker process: its name, its work and its settings."""

    name: str
    target: Callable[[Settings], None]
    """Runs until SIGTERM, then ends cleanly."""
    settings: Settings
    is_ready: Callable[[], bool] = lambda: True
    """Asked from outside, after the start."""
    in_background: bool = False
    """True for a worker: nobody waits for its answer, so it starts when the APIs are ready."""


class Running(Protocol):
    """A started process."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""


class Forked:
    """A process forked from this one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code


def fork(work: Callable[[], None], output: int, let_go: Callable[[], None]) -> Forked:
    """Run some work in a child with its own process group. The child is killed if this process ends.

    `let_go` closes inherited files that the child must not hold.
    """
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    # The child must not receive a signal while it still has the handlers of its parent.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # parent and child both do it, so that it never happens too late
            os.setpgid(pid, pid)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return Forked(pid)
    code = 1
    try:
        _become_a_child(parent, output)
        let_go()
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # the last place where the reason for the end can be logged
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become_a_child(parent: int, output: int) -> None:
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before prctl
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Errand:
    """Some work in a child process, so that no thread, event loop or connection remains in this process.

    Its Trouble is raised here again. Any other error becomes a Trouble with the first line of its message.
    """

    def __init__(self, work: Callable[[], None], output: int, let_go: Callable[[], None]) -> None:
        reader, writer = os.pipe()

        def report() -> None:
            os.close(reader)
            try:
                work()
            except Trouble as trouble:
                os.write(writer, str(trouble).encode())
                raise SystemExit(1) from None
            except Exception as error:
                first_line = (str(error).strip().splitlines() or [""])[0]
                os.write(writer, f"{type(error).__name__}: {first_line}"[:2000].encode())
                raise

        self._reader = reader
        self._child = fork(report, output, let_go)
        self.pid = self._child.pid
        os.close(writer)

    def is_done(self) -> bool:
        """Whether it has ended. Raises Trouble if it failed."""
        code = self._child.poll()
        if code is None:
            return False
        if code:
            with os.fdopen(os.dup(self._reader), "rb") as report:
                sentence = report.read().decode(errors="replace")
            raise Trouble(sentence or f"A child process {how_it_ended(code)}.")
        return True

    def close(self) -> None:
        """Kill it if it still runs."""
        os.close(self._reader)
        if self._child.poll() is None:
            kill_group(self._child)
            os.waitpid(self.pid, 0)


def kill_group(running: Running) -> None:
    """Kill a process and everything that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(running.pid, signal.SIGKILL)


def how_it_ended(code: int) -> str:
    """Describe an exit code: `ended with code 3`, `was killed by SIGKILL`."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
