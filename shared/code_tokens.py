"""The text of a health code (FX1): its format, and how it is read by its signature, with public keys and no secret.

The gateway makes these texts and reads them by their seal (`services/gateway/tokens/rules.py`). Other services and
devices read them by their signature, as here. `docs/code-token.md` has the layout byte by byte.
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

from shared.problems import Problem, Text

PREFIX = "FX1."
MINUTE_SECONDS = 60
LIVE_SECONDS = 120
"""A live code is issued on the minute it is shown in, so it is at least one minute from its end when it is drawn."""
SKEW_SECONDS = 30
"""How far the clock of a checking device may be behind."""
LONGEST = 200
"""Characters; a longer text is not looked at."""

HEAD = struct.Struct(">4sB16sIBII")
"""Key id, kind, resident, issued, colours, until, last negative."""
SEAL_BYTES, SIGNATURE_BYTES, CHECK_BYTES = 11, 64, 2
TAIL_BYTES = SEAL_BYTES + SIGNATURE_BYTES + CHECK_BYTES
KEPT_SIGNATURES = 16_384

_TO_STANDARD = bytes.maketrans(b"-_+/", b"+/!!")
"""Makes URL-safe base64 ordinary, and what is not URL-safe no base64 at all."""


class Kind(enum.IntEnum):
    """How a code is shown."""

    LIVE = 1
    PROXY = 2


_SIZES: dict[int, int] = {kind: HEAD.size + TAIL_BYTES + (16 if kind is Kind.PROXY else 0) for kind in Kind}

Fault = Literal["malformed", "unknown_key", "forged", "not_yet", "expired"]


class BadToken(ValueError):  # noqa: N818 - it is a token that is bad, not an error of ours
    """A text that is no valid code now, and why.

    `malformed`: not a code, or misread. `unknown_key`: signed by a key that is not (or no longer) trusted. `forged`:
    not signed by that key. `not_yet`, `expired`: genuine, but of another time.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault: Fault = fault


class Genuine(NamedTuple):
    """What a genuine text says of its person. `issued_at` is in seconds since 1970, on the minute."""

    resident_id: UUID
    shown_by: UUID | None
    issued_at: int

    def fault_at(self, instant: datetime, leeway: timedelta = timedelta(0)) -> Literal["not_yet", "expired"] | None:
        """Whether the text was of another time at that instant, by a clock that may be wrong by `leeway`."""
        age, slack = instant.timestamp() - self.issued_at, leeway.total_seconds()
        if age < -SKEW_SECONDS - slack:
            return "not_yet"
        return "expired" if age >= LIVE_SECONDS + slack else None


def opened(text: str) -> bytes:
    """The bytes of a text that is whole, of a known kind and read without a slip. Raises `BadToken`."""
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
    """The last two bytes: CRC-16 (CCITT, beginning with FFFF) over all before them."""
    return crc_hqx(raw, 0xFFFF).to_bytes(CHECK_BYTES, "big")


def id_of(raw: bytes) -> UUID:
    """A UUID of its bytes, at a quarter of what its own constructor takes."""
    return msgspec.convert(raw.hex(), UUID)


def shown_by_of(body: bytes) -> UUID | None:
    """Who shows the code, of what stands before the seal, if that is not its person."""
    return id_of(body[HEAD.size :]) if body[4] == Kind.PROXY else None


def genuine(text: str, public_keys: Mapping[bytes, bytes]) -> Genuine:
    """What a text says that one of these keys has signed, whatever its time. Raises `BadToken`.

    `public_keys` are the 32 bytes of each trusted key, by its id of four bytes.
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
    """Whether a key has signed these bytes. A device repeats what it is not sure of, and a check takes 200 µs."""
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
    """The text is not a code of ours, or was misread."""

    status = 422
    code = "code_malformed"
    title = Text(zh="无法识别此码", en="This code cannot be read")
    fix = Text(zh="请重新扫码", en="Scan it again")


class CodeForged(Problem):
    """The code was not signed by any key that is trusted here."""

    status = 422
    code = "code_forged"
    title = Text(zh="此码不是本系统签发的", en="This code was not issued by this system or a trusted one")
    fix = Text(zh="请出示官方页面上的健康码", en="Show the code on the official page")


class CodeExpired(Problem):
    """The code was genuine, and is too old: a picture of it, or a page left open."""

    status = 422
    code = "code_expired"
    title = Text(zh="此码已过期", en="This code has expired")
    fix = Text(zh="请刷新后再出示", en="Refresh it and show it again")


class CodeNotYet(Problem):
    """The code is of a minute that has not come."""

    status = 422
    code = "code_not_yet"
    title = Text(zh="此码尚未生效", en="This code is not valid yet")
    fix = Text(zh="请稍候刷新后再出示", en="Wait a moment, refresh it and show it again")


BY_FAULT: dict[Fault, type[Problem]] = {
    "malformed": CodeMalformed,
    "unknown_key": CodeForged,
    "forged": CodeForged,
    "expired": CodeExpired,
    "not_yet": CodeNotYet,
}
