"""The token in a person's QR code: a short signed text that can be verified online and offline.

    FX1. + base64url of  key id 4 | kind 1 | resident 16 | issued 4 | colours 1 | until 4 | last negative 4
                         | who shows 16 (proxy only) | seal 11 | signature 64 | check 2        (all big-endian)

- *seal*: HMAC-SHA-256 over everything before it, cut to 88 bits. The server verifies only the seal: 4 µs instead of
  200 µs for the signature.
- *signature*: Ed25519 over everything before it, with the seal. Devices verify it with public keys, without network.
- *check*: CRC-16 over everything before it. It distinguishes a misread QR code from a forged one, online and offline.

Online, the signature is not verified. Somebody who changes it must also correct the check, and gains nothing. 152
characters fit QR version 8 at level M; the 174 of a proxy fit at level L.

There are two kinds. *Live*: issued on the whole minute, valid for two minutes. *Proxy*: the same, with the person who
shows it (a guardian for a child or an elder). This module verifies the seal; `shared/crypto/code_tokens.py` the
signature.
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
from shared.crypto.code_tokens import (
    HEAD,
    LIVE_SECONDS,
    MAC_BYTES,
    MINUTE_SECONDS,
    PREFIX,
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
    """One key: 32 secret bytes, from which the signing key, the HMAC secrets and the public id are derived.

    During a rotation two keys are valid: the new key is published to devices before it signs, and the old one is
    trusted until its last code has expired.
    """

    seed: bytes

    def __post_init__(self) -> None:
        if len(self.seed) != 32:
            raise ValueError("a key must have 32 bytes")

    @cached_property
    def private(self) -> Ed25519PrivateKey:
        """The Ed25519 key that signs for offline devices."""
        return Ed25519PrivateKey.from_private_bytes(self._derived(b"signature"))

    @cached_property
    def public(self) -> bytes:
        """The 32 bytes of the public key, for devices."""
        return self.private.public_key().public_bytes_raw()

    @cached_property
    def id(self) -> bytes:
        """Four bytes derived from the public key, so that regions need no common registry of key ids."""
        return hashlib.sha256(self.public).digest()[:4]

    @cached_property
    def secret(self) -> bytes:
        """The HMAC secret of codes, verified online."""
        return self._derived(b"seal")

    @cached_property
    def receipt_secret(self) -> bytes:
        """The HMAC secret of receipts. It differs from that of codes, so that neither can be used as the other."""
        return self._derived(b"receipt")

    def _derived(self, use: bytes) -> bytes:
        return HKDF(SHA256(), 32, salt=None, info=b"fangxian token " + use).derive(self.seed)


class Subject(NamedTuple):
    """The content of a token. `until` and `colour_after` say how the colour changes by time alone."""

    resident_id: UUID
    colour: Colour
    until: datetime | None = None
    colour_after: Colour | None = None
    last_negative: datetime | None = None


def issue(subject: Subject, key: Key, now: datetime, *, shown_by: UUID | None = None) -> str:
    """Return the token of this minute. Signing is cached: the same content in the same minute is signed once."""
    kind = Kind.LIVE if shown_by is None else Kind.PROXY
    return _signed(_packed(subject, kind, key, now, shown_by), key)


class Whose(NamedTuple):
    """The person of a code, and the guardian who shows it, if any."""

    resident_id: UUID
    shown_by: UUID | None


def whose_online(text: str, secrets: Mapping[bytes, bytes], now: datetime) -> Whose:
    """Return whose code it is, after verifying the seal. Raises BadToken.

    The colour in the token is not used online, because the database has the current one.
    """
    body = _authenticated(text, secrets)
    _check_time(body, now)
    return Whose(id_of(body[5:21]), shown_by_of(body))


def secrets_of(keys: Iterable[Key]) -> dict[bytes, bytes]:
    """The HMAC secrets by key id, with which the server verifies codes."""
    return {key.id: key.secret for key in keys}


def _packed(subject: Subject, kind: Kind, key: Key, now: datetime, shown_by: UUID | None) -> bytes:
    issued = int(now.timestamp()) // MINUTE_SECONDS * MINUTE_SECONDS
    colours = subject.colour | (subject.colour_after or 0) << 4
    resident = subject.resident_id.bytes
    head = HEAD.pack(key.id, kind, resident, issued, colours, _seconds(subject.until), _seconds(subject.last_negative))
    return head if shown_by is None else head + shown_by.bytes


@lru_cache(maxsize=16_384)
def _signed(body: bytes, key: Key) -> str:
    signed = body + mac_of(body, key.secret, MAC_BYTES)
    raw = signed + key.private.sign(signed)
    return PREFIX + to_text(raw + check_of(raw))


def to_text(raw: bytes) -> str:
    """Encode as URL-safe base64 without padding. Calls binascii directly, because this is on the fast path."""
    return b2a_base64(raw, newline=False).translate(_TO_URL_SAFE, b"=").decode()


def mac_of(body: bytes, secret: bytes, size: int) -> bytes:
    """Return HMAC-SHA-256 of a body (RFC 2104), cut to a size.

    The two inner hash states are cached, which halves the cost compared with `hmac`.
    """
    begun_inner, begun_outer = _begun(secret)
    inner, outer = begun_inner.copy(), begun_outer.copy()
    inner.update(body)
    outer.update(inner.digest())
    return outer.digest()[:size]


@lru_cache(maxsize=64)
def _begun(secret: bytes) -> tuple["hashlib._Hash", "hashlib._Hash"]:
    """The inner and outer hash states of an HMAC after the key. A secret is never longer than a block."""
    block = secret.ljust(64, b"\0")
    return hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))


def _authenticated(text: str, secrets: Mapping[bytes, bytes]) -> bytes:
    """Return the bytes before the seal, if the seal is valid. Raises BadToken."""
    raw = opened(text)
    secret = secrets.get(raw[:4])
    if secret is None:
        raise BadToken("unknown_key")
    body, mac = raw[:-TAIL_BYTES], raw[-TAIL_BYTES : MAC_BYTES - TAIL_BYTES]
    if not hmac.compare_digest(mac_of(body, secret, MAC_BYTES), mac):
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
