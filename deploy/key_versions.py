"""Versions of the keys in `keys/`: add a new version in every place where the key is read, and end the old one.

Each file is replaced atomically, the files of readers before those of signers. So if a rotation is interrupted, every
process still uses keys that all others know.
"""

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from joserfc.jwk import OKPKey

from deploy import secret_files
from deploy.trouble import Trouble
from shared.core.settings import SERVICES
from shared.crypto import key_files
from shared.crypto.key_files import SPREAD_SECONDS, Version

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

KINDS = ("master", "data", "index", *SERVICES, "issuer", "code")
"""Keys that can be rotated: master key, data keys, index key, the key of each service, those for tokens and codes."""

BEGINS_IN: dict[str, float] = {
    **{service: float(SPREAD_SECONDS) for service in SERVICES},
    "issuer": 2 * MINUTE,
    "code": HOUR + MINUTE,
}
"""Seconds until a new key signs: the time for which readers may cache the old public keys."""

OUTLASTS: dict[str, float] = {
    **dict.fromkeys(SERVICES, 2 * MINUTE),
    "issuer": 12 * HOUR + MINUTE,
    "code": 7 * DAY + HOUR,
}
"""Seconds for which an old key is trusted after the new one signs: the lifetime of its last signature."""

_FILES = {
    "master": ("master.key", SERVICES),
    "index": ("index.key", SERVICES),
    "issuer": ("issuer.jwk", ("gateway",)),
    "code": ("code-hmac.key", ("gateway",)),
}


def versions(keys: Path, kind: str) -> list[Version]:
    """Return the versions of a key, the newest first."""
    return key_files.read(_paths(keys, kind)[0])


def put(keys: Path, kind: str, found: Sequence[Version]) -> None:
    """Write the versions of a key to every place where it is read."""
    if kind in SERVICES:
        _publish(keys, kind, found)
    content = _set_of([version.jwk for version in found])
    for place in reversed(_paths(keys, kind)):  # the owner's copy last, because a repeated command starts from it
        secret_files.replace(place, content)


def add_symmetric(keys: Path, kind: str, **members: Any) -> list[Version]:
    """Add a new master or index key to the existing one."""
    jwk = key_files.symmetric(secrets.token_bytes(key_files.SECRET_BYTES), nbf=int(key_files.now()), **members)
    found = [Version(str(jwk["kid"]), jwk), *versions(keys, kind)]
    put(keys, kind, found)
    return found


def rotate_signing(keys: Path, kind: str, begins_in: float | None = None) -> tuple[Version, float, float]:
    """Add a new signing key. Returns it, when it begins, and when the old one ends.

    The new key is published before the old one gets an end. If it is interrupted in between, nothing changes.
    """
    now = key_files.now()
    begins = now + (BEGINS_IN[kind] if begins_in is None else begins_in)
    ends = begins + OUTLASTS[kind]
    kept = key_files.trusted(versions(keys, kind), now)
    if any(version.begins > now for version in kept):
        raise Trouble(f"A new {kind} key is already about to begin. See `fangxian keys list`.")
    new = _new_signing(kind, int(begins))
    put(keys, kind, [new, *kept])
    put(keys, kind, [new, *(_ending(version, ends) for version in kept)])
    return new, begins, ends


def remove(keys: Path, kind: str, key_id: str) -> None:
    """Stop trusting a version, from now on. Everything that it signed becomes invalid."""
    found = versions(keys, kind)
    left = [version for version in found if version.id != key_id]
    if len(left) == len(found):
        raise Trouble(f"There is no {kind} key {key_id}. See `fangxian keys list`.")
    if not left:
        raise Trouble(f"{key_id} is the only {kind} key. Rotate it first.")
    now = key_files.now()
    if kind not in ("master", "index") and all(version.begins > now for version in left):
        left[-1] = Version(left[-1].id, {**left[-1].jwk, "nbf": int(now)})
    put(keys, kind, left)


def _paths(keys: Path, kind: str) -> list[Path]:
    """Return the owner's copy and those of the services."""
    if kind in SERVICES:
        return [keys / "owner" / f"service-{kind}.jwk", keys / kind / "own.jwk"]
    name, services = _FILES[kind]
    return [keys / "owner" / name, *(keys / service / name for service in services)]


def _publish(keys: Path, service: str, found: Sequence[Version]) -> None:
    """Write the public keys of one service for all services."""
    owner = keys / "owner" / "services.jwks"
    others = [version.jwk for version in key_files.read(owner) if version.id.partition(".")[0] != service]
    content = _set_of([*others, *(_public(version.jwk) for version in found)])
    for place in (*(keys / reader / "services.jwks" for reader in SERVICES), owner):
        secret_files.replace(place, content)


def _new_signing(kind: str, begins: int) -> Version:
    mark = secrets.token_hex(4)
    if kind == "code":
        jwk: dict[str, Any] = key_files.symmetric(secrets.token_bytes(key_files.SECRET_BYTES), nbf=begins)
    else:
        made = OKPKey.generate_key("Ed25519", {"kid": f"{kind}.{mark}", "use": "sig"}, private=True)
        jwk = {**made.as_dict(private=True), "nbf": begins}
    return Version(str(jwk["kid"]), jwk)


def _ending(version: Version, ends: float) -> Version:
    return version if version.ends is not None else Version(version.id, {**version.jwk, "exp": int(ends)})


def _public(jwk: Any) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name != "d"}


def _set_of(jwks: Sequence[Any]) -> str:
    return json.dumps({"keys": [dict(jwk) for jwk in jwks]}, sort_keys=True) + "\n"
