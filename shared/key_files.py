"""Key files: one key, or several versions of it while one takes another's place.

A file holds 32 bytes as base64url, one JWK, or a JWK set (RFC 7517). In a set each version says in `nbf` from when it
is used and in `exp` until when what it made is accepted (seconds since 1970). So a rotation is written once, ahead of
time, and every process that has the file follows it by its own clock.
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
"""How long before it is used a new version lies where everybody reads it. Processes look every two seconds."""

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key."""

    id: str
    jwk: Mapping[str, Any]

    @property
    def begins(self) -> float:
        """From when it is used."""
        return float(self.jwk.get("nbf", 0))

    @property
    def ends(self) -> float | None:
        """Until when what it made is accepted; None for as long as the file names it."""
        found = self.jwk.get("exp")
        return None if found is None else float(found)

    @property
    def secret(self) -> bytes:
        """The 32 bytes of a symmetric key."""
        return decoded(str(self.jwk["k"]))


def read(path: Path) -> list[Version]:
    """The versions in a file, the newest first. Raises ValueError if it holds none, or half of one."""
    versions = parse(path.read_text(encoding="ascii"), path.name)
    if not versions:
        raise ValueError(f"{path.name} holds no key")
    return versions


def parse(content: str, name: str) -> list[Version]:
    """The versions in the content of a file."""
    content = content.strip()
    if not content.startswith("{"):
        try:
            secret = decoded(content)
        except ValueError:  # its message counts the characters of a secret
            secret = b""
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"{name} must hold {SECRET_BYTES} bytes as base64url")
        return [Version(id_of(secret), symmetric(secret))]
    document = json.loads(content)
    found = [Version(str(jwk.get("kid", "")), jwk) for jwk in document.get("keys", [document])]
    for version in found:
        if version.jwk.get("kty") == "oct" and len(version.secret) != SECRET_BYTES:
            raise ValueError(f"{name} must hold keys of {SECRET_BYTES} bytes")
    return sorted(found, key=lambda version: version.begins, reverse=True)


def in_use(versions: Sequence[Version], now: float) -> Version:
    """The version that is used at an instant: the newest that has begun."""
    return next((version for version in versions if version.begins <= now), versions[-1])


def trusted(versions: Sequence[Version], now: float) -> list[Version]:
    """The versions whose work is accepted at an instant."""
    return [version for version in versions if version.ends is None or now < version.ends]


def symmetric(secret: bytes, **members: Any) -> dict[str, Any]:
    """A symmetric key as a JWK."""
    return {"kty": "oct", "k": encoded(secret), "kid": id_of(secret), **members}


def id_of(secret: bytes) -> str:
    """The id of a symmetric key, which follows from it and tells nothing of it."""
    return hashlib.sha256(b"fangxian key id" + secret).hexdigest()[:8]


def encoded(secret: bytes) -> str:
    """Bytes as base64url."""
    return base64.urlsafe_b64encode(secret).decode("ascii").rstrip("=")


def decoded(text: str) -> bytes:
    """The bytes of a base64url text."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Watched:
    """Key files that are read again whenever they have changed."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._seen = self._marks()

    def changed(self) -> bool:
        """Whether one of them is not what it was when this was last asked."""
        marks = self._marks()
        if marks == self._seen:
            return False
        self._seen = marks
        return True

    def _marks(self) -> list[tuple[int, int, int]]:
        found = []
        for path in self._paths:
            status = path.stat() if path.exists() else None
            found.append((status.st_ino, status.st_mtime_ns, status.st_size) if status else (0, 0, 0))
        return found


def now() -> float:
    """The instant by which versions follow each other: the machine's clock, which tests of rules do not move."""
    return time.time()
