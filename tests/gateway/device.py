"""A device that checks codes with no network, as its maker would write it: by the format and the published keys."""

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from services.gateway.codes.policy import Colour
from shared.crypto.code_tokens import BadToken, Kind

HEAD = struct.Struct(">4sB16sIBII")
AFTER = 11 + 64 + 2
"""Bytes of seal, signature and check."""
SIZES = {1: HEAD.size + AFTER, 2: HEAD.size + 16 + AFTER}
GOOD_SECONDS = 120
CLOCK_BEHIND_SECONDS = 30


class Shown(NamedTuple):
    """What a genuine code said."""

    kind: Kind
    resident_id: UUID
    shown_by: UUID | None
    issued_at: datetime
    colour: Colour
    until: datetime | None
    colour_after: Colour | None
    last_negative: datetime | None
    key_id: bytes


def publics_of(raw_keys: Iterable[bytes]) -> dict[bytes, Ed25519PublicKey]:
    """The published 32-byte keys, by the id that follows from each."""
    return {hashlib.sha256(raw).digest()[:4]: Ed25519PublicKey.from_public_bytes(raw) for raw in raw_keys}


def read(text: str, publics: Mapping[bytes, Ed25519PublicKey], now: datetime) -> Shown:
    """What a code says, by its signature; raises BadToken."""
    raw = _bytes_of(text)
    if raw[:4] not in publics:
        raise BadToken("unknown_key")
    try:
        publics[raw[:4]].verify(raw[-66:-2], raw[:-66])
    except InvalidSignature:
        raise BadToken("forged") from None
    key_id, kind, resident, issued, colours, until, negative = HEAD.unpack_from(raw)
    age = now.timestamp() - issued
    if age < -CLOCK_BEHIND_SECONDS:
        raise BadToken("not_yet")
    if age >= GOOD_SECONDS:
        raise BadToken("expired")
    return Shown(
        Kind(kind),
        UUID(bytes=resident),
        UUID(bytes=raw[HEAD.size : HEAD.size + 16]) if kind == Kind.PROXY else None,
        datetime.fromtimestamp(issued, UTC),
        Colour(colours & 15),
        datetime.fromtimestamp(until, UTC) if until else None,
        Colour(colours >> 4) if colours >> 4 else None,
        datetime.fromtimestamp(negative, UTC) if negative else None,
        key_id,
    )


def _bytes_of(text: str) -> bytes:
    coded = re.fullmatch(r"FX1\.([A-Za-z0-9_-]{1,200})", text)
    if coded is None or len(coded[1]) % 4 == 1:
        raise BadToken("malformed")
    raw = base64.urlsafe_b64decode(coded[1] + "=" * (-len(coded[1]) % 4))
    is_whole = len(raw) > 4 and SIZES.get(raw[4]) == len(raw)
    is_canonical = base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == coded[1]
    if not is_whole or not is_canonical or binascii.crc_hqx(raw[:-2], 0xFFFF) != int.from_bytes(raw[-2:], "big"):
        raise BadToken("malformed")
    return raw
