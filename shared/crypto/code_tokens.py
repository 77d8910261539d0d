"""The text of a health code (FX1): its format, and its verification with public keys.

The gateway creates these texts and verifies its own by a MAC (`services/gateway/tokens/rules.py`). Other services and
devices verify the signature, with this module. `docs/code-token.md` describes the layout byte by byte.
"""

import enum
import struct
from binascii import a2b_base64, b2a_base64, crc_hqx
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.problems import LocalizedText, Problem

PREFIX = "FX1."
MINUTE_SECONDS = 60
LIVE_SECONDS = 120
"""The lifetime of a live code. `issued_at` is rounded down to the minute, so a new code is valid for over a minute."""
SKEW_SECONDS = 30
"""How far the clock of a verifying device may be behind."""
LONGEST = 200
"""The longest accepted text, in characters."""

HEAD = struct.Struct(">4sB16sIBII")
"""Key id, kind, resident, issued, colours, until, last negative."""
MAC_BYTES, SIGNATURE_BYTES, CHECK_BYTES = 11, 64, 2
TAIL_BYTES = MAC_BYTES + SIGNATURE_BYTES + CHECK_BYTES
KEPT_SIGNATURES = 16_384

_TO_STANDARD = bytes.maketrans(b"-_+/", b"+/!!")
"""Converts URL-safe base64 to standard base64. Characters of standard base64 become invalid."""


class Kind(enum.IntEnum):
    """How a code is shown."""

    LIVE = 1
    PROXY = 2


_SIZES: dict[int, int] = {kind: HEAD.size + TAIL_BYTES + (16 if kind is Kind.PROXY else 0) for kind in Kind}

Fault = Literal["malformed", "unknown_key", "forged", "not_yet", "expired"]


class BadToken(ValueError):  # noqa: N818 - a fault of the token, not an error of the program
    """A text is not a currently valid code.

    `malformed`: not a code, or misread. `unknown_key`: the key is not trusted, or no longer. `forged`: the signature is
    not from this key. `not_yet`, `expired`: genuine, but not valid at this time.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault: Fault = fault


class Genuine(NamedTuple):
    """The content of a genuine text. `issued_at` is in Unix seconds, rounded down to the minute."""

    resident_id: UUID
    shown_by: UUID | None
    issued_at: int

    def fault_at(self, instant: datetime, leeway: timedelta = timedelta(0)) -> Literal["not_yet", "expired"] | None:
        """Return why the text is not valid at an instant, or None. `leeway` is the possible error of the clock."""
        age, slack = instant.timestamp() - self.issued_at, leeway.total_seconds()
        if age < -SKEW_SECONDS - slack:
            return "not_yet"
        return "expired" if age >= LIVE_SECONDS + slack else None


def opened(text: str) -> bytes:
    """Decode a complete text of a known kind and verify its checksum. Raises `BadToken`."""
    if not text.startswith(PREFIX) or len(text) > LONGEST:
        raise BadToken("malformed")
    try:
        coded = text[len(PREFIX) :].encode().translate(_TO_STANDARD)
        coded += b"=" * (-len(coded) % 4)
        raw = a2b_base64(coded)
    except ValueError:
        raise BadToken("malformed") from None
    whole = len(raw) > 4 and _SIZES.get(raw[4]) == len(raw)
    if not whole or check_of(raw[:-CHECK_BYTES]) != raw[-CHECK_BYTES:] or b2a_base64(raw, newline=False) != coded:
        raise BadToken("malformed")
    return raw


def check_of(raw: bytes) -> bytes:
    """Return the checksum for the last two bytes: CRC-16 (CCITT, initial value FFFF) over all bytes before them."""
    return crc_hqx(raw, 0xFFFF).to_bytes(CHECK_BYTES, "big")


def id_of(raw: bytes) -> UUID:
    """Build a UUID from its bytes, in a quarter of the time of its constructor."""
    return msgspec.convert(raw.hex(), UUID)


def shown_by_of(body: bytes) -> UUID | None:
    """Return who shows the code if it is a proxy, or None. `body` is the part before the MAC."""
    return id_of(body[HEAD.size :]) if body[4] == Kind.PROXY else None


def genuine(text: str, public_keys: Mapping[bytes, bytes]) -> Genuine:
    """Verify the signature of a text and return its content, regardless of its time. Raises `BadToken`.

    `public_keys` maps the id of each trusted key (4 bytes) to the key (32 bytes).
    """
    raw = opened(text)
    public_key = public_keys.get(raw[:4])
    if public_key is None:
        raise BadToken("unknown_key")
    if not _is_signed(raw, public_key):
        raise BadToken("forged")
    body = raw[:-TAIL_BYTES]
    return Genuine(id_of(body[5:21]), shown_by_of(body), int.from_bytes(body[21:25], "big"))


@lru_cache(maxsize=KEPT_SIGNATURES)
def _is_signed(raw: bytes, public_key: bytes) -> bool:
    """Whether a key has signed these bytes. Cached, because devices repeat scans and a check takes 200 µs."""
    signature = raw[-SIGNATURE_BYTES - CHECK_BYTES : -CHECK_BYTES]
    try:
        _loaded(public_key).verify(signature, raw[: -SIGNATURE_BYTES - CHECK_BYTES])
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=64)
def _loaded(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key)


class CodeMalformed(Problem):
    """The text is not a health code of this system, or it was misread."""

    status = 422
    code = "code_malformed"
    title = LocalizedText(zh="无法识别此码", en="This code cannot be read")
    fix = LocalizedText(zh="请重新扫码", en="Scan it again")


class CodeForged(Problem):
    """No trusted key has signed the code."""

    status = 422
    code = "code_forged"
    title = LocalizedText(
        zh="此码并非由本系统或受信任系统签发", en="This code was not issued by this system or a trusted one"
    )
    fix = LocalizedText(zh="请出示官方页面上的健康码", en="Show the code on the official page")


class CodeExpired(Problem):
    """The code is genuine but too old, for example a picture of it or a page that was left open."""

    status = 422
    code = "code_expired"
    title = LocalizedText(zh="此码已过期", en="This code has expired")
    fix = LocalizedText(zh="请刷新后再出示", en="Refresh it and show it again")


class CodeNotYet(Problem):
    """The code was issued at a time in the future."""

    status = 422
    code = "code_not_yet"
    title = LocalizedText(zh="此码尚未生效", en="This code is not valid yet")
    fix = LocalizedText(zh="请稍候刷新后再出示", en="Wait a moment, refresh it and show it again")


BY_FAULT: dict[Fault, type[Problem]] = {
    "malformed": CodeMalformed,
    "unknown_key": CodeForged,
    "forged": CodeForged,
    "expired": CodeExpired,
    "not_yet": CodeNotYet,
}
