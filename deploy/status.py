"""The status file that the supervisor writes, and the table that `fangxian status` makes of it."""

import contextlib
import http.client
import json
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.memory import sizes_of


def write(path: Path, facts: Mapping[str, object], processes: Iterable[Mapping[str, object]]) -> None:
    """Write the state of every process. If the disk is full, the previous file stays."""
    state = {**facts, "processes": list(processes)}
    half_made = path.with_suffix(".half")
    with contextlib.suppress(OSError):
        half_made.touch(mode=0o600)
        half_made.write_text(json.dumps(state, indent=1), encoding="utf-8")
        half_made.replace(path)


def read(path: Path) -> dict[str, Any] | None:
    """Return the last written state. None if no state was written."""
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return state


def heading(state: Mapping[str, Any], data: Path) -> dict[str, str]:
    """Return the address of the gateway, the data directory, the mode and the version."""
    mode = "production" if state.get("settings", {}).get("production") else "development"
    gateway, version = state.get("urls", {}).get("gateway", "-"), state.get("version", "-")
    return {"gateway": gateway, "data": str(data), "mode": mode, "version": version}


def not_named(state: Mapping[str, Any], own_servers: Collection[str]) -> list[str]:
    """Return the variables that named the servers of the running installation, but are not set here."""
    return [name for name in state.get("servers", ()) if name not in own_servers]


def rows(state: Mapping[str, Any]) -> list[tuple[str, str, str, str, str, str]]:
    """Return name, process id, state, running time, restarts and memory of every process."""
    return [_row(process, state.get("urls", {})) for process in state["processes"]]


def _row(process: Mapping[str, Any], urls: Mapping[str, str]) -> tuple[str, str, str, str, str, str]:
    name, pid = process["name"], process["pid"]
    memory = _memory(pid) if pid else None
    if memory is None:
        return name, "-", "waiting to start", "-", str(process["restarts"]), "-"
    shown = readiness(urls[name]) if name in urls else "running"
    return name, str(pid), shown, span(time.time() - process["since"]), str(process["restarts"]), f"{memory} MB"


def _memory(pid: int) -> int | None:
    """Return the memory in MB of a process and its child processes; None if it has ended."""
    sizes = sizes_of(pid)
    return sum(sizes) // 1024**2 if sizes else None


def readiness(url: str) -> str:
    """Return what an API answers at /readyz: `ready`, `not ready (503)` or `does not answer`."""
    code = _code(url, 2)
    if code is None:
        return "does not answer"
    return "ready" if code == http.client.OK else f"not ready ({code})"


def is_ready(url: str) -> bool:
    """Whether an API is ready according to /readyz."""
    return _code(url, 1) == http.client.OK


def _code(url: str, timeout: float) -> int | None:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout)
    try:
        connection.request("GET", "/readyz", headers={"Connection": "close"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def span(seconds: float) -> str:
    """Format a duration: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours} h {minute} min" if hours else f"{minute} min {second} s" if minute else f"{second} s"
