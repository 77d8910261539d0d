"""The keys that codes and receipts are signed with, as this process holds them.

`code-hmac.key` is the seed of the key that signs. `code-next.key`, where it is there, is trusted and published beside
it: put a new key there first; when every device has it, swap the two files; when the last code signed by the old one
has expired, take it away. So a rotation leaves no gap.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from services.gateway.tokens.rules import Key, secrets_of

CURRENT, OTHER = "code-hmac.key", "code-next.key"


@dataclass(frozen=True)
class Keys:
    """The key that signs, and at most one other that is trusted."""

    current: Key
    other: Key | None = None

    @classmethod
    def from_files(cls, directory: Path) -> Self:
        """Read them from a directory."""
        other = directory / OTHER
        return cls(_read(directory / CURRENT), _read(other) if other.exists() else None)

    @property
    def all(self) -> tuple[Key, ...]:
        """Both, the one that signs first."""
        return (self.current,) if self.other is None else (self.current, self.other)

    @cached_property
    def secrets(self) -> Mapping[bytes, bytes]:
        """What codes are read with online."""
        return secrets_of(self.all)

    @cached_property
    def receipt_secrets(self) -> Mapping[bytes, bytes]:
        """What receipts are read with."""
        return {key.id: key.receipt_secret for key in self.all}

    @cached_property
    def public(self) -> list[dict[str, Any]]:
        """What devices read codes with offline, as JWKs (RFC 8037). `kid` is the hexadecimal key id inside a code."""
        return [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "alg": "Ed25519",
                "use": "sig",
                "kid": key.id.hex(),
                "x": urlsafe_b64encode(key.public).rstrip(b"=").decode(),
            }
            for key in self.all
        ]


def _read(path: Path) -> Key:
    text = path.read_text().strip()
    return Key(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
