"""Receipts: proof for a few minutes that a person passed a point. The edge checks it in front of a protected service.

    FXR. + base64url of  key id 4 | resident 16 | point 16 | scan 16 | decided 8 | lasts 2 | seal 13   (104 characters)

A receipt is computed from the visit alone, so a repeated scan gets the same receipt. *Decided* is in microseconds,
because a receipt of one second must last a full second. *Lasts* is the lifetime in seconds that the point had then.
"""

import hmac
import struct
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from services.gateway.tokens.rules import Key, mac_of, to_text
from shared.crypto.code_tokens import BadToken

PREFIX = "FXR."
LASTS = timedelta(minutes=10)
"""Default lifetime of a receipt."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_BODY = struct.Struct(">4s16s16s16sQH")
_MAC = 13
_LENGTH = len(PREFIX) + (_BODY.size + _MAC) // 3 * 4


class Receipt(NamedTuple):
    """A visit with the verdict *pass*."""

    resident_id: UUID
    point_id: UUID
    scan_id: UUID
    decided_at: datetime
    lasts_seconds: int = int(LASTS.total_seconds())

    @property
    def expires_at(self) -> datetime:
        """The instant from which the receipt is no longer valid."""
        return self.decided_at + timedelta(seconds=self.lasts_seconds)


def write(receipt: Receipt, key: Key) -> str:
    """Encode a receipt and authenticate it with a key."""
    ids = (receipt.resident_id.bytes, receipt.point_id.bytes, receipt.scan_id.bytes)
    decided = (receipt.decided_at - _BEGINNING) // _MICROSECOND
    body = _BODY.pack(key.id, *ids, decided, receipt.lasts_seconds)
    return PREFIX + to_text(body + mac_of(body, key.receipt_secret, _MAC))


def read(text: str, secrets: Mapping[bytes, bytes], now: datetime) -> Receipt:
    """Decode a receipt. Raises BadToken if it is forged or expired. `secrets` are the receipt secrets by key id."""
    raw = _opened(text)
    body, mac = raw[: _BODY.size], raw[_BODY.size :]
    key_id, resident, point, scan, decided, lasts = _BODY.unpack(body)
    secret = secrets.get(key_id)
    if secret is None:
        raise BadToken("unknown_key")
    if not hmac.compare_digest(mac_of(body, secret, _MAC), mac):
        raise BadToken("forged")
    ids = (UUID(bytes=resident), UUID(bytes=point), UUID(bytes=scan))
    receipt = Receipt(*ids, _BEGINNING + timedelta(microseconds=decided), lasts)
    if now >= receipt.expires_at:
        raise BadToken("expired")
    return receipt


def _opened(text: str) -> bytes:
    if len(text) != _LENGTH or not text.startswith(PREFIX):
        raise BadToken("malformed")
    try:
        raw = urlsafe_b64decode(text[len(PREFIX) :])
    except ValueError:
        raise BadToken("malformed") from None
    if to_text(raw) != text[len(PREFIX) :]:
        raise BadToken("malformed")
    return raw
