"""The machine, the versions and the day of a measurement. Without them the figures have no meaning."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psutil

LIBRARIES = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "asyncpg", "sqlalchemy", "pydantic", "httpx")
GENERATOR = "the bench's own HTTP/1.1 generator (asyncio protocols on uvloop, keep-alive, closed loop)"


def describe() -> dict[str, str]:
    """The machine and the versions, by name."""
    load = os.getloadavg()[0]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": str(psutil.cpu_count() or 1),
        "memory": f"{psutil.virtual_memory().total / 1024**3:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load before": f"{load:.2f}",
        "fangxian": _version("fangxian"),
        "commit": _commit(),
        "python": platform.python_version(),
        "libraries": ", ".join(f"{name} {_version(name)}" for name in LIBRARIES),
        "generator": GENERATOR,
    }


def is_busy() -> bool:
    """Whether other programs use this machine, so that figures are noisy."""
    return os.getloadavg()[0] > 0.5


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _commit() -> str:
    """The commit of a checkout, with a plus if files differ from it; unknown where it is no checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
