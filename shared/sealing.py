"""Personal data at rest: sealed columns, keyed blind indexes, and the keys behind them.

Names, document numbers, phones and addresses are stored only as AES-256-GCM ciphertext. A data key belongs to one
service and one month and lies in the service's schema, wrapped by the master key. The row's identity (table, column,
id) is the associated data: a ciphertext copied to another row does not open. Equality is looked up by a blind index,
an HMAC-SHA256 under the index key, cut to 16 bytes.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self, overload
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT = b"\x01"
NONCE_BYTES = 12
INDEX_BYTES = 16


class CannotOpenError(Exception):
    """A ciphertext is cut short, is another row's, or its key is gone."""


def month_of(instant: datetime) -> int:
    """The id of the data key that seals at an instant: 202101 for January 2021."""
    return instant.year * 100 + instant.month


def next_month(month: int) -> int:
    """The month after: 202112 → 202201."""
    return month + 1 if month % 100 < 12 else month + 89


@dataclass
class Keyring:
    """The keys of one service, opened: seals, opens and indexes."""

    service: str
    master: bytes
    index_key: bytes
    _keys: dict[int, AESGCM] = field(default_factory=dict)
    current: int = 0

    @classmethod
    def from_files(cls, service: str, keys: Path) -> Self:
        """Read `master.key` and `index.key` (32 bytes, base64url) from a directory."""
        return cls(service, _read_key(keys / "master.key"), _read_key(keys / "index.key"))

    def new_wrapped_key(self, month: int) -> bytes:
        """A fresh data key for a month, wrapped for storing."""
        return _encrypt(AESGCM(self.master), os.urandom(32), self._month_name(month))

    def unwrap(self, month: int, wrapped: bytes) -> None:
        """Take a stored data key into the ring."""
        self._keys[month] = AESGCM(_decrypt(AESGCM(self.master), wrapped, self._month_name(month)))

    def has(self, month: int) -> bool:
        """Whether the data key of a month is in the ring."""
        return month in self._keys

    def seal(self, place: str, row: UUID, plain: str) -> bytes:
        """Ciphertext of a text that opens only for this place (`residents.name`) and row."""
        return self.seal_bytes(place, row, plain.encode())

    def seal_all(self, place: str, rows: Sequence[UUID], plains: Sequence[str | None]) -> list[bytes | None]:
        """As `seal`, for the column of many rows; what is None stays None."""
        key, bound_to, head = self._keys[self.current], place.encode(), self._head()
        # Drawn at once: a system call for each would cost as much as the sealing.
        nonces = os.urandom(NONCE_BYTES * len(rows))
        drawn = (nonces[at : at + NONCE_BYTES] for at in range(0, len(nonces), NONCE_BYTES))
        return [
            None if plain is None else head + nonce + key.encrypt(nonce, plain.encode(), bound_to + row.bytes)
            for row, plain, nonce in zip(rows, plains, drawn, strict=True)
        ]

    def open(self, place: str, row: UUID, sealed: bytes) -> str:
        """The text again. Raises `CannotOpenError`, and never says what was inside."""
        return self.open_bytes(place, row, sealed).decode()

    def seal_bytes(self, place: str, row: UUID, plain: bytes) -> bytes:
        """As `seal`, for bytes."""
        sealed = _encrypt(self._keys[self.current], plain, place.encode() + row.bytes)
        return self._head() + sealed

    def open_bytes(self, place: str, row: UUID, sealed: bytes) -> bytes:
        """As `open`, for bytes."""
        if sealed[:1] != FORMAT or len(sealed) < 5 + NONCE_BYTES + 16:
            raise CannotOpenError(f"{place} of {row} is not a ciphertext of ours")
        key = self._keys.get(int.from_bytes(sealed[1:5], "big"))
        if key is None:
            raise CannotOpenError(f"the key of {place} of {row} is gone")
        try:
            return _decrypt(key, sealed[5:], place.encode() + row.bytes)
        except InvalidTag:
            raise CannotOpenError(f"{place} of {row} was changed, or is another row's") from None

    def index(self, kind: str, value: str) -> bytes:
        """The blind index of a value of a kind (`document`, `phone`)."""
        # A copy has the key in it already, which is half of the work.
        mac = self._keyed.copy()
        mac.update(f"{kind}:{value}".encode())
        return mac.digest()[:INDEX_BYTES]

    @cached_property
    def _keyed(self) -> hmac.HMAC:
        return hmac.new(self.index_key, digestmod=hashlib.sha256)

    def _head(self) -> bytes:
        return FORMAT + self.current.to_bytes(4, "big")

    def _month_name(self, month: int) -> bytes:
        return f"{self.service}|{month}".encode()


_rings: dict[str, Keyring] = {}


def use(ring: Keyring) -> None:
    """Make a ring the one that the sealed columns of its service use in this process."""
    _rings[ring.service] = ring


def ring_of(service: str) -> Keyring:
    """The ring in use for a service."""
    return _rings[service]


class Sealed:
    """An attribute over a `<name>_sealed` column: plain text in Python, ciphertext in the database."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.column = f"{name}_sealed"

    @overload
    def __get__(self, row: None, owner: type) -> Self: ...
    @overload
    def __get__(self, row: object, owner: type) -> str | None: ...
    def __get__(self, row: Any, owner: type) -> Self | str | None:
        if row is None:
            return self
        sealed = getattr(row, self.column)
        return None if sealed is None else self._ring(row).open(self._place(row), row.id, sealed)

    def __set__(self, row: Any, value: str | None) -> None:
        sealed = None if value is None else self._ring(row).seal(self._place(row), row.id, value)
        setattr(row, self.column, sealed)

    def _place(self, row: Any) -> str:
        return f"{row.__tablename__}.{self.name}"

    @staticmethod
    def _ring(row: Any) -> Keyring:
        return _rings[row.metadata.schema]


def _encrypt(key: AESGCM, plain: bytes, bound_to: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, bound_to)


def _decrypt(key: AESGCM, sealed: bytes, bound_to: bytes) -> bytes:
    return key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)


def _read_key(path: Path) -> bytes:
    key = base64.urlsafe_b64decode(path.read_text().strip() + "==")
    if len(key) != 32:
        raise ValueError(f"{path.name} must hold 32 bytes as base64url")
    return key
