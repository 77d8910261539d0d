"""Encryption of personal data at rest: encrypted columns, keyed blind indexes, and their keys.

Names, document numbers, phones and addresses are stored only as AES-256-GCM ciphertext. A data key belongs to one
service and one month. It is stored in the service's schema, wrapped by the master key. Each rotation adds another key
to the month. Table, column and row id are the associated data, so a ciphertext that was copied to another row cannot be
decrypted. Equality is tested with a blind index: an HMAC-SHA256 under the index key, truncated to 16 bytes. During a
rotation of the index key there are two indexes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, overload
from uuid import UUID

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from shared.crypto import key_files

FORMAT = b"\x01"
HEAD_BYTES = 5
NONCE_BYTES = 12
TAG_BYTES = 16
INDEX_BYTES = 16
ROTATIONS = 1_000
"""The space for ids of a month's data keys: 202101 is the first, 202101001 the second."""

DESTROYED, UNREADABLE = "[destroyed]", "[unreadable]"
"""The text in place of a value whose key is destroyed, or that is damaged."""

Why = Literal["destroyed", "damaged", "unknown_key"]

logger = structlog.get_logger()


class CannotOpenError(Exception):
    """A ciphertext cannot be decrypted: truncated, of another row, or without its key. Never contains the plaintext."""

    def __init__(self, column: str, row: UUID, why: Why) -> None:
        super().__init__(f"{column} of {row}: {why}")
        self.column = column
        self.row = row
        self.why: Why = why


def month_of(instant: datetime) -> int:
    """Return the month of an instant, whose key encrypts: 202101 for January 2021."""
    return instant.year * 100 + instant.month


def next_month(month: int) -> int:
    """Return the next month: 202112 → 202201."""
    return month + 1 if month % 100 < 12 else month + 89


def month_of_key(key_id: int) -> int:
    """Return the month of a data key: 202101001 → 202101."""
    return key_id if key_id < 10**6 else key_id // ROTATIONS


def key_after(key_id: int) -> int:
    """Return the id of the data key that replaces this one: 202101 → 202101001 → 202101002."""
    return key_id + 1 if key_id > 10**6 else key_id * ROTATIONS + 1


class IndexKey(NamedTuple):
    """One version of the index key, and which of a table's two unique columns it uses."""

    id: str
    secret: bytes
    slot: int


class Slots(NamedTuple):
    """The blind indexes of a value under the index keys in use, by column."""

    first: bytes | None = None
    second: bytes | None = None

    @property
    def key(self) -> bytes:
        """The index that sorts and distinguishes rows."""
        index = self.first if self.first is not None else self.second
        assert index is not None
        return index


def index_keys_of(file: Path) -> tuple[IndexKey, ...]:
    """Read the index keys in a file, newest first."""
    return tuple(IndexKey(one.id, one.secret, int(one.jwk.get("slot", 0))) for one in key_files.read(file))


@dataclass
class Keyring:
    """The unwrapped keys of one service. It encrypts, decrypts and computes blind indexes."""

    service: str
    index_keys: tuple[IndexKey, ...]
    current: int = 0
    """The id of the data key that encrypts now."""
    newest: dict[int, int] = field(default_factory=dict)
    """The newest data key of each month, for re-encryption of its old values."""
    destroyed: frozenset[int] = frozenset()
    _keys: dict[int, AESGCM] = field(default_factory=dict)

    def take(self, key_id: int, key: bytes) -> None:
        """Add an unwrapped data key."""
        self._keys[key_id] = AESGCM(key)

    def drop(self, key_ids: Sequence[int]) -> None:
        """Remove destroyed data keys."""
        for key_id in key_ids:
            self._keys.pop(key_id, None)
        self.destroyed |= frozenset(key_ids)

    def has(self, key_id: int) -> bool:
        """Whether a data key is in the ring."""
        return key_id in self._keys

    # Encryption ---------------------------------------------------------------------------------------------------

    def encrypt(self, column: str, row: UUID, plain: str) -> bytes:
        """Encrypt a text. It can be decrypted only for this place (`residents.name`) and row."""
        return self.encrypt_bytes(column, row, plain.encode())

    def encrypt_all(self, column: str, rows: Sequence[UUID], plains: Sequence[str | None]) -> list[bytes | None]:
        """Encrypt a column of many rows, as `seal` does. None stays None."""
        key, bound_to, head = self._keys[self.current], column.encode(), FORMAT + self.current.to_bytes(4, "big")
        # Draw all nonces at once, because a system call for each would cost as much as the encryption.
        nonces = os.urandom(NONCE_BYTES * len(rows))
        drawn = (nonces[at : at + NONCE_BYTES] for at in range(0, len(nonces), NONCE_BYTES))
        return [
            None if plain is None else head + nonce + key.encrypt(nonce, plain.encode(), bound_to + row.bytes)
            for row, plain, nonce in zip(rows, plains, drawn, strict=True)
        ]

    def decrypt(self, column: str, row: UUID, ciphertext: bytes) -> str:
        """Decrypt a text. Raises `CannotOpenError`."""
        return self.decrypt_bytes(column, row, ciphertext).decode()

    def encrypt_bytes(self, column: str, row: UUID, plain: bytes) -> bytes:
        """Encrypt bytes, as `seal` does."""
        return self._encrypt(self.current, column, row, plain)

    def decrypt_bytes(self, column: str, row: UUID, ciphertext: bytes) -> bytes:
        """Decrypt bytes, as `open` does."""
        if ciphertext[:1] != FORMAT or len(ciphertext) < HEAD_BYTES + NONCE_BYTES + TAG_BYTES:
            raise self._cannot(column, row, "damaged")
        key_id = key_id_of(ciphertext)
        key = self._keys.get(key_id)
        if key is None:
            raise self._cannot(column, row, "destroyed" if key_id in self.destroyed else "unknown_key")
        nonce, ciphertext = ciphertext[HEAD_BYTES : HEAD_BYTES + NONCE_BYTES], ciphertext[HEAD_BYTES + NONCE_BYTES :]
        try:
            return key.decrypt(nonce, ciphertext, column.encode() + row.bytes)
        except InvalidTag:
            raise self._cannot(column, row, "damaged") from None

    def decrypt_or_placeholder(self, column: str, row: UUID, ciphertext: bytes) -> str:
        """Decrypt a text, or return a placeholder if that fails, so that one bad row does not break a list."""
        try:
            return self.decrypt(column, row, ciphertext)
        except CannotOpenError as error:
            return DESTROYED if error.why == "destroyed" else UNREADABLE

    def is_old(self, ciphertext: bytes) -> bool:
        """Whether the month of a ciphertext has a newer data key."""
        key_id = key_id_of(ciphertext)
        return self.newest.get(month_of_key(key_id), key_id) != key_id

    def reencrypt(self, column: str, row: UUID, ciphertext: bytes) -> bytes:
        """Re-encrypt with the newest data key of the same month, so that it is destroyed together with this month."""
        plain = self.decrypt_bytes(column, row, ciphertext)
        return self._encrypt(self.newest[month_of_key(key_id_of(ciphertext))], column, row, plain)

    def _encrypt(self, key_id: int, column: str, row: UUID, plain: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        ciphertext = self._keys[key_id].encrypt(nonce, plain, column.encode() + row.bytes)
        return FORMAT + key_id.to_bytes(4, "big") + nonce + ciphertext

    @staticmethod
    def _cannot(column: str, row: UUID, why: Why) -> CannotOpenError:
        if why != "destroyed":
            logger.error("ciphertext.unreadable", place=column, row=str(row), why=why)
        return CannotOpenError(column, row, why)

    # Indexing -----------------------------------------------------------------------------------------------------

    def index(self, kind: str, value: str) -> bytes:
        """Return the blind index of a value of a kind (`document`, `phone`) under the newest index key, for writing."""
        return _index(self.index_keys[0], kind, value)

    def indexes(self, kind: str, value: str) -> list[bytes]:
        """Return the blind indexes under all index keys in use, for lookups."""
        return [_index(key, kind, value) for key in self.index_keys]

    def slots(self, kind: str, value: str) -> Slots:
        """Return the blind indexes by unique column, so that writers under different index keys still conflict."""
        columns: list[bytes | None] = [None, None]
        for key in self.index_keys:
            columns[key.slot] = _index(key, kind, value)
        return Slots(*columns)


def _index(key: IndexKey, kind: str, value: str) -> bytes:
    mac = _keyed(key.secret).copy()  # the copy has already processed the key, which is half of the work
    mac.update(f"{kind}:{value}".encode())
    return mac.finalize()[:INDEX_BYTES]


@lru_cache(maxsize=16)
def _keyed(secret: bytes) -> HMAC:
    return HMAC(secret, SHA256())


def key_id_of(ciphertext: bytes) -> int:
    """Return the id of the data key of a ciphertext."""
    return int.from_bytes(ciphertext[1:HEAD_BYTES], "big")


_rings: dict[str, Keyring] = {}


def use(ring: Keyring) -> None:
    """Set the keyring for the encrypted columns of its service in this process."""
    _rings[ring.service] = ring


class Encrypted:
    """An attribute over a `<name>_sealed` column: plain text in Python, ciphertext in the database."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.column = f"{name}_sealed"
        _declared.append((owner, self))

    @overload
    def __get__(self, row: None, owner: type) -> Self: ...
    @overload
    def __get__(self, row: object, owner: type) -> str | None: ...
    def __get__(self, row: Any, owner: type) -> Self | str | None:
        if row is None:
            return self
        ciphertext = getattr(row, self.column)
        return None if ciphertext is None else self._ring(row).decrypt(self.qualified_name(row), row.id, ciphertext)

    def __set__(self, row: Any, value: str | None) -> None:
        ciphertext = None if value is None else self._ring(row).encrypt(self.qualified_name(row), row.id, value)
        setattr(row, self.column, ciphertext)

    def masked(self, row: object, mask: Callable[[str], str]) -> str | None:
        """Return the masked value of a row, or a placeholder if it cannot be decrypted."""
        try:
            value = self.__get__(row, type(row))
        except CannotOpenError as error:
            return DESTROYED if error.why == "destroyed" else UNREADABLE
        return None if value is None else mask(value)

    def qualified_name(self, row: Any) -> str:
        """Return the name of the column in the associated data. Takes a row or its class."""
        return f"{row.__tablename__}.{self.name}"

    @staticmethod
    def _ring(row: Any) -> Keyring:
        return _rings[row.metadata.schema]


_declared: list[tuple[Any, Encrypted]] = []


def declared(service: str) -> Iterator[tuple[str, str, str]]:
    """Yield all encrypted columns of a service: table, column, place."""
    for owner, attribute in _declared:
        if owner.metadata.schema == service:
            yield owner.__tablename__, attribute.column, attribute.qualified_name(owner)
