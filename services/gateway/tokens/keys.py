"""The keys that sign codes and receipts, as loaded in this process.

`code-hmac.key` contains one or more seeds. A new key is published as soon as it is in the file, and signs from `nbf`
on. An older key is trusted until `exp`, when its last code has expired. So a rotation leaves no gap and needs no
restart.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from services.gateway.tokens.rules import Key, secrets_of
from shared.crypto import key_files
from shared.crypto.key_files import Version, Watched

FILE = "code-hmac.key"


@dataclass
class Keys:
    """The signing key and all trusted keys. Both mappings are updated in place, because the fast paths hold them."""

    current: Key
    others: tuple[Key, ...] = ()
    secrets: dict[bytes, bytes] = field(default_factory=dict)
    """Secrets by key id that verify codes online."""
    receipt_secrets: dict[bytes, bytes] = field(default_factory=dict)
    """Secrets by key id that verify receipts."""
    _versions: Sequence[Version] = ()
    _watched: Watched | None = None
    _file: Path | None = None

    def __post_init__(self) -> None:
        self._trust()

    @classmethod
    def from_files(cls, directory: Path) -> Self:
        """Read the keys from a directory."""
        file = directory / FILE
        versions = key_files.read(file)
        current, others = _chosen(versions)
        return cls(current, others, _versions=versions, _watched=Watched(file), _file=file)

    def refresh(self) -> None:
        """Reload the file if it changed, and switch keys when their time comes."""
        if self._watched is None or self._file is None:
            return
        if self._watched.changed():
            self._versions = key_files.read(self._file)
        current, others = _chosen(self._versions)
        if (current, others) != (self.current, self.others):
            self.current, self.others = current, others
            self._trust()

    def _trust(self) -> None:
        _replace_in_place(self.secrets, secrets_of(self.all))
        _replace_in_place(self.receipt_secrets, {key.id: key.receipt_secret for key in self.all})

    @property
    def all(self) -> tuple[Key, ...]:
        """All keys; the signing key is the first."""
        return (self.current, *self.others)

    @property
    def public(self) -> list[dict[str, Any]]:
        """The public keys for offline devices, as JWKs (RFC 8037). `kid` is the key id of a code in hexadecimal."""
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


def _replace_in_place(mapping: dict[bytes, bytes], new: Mapping[bytes, bytes]) -> None:
    """Make a mapping equal to another. New keys are added first, so that no trusted key is missing at any moment."""
    mapping.update(new)
    for key_id in mapping.keys() - new.keys():
        del mapping[key_id]
