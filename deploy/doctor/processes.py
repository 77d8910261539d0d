"""Checks of the running processes."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from deploy import forwarding, status
from deploy.doctor.finding import Finding, Target


def supervisor(target: Target) -> Iterator[Finding]:
    """Check the supervisor and each of its processes."""
    if target.pid is None:
        yield Finding("supervisor", True, "does not run")
        return
    if target.is_starting:
        yield Finding("supervisor", True, "is still starting: run doctor again when `up` prints Running")
        return
    yield Finding("supervisor", True, f"runs as process {target.pid}")
    state = status.read(target.directory.status)
    for name, pid, readiness, _, restarts, _ in status.rows(state) if state else ():
        is_ok = pid != "-" and readiness in {"running", "ready"}
        yield Finding(name, is_ok, f"{readiness}, {restarts} restarts", f"read `fangxian logs {name}`")


def reverse_proxy(target: Target) -> Iterator[Finding]:
    """Check that the gateway knows the reverse proxy in front of it, with the counter that it keeps since its start."""
    if target.pid is None or target.is_starting:
        return
    state = status.read(target.directory.status) or {}
    if port := urlsplit(state.get("urls", {}).get("registry", "")).port:
        yield Finding(*forwarding.finding(port))
