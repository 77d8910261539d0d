"""Child processes: forked from a supervisor that has imported everything already, or an embedded server."""

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
from shared.settings import Settings


@dataclass(frozen=True)
class Process:
    """One API or worker process: what it is called, does, and knows."""

    name: str
    target: Callable[[Settings], None]
    """Works until SIGTERM, then ends in good order."""
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
    """Do some work in a child in a process group of its own, that is killed if this process ends.

    `let_go` closes what the child has inherited and must not hold.
    """
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal must not meet the child while it still has its parent's handlers.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # both sides do it, so that neither can be too late
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
    except BaseException:  # the last place that can say what ended this process
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
    if os.getppid() != parent:  # it ended before we could ask
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Errand:
    """Some work in a child process, so that no thread, loop or connection stays behind here.

    Its Trouble becomes ours; any other error becomes a Trouble of its first line.
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
        """Whether it has ended well. Raises Trouble if it has not."""
        code = self._child.poll()
        if code is None:
            return False
        if code:
            with os.fdopen(os.dup(self._reader), "rb") as report:
                sentence = report.read().decode(errors="replace")
            raise Trouble(sentence or f"What was begun {how_it_ended(code)}.")
        return True

    def close(self) -> None:
        """Kill it if it is not done."""
        os.close(self._reader)
        if self._child.poll() is None:
            kill_group(self._child)
            os.waitpid(self.pid, 0)


def kill_group(running: Running) -> None:
    """End a process and all it has started, at once."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(running.pid, signal.SIGKILL)


def how_it_ended(code: int) -> str:
    """`ended with code 3`, `was killed by SIGKILL`."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
