"""One embedded server as a child process that never outlives its parent."""

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from deploy.embedded.user import ServerUser
from deploy.trouble import Trouble

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Server:
    """How to start a server, to know that it is ready, and to end it."""

    name: str
    command: list[str]
    user: ServerUser
    tidy: Callable[[], None]
    """Clears away what a killed predecessor left."""
    ready: Callable[[int], bool]
    """Whether the server with that process id takes connections."""
    stop_signal: signal.Signals
    give_up_signal: signal.Signals


def die_with_parent(number: signal.Signals) -> None:
    """Ask the kernel for a signal when the thread that made this process ends. Linux only; elsewhere nothing."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def launch(server: Server, log: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Start a server in a process group of its own (Ctrl-C is for its parent), its output going to `log`.

    The calling thread must live as long as the server: the kernel ends the server with it.
    """
    server.tidy()
    return subprocess.Popen(  # noqa: S603
        server.command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        umask=0o077,
        process_group=0,
        # After the change of user, which makes the kernel forget the wish.
        preexec_fn=lambda: die_with_parent(server.stop_signal),
        **server.user.popen,
    )


def wait_until_ready(server: Server, process: subprocess.Popen[bytes], seconds: float, last_words: str = "") -> None:
    """Wait until the server takes connections; Trouble if it ends or the time is over."""
    deadline = time.monotonic() + seconds
    while not server.ready(process.pid):
        code = process.poll()
        if code is not None:
            raise Trouble(f"{server.name} ended with code {code} while starting{last_words}.")
        if time.monotonic() > deadline:
            raise Trouble(f"{server.name} was not ready after {seconds:.0f} s{last_words}.")
        time.sleep(0.02)


def stop(server: Server, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """End a server in good order, or without it when the time is over."""
    for number in (server.stop_signal, server.give_up_signal, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
