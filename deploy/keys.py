"""Keys and passwords of one installation: created at its first start (0600 in directories of 0700), never replaced.

`owner/` holds all of them, for the supervisor. Each service has its own directory with copies of only the keys that it
needs, so that a process can be confined to them. Ed25519 keys are JWKs (RFC 8037).
"""

import base64
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy import secret_files
from deploy.trouble import Trouble
from shared.core.settings import SERVICES, Service

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

DATABASE_PASSWORD = "database.password"  # noqa: S105 - a file's name
"""The password of the service's login role, for a single process whose database address has no password."""
OF_EVERY_SERVICE = ("own.jwk", "services.jwks", "master.key", "index.key", DATABASE_PASSWORD)
OF_THE_GATEWAY = ("issuer.jwk", "code-hmac.key")


def make(directory: Path) -> None:
    """Create all keys of a new installation, if it has none: either all or none."""
    if directory.exists():
        _copy_passwords(directory)
        return
    half_made = directory.with_name(f"{directory.name}.half")
    shutil.rmtree(half_made, ignore_errors=True)
    try:
        for name, content in _of_the_owner().items():
            secret_files.write_once(half_made / "owner" / name, content)
        for service in SERVICES:
            for name in names_of(service):
                _copy(half_made, service, name)
        os.rename(half_made, directory)
        secret_files.flush_directory(directory.parent)
    except BaseException:
        shutil.rmtree(half_made, ignore_errors=True)
        raise


def make_apart(directory: Path) -> bool:
    """Create all keys in an empty or new directory. Returns False if it has keys. Raises Trouble for other content."""
    there = {entry.name for entry in directory.iterdir()} if directory.exists() else set[str]()
    if there and not there & {"owner", *SERVICES}:
        raise Trouble(f"{directory} contains other files ({min(there)}). Choose an empty directory.")
    if directory.exists() and not there:
        directory.rmdir()
    make(directory)
    require(directory)
    return not there


def _copy(directory: Path, service: Service, name: str) -> None:
    content = secret_files.read(directory / "owner" / _original(service, name))
    secret_files.write_once(directory / service / name, content + "\n")


def _copy_passwords(directory: Path) -> None:
    """Add the passwords to installations that were created before services had copies. No other key is ever added."""
    for service in SERVICES:
        if not (directory / service / DATABASE_PASSWORD).exists() and not missing_of_owner(directory):
            _copy(directory, service, DATABASE_PASSWORD)


def names_of(service: Service) -> tuple[str, ...]:
    """Return the names of the key files that a service needs."""
    return OF_EVERY_SERVICE + (OF_THE_GATEWAY if service == "gateway" else ())


def missing(directory: Path) -> list[str]:
    """Return the key files that are missing."""
    expected = [f"{service}/{name}" for service in SERVICES for name in names_of(service)]
    return [*missing_of_owner(directory), *(name for name in expected if not (directory / name).is_file())]


def missing_of_owner(directory: Path) -> list[str]:
    """Return the key files of the owner that are missing."""
    return [f"owner/{name}" for name in owner_names() if not (directory / "owner" / name).is_file()]


def require(directory: Path) -> None:
    """Raise Trouble if a key is missing, because a new one cannot decrypt what the old one encrypted."""
    if gone := missing(directory):
        raise Trouble(f"Keys are missing in {directory} ({', '.join(gone)}). Restore them from a backup.")


def passwords(owner: Path) -> dict[str, str]:
    """Return the password of each service's login role, from the owner's directory."""
    return {service: secret_files.read(owner / _original(service, DATABASE_PASSWORD)) for service in SERVICES}


def owner_names() -> tuple[str, ...]:
    """Return the names of the key files that the supervisor needs: all of them."""
    per_service = [_original(service, name) for service in SERVICES for name in (DATABASE_PASSWORD, "own.jwk")]
    shared = ("services.jwks", "master.key", "index.key", *OF_THE_GATEWAY)
    return ("database-owner.password", "valkey.password", *per_service, *shared)


def _of_the_owner() -> dict[str, str]:
    signing = {service: _ed25519(service) for service in SERVICES}
    return {
        "database-owner.password": _password(),
        "valkey.password": _password(),
        **{_original(service, DATABASE_PASSWORD): _password() for service in SERVICES},
        **{_original(service, "own.jwk"): _json(key.as_dict(private=True)) for service, key in signing.items()},
        "services.jwks": _json({"keys": [key.as_dict(private=False) for key in signing.values()]}),
        "master.key": _bytes(),
        "index.key": _bytes(),
        "issuer.jwk": _json(_ed25519("issuer").as_dict(private=True)),
        "code-hmac.key": _bytes(),
    }


def _original(service: Service, name: str) -> str:
    """Return the name that a service's file has in the owner's directory."""
    return {"own.jwk": f"service-{service}.jwk", DATABASE_PASSWORD: f"database-{service}.password"}.get(name, name)


def _ed25519(key_id: str) -> "OKPKey":
    from joserfc.jwk import OKPKey

    return OKPKey.generate_key("Ed25519", {"kid": key_id, "use": "sig"}, private=True)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True) + "\n"


def _password() -> str:
    return secrets.token_urlsafe(24) + "\n"


def _bytes() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode("ascii").rstrip("=") + "\n"
