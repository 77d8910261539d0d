"""The code a person shows: a short signed text for a QR, with a form for online and one for offline checking in it.

    FX1. + base64url of  key id 4 | kind 1 | resident 16 | issued 4 | colours 1 | until 4 | last negative 4
                         | who shows 16 (proxy only) | seal 11 | signature 64 | check 2        (all big-endian)

- *seal*: HMAC-SHA-256 over all before it, cut to 88 bits. The server checks this one only: 4 µs, not 200.
- *signature*: Ed25519 over all before it, the seal included. Devices check it with public keys and no network.
- *check*: CRC-16 over all before it, so that a misread QR is told from a forged one, whichever way it is read.

The bits that one way of checking does not rely on (the signature online) can be changed only by whoever also mends the
check, and mean nothing there. 152 characters fit QR version 8 at level M; a proxy's 174 at level L.

Two kinds. *Live*: issued on the whole minute, good for two. *Proxy*: the same, with who shows it (a guardian for a
child or an elder). Only the server's way of reading is here; `shared/code_tokens.py` reads by the signature.
"""

import hashlib
import hmac
from binascii import b2a_base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.gateway.codes.policy import Colour
from shared.code_tokens import (
    HEAD,
    LIVE_SECONDS,
    MINUTE_SECONDS,
    PREFIX,
    SEAL_BYTES,
    SKEW_SECONDS,
    TAIL_BYTES,
    BadToken,
    Kind,
    check_of,
    id_of,
    opened,
    shown_by_of,
)

_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))

_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True)
class Key:
    """One signing key: 32 secret bytes, of which the signing key, the sealing secret and the public id are made.

    Two are valid at once: a new one is published to the devices before it signs, and the old one is trusted until its
    last code has expired. So a rotation leaves no gap.
    """

    seed: bytes

    def __post_init__(self) -> None:
        if len(self.seed) != 32:
            raise ValueError("a key is made of 32 bytes")

    @cached_property
    def private(self) -> Ed25519PrivateKey:
        """What signs for offline readers."""
        return Ed25519PrivateKey.from_private_bytes(self._derived(b"signature"))

    @cached_property
    def public(self) -> bytes:
        """The 32 bytes that devices are given."""
        return self.private.public_key().public_bytes_raw()

    @cached_property
    def id(self) -> bytes:
        """Four bytes that follow from the public key, so that keys of other regions need no registry of ids."""
        return hashlib.sha256(self.public).digest()[:4]

    @cached_property
    def secret(self) -> bytes:
        """What seals for online readers."""
        return self._derived(b"seal")

    @cached_property
    def receipt_secret(self) -> bytes:
        """What seals receipts: never the secret of codes, so that neither can be passed off as the other."""
        return self._derived(b"receipt")

    def _derived(self, use: bytes) -> bytes:
        return HKDF(SHA256(), 32, salt=None, info=b"fangxian token " + use).derive(self.seed)


class Subject(NamedTuple):
    """Whose code it is and what it says. `until` and `colour_after`: what time alone will make of the colour."""

    resident_id: UUID
    colour: Colour
    until: datetime | None = None
    colour_after: Colour | None = None
    last_negative: datetime | None = None


def issue(subject: Subject, key: Key, now: datetime, *, shown_by: UUID | None = None) -> str:
    """The text to show in this minute. The same state in the same minute is signed once."""
    kind = Kind.LIVE if shown_by is None else Kind.PROXY
    return _signed(_packed(subject, kind, key, now, shown_by), key)


class Whose(NamedTuple):
    """Whose code it is, and who shows it if that is somebody else."""

    resident_id: UUID
    shown_by: UUID | None


def whose_online(text: str, secrets: Mapping[bytes, bytes], now: datetime) -> Whose:
    """Whose code it is, by its seal; raises BadToken. For the door, which asks the rest where it is true."""
    body = _unsealed(text, secrets)
    _check_time(body, now)
    return Whose(id_of(body[5:21]), shown_by_of(body))


def secrets_of(keys: Iterable[Key]) -> dict[bytes, bytes]:
    """What the server reads codes with: the current key and the one before or after it."""
    return {key.id: key.secret for key in keys}


def _packed(subject: Subject, kind: Kind, key: Key, now: datetime, shown_by: UUID | None) -> bytes:
    issued = int(now.timestamp()) // MINUTE_SECONDS * MINUTE_SECONDS
    colours = subject.colour | (subject.colour_after or 0) << 4
    resident = subject.resident_id.bytes
    head = HEAD.pack(key.id, kind, resident, issued, colours, _seconds(subject.until), _seconds(subject.last_negative))
    return head if shown_by is None else head + shown_by.bytes


@lru_cache(maxsize=16_384)
def _signed(body: bytes, key: Key) -> str:
    signed = body + sealed(body, key.secret, SEAL_BYTES)
    raw = signed + key.private.sign(signed)
    return PREFIX + to_text(raw + check_of(raw))


def to_text(raw: bytes) -> str:
    """URL-safe base64 with no padding, without the layers above the one function that makes it."""
    return b2a_base64(raw, newline=False).translate(_TO_URL_SAFE, b"=").decode()


def sealed(body: bytes, secret: bytes, size: int) -> bytes:
    """HMAC-SHA-256 of a body (RFC 2104), cut to a size. Of its two hashes, begun already: half the cost of `hmac`."""
    begun_inner, begun_outer = _begun(secret)
    inner, outer = begun_inner.copy(), begun_outer.copy()
    inner.update(body)
    outer.update(inner.digest())
    return outer.digest()[:size]


@lru_cache(maxsize=64)
def _begun(secret: bytes) -> tuple["hashlib._Hash", "hashlib._Hash"]:
    """The inner and the outer hash of a seal with nothing in it yet. A secret is never longer than a block."""
    block = secret.ljust(64, b"\0")
    return hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))


def _unsealed(text: str, secrets: Mapping[bytes, bytes]) -> bytes:
    """What stands before the seal, if the seal is ours."""
    raw = opened(text)
    secret = secrets.get(raw[:4])
    if secret is None:
        raise BadToken("unknown_key")
    body, seal = raw[:-TAIL_BYTES], raw[-TAIL_BYTES : SEAL_BYTES - TAIL_BYTES]
    if not hmac.compare_digest(sealed(body, secret, SEAL_BYTES), seal):
        raise BadToken("forged")
    return body


def _check_time(body: bytes, now: datetime) -> None:
    age = now.timestamp() - int.from_bytes(body[21:25], "big")
    if age < -SKEW_SECONDS:
        raise BadToken("not_yet")
    if age >= LIVE_SECONDS:
        raise BadToken("expired")


def _seconds(instant: datetime | None) -> int:
    return 0 if instant is None else int(instant.timestamp())
