"""Key files: one key, or several versions of a key during a rotation.

A file contains 32 bytes as base64url, one JWK, or a JWK set (RFC 7517). In a set, a version is used from `nbf` on, and
its signatures or tokens are accepted until `exp` (Unix seconds). A rotation is therefore written once, in advance, and
every process with the file follows it by its own clock.
"""

import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPREAD_SECONDS = 10
"""How long a new version is published before its use. Processes check the files every two seconds."""

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key."""

    id: str
    jwk: Mapping[str, Any]

    @property
    def begins(self) -> float:
        """The time from which it is used, in Unix seconds."""
        return float(self.jwk.get("nbf", 0))

    @property
    def ends(self) -> float | None:
        """The time until which it is accepted, in Unix seconds; None as long as the file contains it."""
        expiry = self.jwk.get("exp")
        return None if expiry is None else float(expiry)

    @property
    def secret(self) -> bytes:
        """The 32 bytes of a symmetric key."""
        return decoded(str(self.jwk["k"]))


def read(path: Path) -> list[Version]:
    """Read the versions in a file, newest first. Raises ValueError if it is empty or incomplete."""
    versions = parse(path.read_text(encoding="ascii"), path.name)
    if not versions:
        raise ValueError(f"{path.name} holds no key")
    return versions


def parse(content: str, name: str) -> list[Version]:
    """Parse the versions in the content of a file."""
    content = content.strip()
    if not content.startswith("{"):
        try:
            secret = decoded(content)
        except ValueError:  # its message would reveal the length of the secret
            secret = b""
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"{name} must hold {SECRET_BYTES} bytes as base64url")
        return [Version(id_of(secret), symmetric(secret))]
    document = json.loads(content)
    versions = [Version(str(jwk.get("kid", "")), jwk) for jwk in document.get("keys", [document])]
    for version in versions:
        if version.jwk.get("kty") == "oct" and len(version.secret) != SECRET_BYTES:
            raise ValueError(f"{name} must hold keys of {SECRET_BYTES} bytes")
    return sorted(versions, key=lambda version: version.begins, reverse=True)


def in_use(versions: Sequence[Version], now: float) -> Version:
    """Return the version that is used at an instant: the newest that has begun."""
    return next((version for version in versions if version.begins <= now), versions[-1])


def trusted(versions: Sequence[Version], now: float) -> list[Version]:
    """Return the versions that are accepted at an instant."""
    return [version for version in versions if version.ends is None or now < version.ends]


def symmetric(secret: bytes, **members: Any) -> dict[str, Any]:
    """Build the JWK of a symmetric key."""
    return {"kty": "oct", "k": encoded(secret), "kid": id_of(secret), **members}


def id_of(secret: bytes) -> str:
    """Return the id of a symmetric key: a hash that does not reveal the key."""
    return hashlib.sha256(b"fangxian key id" + secret).hexdigest()[:8]


def encoded(secret: bytes) -> str:
    """Encode bytes as base64url."""
    return base64.urlsafe_b64encode(secret).decode("ascii").rstrip("=")


def decoded(text: str) -> bytes:
    """Decode a base64url text."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Watched:
    """Detects changes of key files."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._seen = self._marks()

    def changed(self) -> bool:
        """Whether one of the files has changed since the last call."""
        marks = self._marks()
        if marks == self._seen:
            return False
        self._seen = marks
        return True

    def _marks(self) -> list[tuple[int, int, int]]:
        marks = []
        for path in self._paths:
            status = path.stat() if path.exists() else None
            marks.append((status.st_ino, status.st_mtime_ns, status.st_size) if status else (0, 0, 0))
        return marks


def now() -> float:
    """Return the time for key rotation: the clock of the machine, which `clock.move` does not change."""
    return time.time()
