"""Personal data at rest: sealed columns, keyed blind indexes, and the keys behind them.

Names, document numbers, phones and addresses are stored only as AES-256-GCM ciphertext. A data key belongs to one
service and one month and lies in the service's schema, wrapped by the master key; a month has another one whenever its
key is rotated. The row's identity (table, column, id) is the associated data: a ciphertext copied to another row does
not open. Equality is looked up by a blind index, an HMAC-SHA256 under the index key, cut to 16 bytes; while the index
key is rotated there are two.
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

from shared import key_files

FORMAT = b"\x01"
HEAD_BYTES = 5
NONCE_BYTES = 12
TAG_BYTES = 16
INDEX_BYTES = 16
ROTATIONS = 1_000
"""Ids of data keys: 202101 for a month's first, 202101001 for its second."""

DESTROYED, UNREADABLE = "[destroyed]", "[unreadable]"
"""What is shown in place of a value that is gone, or damaged."""

Why = Literal["destroyed", "damaged", "unknown_key"]

logger = structlog.get_logger()


class CannotOpenError(Exception):
    """A ciphertext is cut short, is another row's, or its key is gone. Never says what was inside."""

    def __init__(self, place: str, row: UUID, why: Why) -> None:
        super().__init__(f"{place} of {row}: {why}")
        self.place = place
        self.row = row
        self.why: Why = why


def month_of(instant: datetime) -> int:
    """The month that seals at an instant: 202101 for January 2021."""
    return instant.year * 100 + instant.month


def next_month(month: int) -> int:
    """The month after: 202112 → 202201."""
    return month + 1 if month % 100 < 12 else month + 89


def month_of_key(key_id: int) -> int:
    """The month of a data key: 202101001 → 202101."""
    return key_id if key_id < 10**6 else key_id // ROTATIONS


def key_after(key_id: int) -> int:
    """The id of the data key that takes the place of one: 202101 → 202101001 → 202101002."""
    return key_id + 1 if key_id > 10**6 else key_id * ROTATIONS + 1


class IndexKey(NamedTuple):
    """One version of the index key, and which of a table's two unique columns is its own."""

    id: str
    secret: bytes
    slot: int


class Slots(NamedTuple):
    """A blind index under the index keys in use, by the column it belongs in."""

    first: bytes | None = None
    second: bytes | None = None

    @property
    def key(self) -> bytes:
        """What rows are sorted by and told apart."""
        found = self.first if self.first is not None else self.second
        assert found is not None
        return found


def index_keys_of(file: Path) -> tuple[IndexKey, ...]:
    """The index keys in a file, the newest first."""
    return tuple(IndexKey(one.id, one.secret, int(one.jwk.get("slot", 0))) for one in key_files.read(file))


@dataclass
class Keyring:
    """The keys of one service, opened: seals, opens and indexes."""

    service: str
    index_keys: tuple[IndexKey, ...]
    current: int = 0
    """The data key that seals now."""
    newest: dict[int, int] = field(default_factory=dict)
    """The data key of each month that its old values are sealed again with."""
    destroyed: frozenset[int] = frozenset()
    _keys: dict[int, AESGCM] = field(default_factory=dict)

    def take(self, key_id: int, key: bytes) -> None:
        """Take an opened data key into the ring."""
        self._keys[key_id] = AESGCM(key)

    def drop(self, key_ids: Sequence[int]) -> None:
        """Forget destroyed data keys."""
        for key_id in key_ids:
            self._keys.pop(key_id, None)
        self.destroyed |= frozenset(key_ids)

    def has(self, key_id: int) -> bool:
        """Whether a data key is in the ring."""
        return key_id in self._keys

    # Sealing ------------------------------------------------------------------------------------------------------

    def seal(self, place: str, row: UUID, plain: str) -> bytes:
        """Ciphertext of a text that opens only for this place (`residents.name`) and row."""
        return self.seal_bytes(place, row, plain.encode())

    def seal_all(self, place: str, rows: Sequence[UUID], plains: Sequence[str | None]) -> list[bytes | None]:
        """As `seal`, for the column of many rows; what is None stays None."""
        key, bound_to, head = self._keys[self.current], place.encode(), FORMAT + self.current.to_bytes(4, "big")
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
        return self._seal(self.current, place, row, plain)

    def open_bytes(self, place: str, row: UUID, sealed: bytes) -> bytes:
        """As `open`, for bytes."""
        if sealed[:1] != FORMAT or len(sealed) < HEAD_BYTES + NONCE_BYTES + TAG_BYTES:
            raise self._cannot(place, row, "damaged")
        key_id = key_id_of(sealed)
        key = self._keys.get(key_id)
        if key is None:
            raise self._cannot(place, row, "destroyed" if key_id in self.destroyed else "unknown_key")
        nonce, ciphertext = sealed[HEAD_BYTES : HEAD_BYTES + NONCE_BYTES], sealed[HEAD_BYTES + NONCE_BYTES :]
        try:
            return key.decrypt(nonce, ciphertext, place.encode() + row.bytes)
        except InvalidTag:
            raise self._cannot(place, row, "damaged") from None

    def say(self, place: str, row: UUID, sealed: bytes) -> str:
        """The text, or a word in its place where it is gone or damaged: for lists that one row must not spoil."""
        try:
            return self.open(place, row, sealed)
        except CannotOpenError as error:
            return DESTROYED if error.why == "destroyed" else UNREADABLE

    def is_old(self, sealed: bytes) -> bool:
        """Whether a ciphertext's month has a newer data key."""
        key_id = key_id_of(sealed)
        return self.newest.get(month_of_key(key_id), key_id) != key_id

    def seal_again(self, place: str, row: UUID, sealed: bytes) -> bytes:
        """A ciphertext under the newest data key of its own month, so that it ends with it."""
        plain = self.open_bytes(place, row, sealed)
        return self._seal(self.newest[month_of_key(key_id_of(sealed))], place, row, plain)

    def _seal(self, key_id: int, place: str, row: UUID, plain: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._keys[key_id].encrypt(nonce, plain, place.encode() + row.bytes)
        return FORMAT + key_id.to_bytes(4, "big") + nonce + sealed

    @staticmethod
    def _cannot(place: str, row: UUID, why: Why) -> CannotOpenError:
        if why != "destroyed":
            logger.error("sealed.unreadable", place=place, row=str(row), why=why)
        return CannotOpenError(place, row, why)

    # Indexing -----------------------------------------------------------------------------------------------------

    def index(self, kind: str, value: str) -> bytes:
        """The blind index of a value of a kind (`document`, `phone`) under the newest index key: what is written."""
        return _index(self.index_keys[0], kind, value)

    def indexes(self, kind: str, value: str) -> list[bytes]:
        """Its blind indexes under all index keys in use: what is looked for."""
        return [_index(key, kind, value) for key in self.index_keys]

    def slots(self, kind: str, value: str) -> Slots:
        """Its blind indexes by unique column: whoever writes one of both is met by whoever writes the other."""
        found: list[bytes | None] = [None, None]
        for key in self.index_keys:
            found[key.slot] = _index(key, kind, value)
        return Slots(*found)


def _index(key: IndexKey, kind: str, value: str) -> bytes:
    mac = _keyed(key.secret).copy()  # which has the key in it already, half of the work
    mac.update(f"{kind}:{value}".encode())
    return mac.finalize()[:INDEX_BYTES]


@lru_cache(maxsize=16)
def _keyed(secret: bytes) -> HMAC:
    return HMAC(secret, SHA256())


def key_id_of(sealed: bytes) -> int:
    """The id of the data key a ciphertext was made with."""
    return int.from_bytes(sealed[1:HEAD_BYTES], "big")


_rings: dict[str, Keyring] = {}


def use(ring: Keyring) -> None:
    """Make a ring the one that the sealed columns of its service use in this process."""
    _rings[ring.service] = ring


class Sealed:
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
        sealed = getattr(row, self.column)
        return None if sealed is None else self._ring(row).open(self.place(row), row.id, sealed)

    def __set__(self, row: Any, value: str | None) -> None:
        sealed = None if value is None else self._ring(row).seal(self.place(row), row.id, value)
        setattr(row, self.column, sealed)

    def masked(self, row: object, mask: Callable[[str], str]) -> str | None:
        """The value of a row behind its mask; a word in its place where it is gone or damaged."""
        try:
            value = self.__get__(row, type(row))
        except CannotOpenError as error:
            return DESTROYED if error.why == "destroyed" else UNREADABLE
        return None if value is None else mask(value)

    def place(self, row: Any) -> str:
        """Which column this is, as ciphertexts are bound to it. Takes a row or its class."""
        return f"{row.__tablename__}.{self.name}"

    @staticmethod
    def _ring(row: Any) -> Keyring:
        return _rings[row.metadata.schema]


_declared: list[tuple[Any, Sealed]] = []


def declared(service: str) -> Iterator[tuple[str, str, str]]:
    """All sealed columns of a service: table, column, place."""
    for owner, sealed in _declared:
        if owner.metadata.schema == service:
            yield owner.__tablename__, sealed.column, sealed.place(owner)
