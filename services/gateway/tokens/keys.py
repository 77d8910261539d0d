"""The keys that codes and receipts are signed with, as this process holds them.

`code-hmac.key` holds the seeds, one or several. A new one is published from the moment it lies there, and signs when
its time has come (`nbf`); what an older one signed is good until its last code has ended (`exp`). So a rotation leaves
no gap, and needs no restart.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from services.gateway.tokens.rules import Key, secrets_of
from shared import key_files
from shared.key_files import Version, Watched

FILE = "code-hmac.key"


@dataclass
class Keys:
    """The key that signs, and all that are trusted. Both mappings stay the same object: the hot paths hold them."""

    current: Key
    others: tuple[Key, ...] = ()
    secrets: dict[bytes, bytes] = field(default_factory=dict)
    """What codes are read with online."""
    receipt_secrets: dict[bytes, bytes] = field(default_factory=dict)
    """What receipts are read with."""
    _versions: Sequence[Version] = ()
    _watched: Watched | None = None
    _file: Path | None = None

    def __post_init__(self) -> None:
        self._trust()

    @classmethod
    def from_files(cls, directory: Path) -> Self:
        """Read them from a directory."""
        file = directory / FILE
        versions = key_files.read(file)
        current, others = _chosen(versions)
        return cls(current, others, _versions=versions, _watched=Watched(file), _file=file)

    def refresh(self) -> None:
        """Follow the file and the clock."""
        if self._watched is None or self._file is None:
            return
        if self._watched.changed():
            self._versions = key_files.read(self._file)
        current, others = _chosen(self._versions)
        if (current, others) != (self.current, self.others):
            self.current, self.others = current, others
            self._trust()

    def _trust(self) -> None:
        _become(self.secrets, secrets_of(self.all))
        _become(self.receipt_secrets, {key.id: key.receipt_secret for key in self.all})

    @property
    def all(self) -> tuple[Key, ...]:
        """All, the one that signs first."""
        return (self.current, *self.others)

    @property
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


def _chosen(versions: Sequence[Version]) -> tuple[Key, tuple[Key, ...]]:
    now = key_files.now()
    current = key_files.in_use(versions, now)
    others = [one for one in key_files.trusted(versions, now) if one.id != current.id]
    return Key(current.secret), tuple(Key(one.secret) for one in others)


def _become(held: dict[bytes, bytes], wanted: Mapping[bytes, bytes]) -> None:
    """Make a mapping another, with no moment in between at which a trusted key is missing."""
    held.update(wanted)
    for key_id in held.keys() - wanted.keys():
        del held[key_id]
