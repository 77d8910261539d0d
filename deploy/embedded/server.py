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
    """How to start a server, check that it is ready, and stop it."""

    name: str
    command: list[str]
    user: ServerUser
    tidy: Callable[[], None]
    """Cleans up after an earlier run that was killed."""
    ready: Callable[[int], bool]
    """Whether the server with this process id accepts connections."""
    stop_signal: signal.Signals
    give_up_signal: signal.Signals


def die_with_parent(number: signal.Signals) -> None:
    """Ask the kernel to send a signal when the thread that started this process ends. Only Linux supports it."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def launch(server: Server, log: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Start a server in its own process group (Ctrl-C is only for the parent), with its output in `log`.

    The calling thread must live as long as the server, because the kernel ends the server with it.
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
        # Set it after the change of user, because that change clears the setting in the kernel.
        preexec_fn=lambda: die_with_parent(server.stop_signal),
        **server.user.popen,
    )


def wait_until_ready(server: Server, process: subprocess.Popen[bytes], seconds: float, last_words: str = "") -> None:
    """Wait until the server accepts connections. Raises Trouble if it ends, or after the timeout."""
    deadline = time.monotonic() + seconds
    while not server.ready(process.pid):
        code = process.poll()
        if code is not None:
            raise Trouble(f"{server.name} ended with code {code} while starting{last_words}.")
        if time.monotonic() > deadline:
            raise Trouble(f"{server.name} was not ready after {seconds:.0f} s{last_words}.")
        time.sleep(0.02)


def stop(server: Server, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """Stop a server cleanly, or kill it after the timeout."""
    for number in (server.stop_signal, server.give_up_signal, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
