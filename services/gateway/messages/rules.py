"""Standard Webhooks, as senders sign and receivers check. Pure.

Source: the specification 1.0 of standardwebhooks.com: `v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`.
"""

import base64
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec
from standardwebhooks import Webhook

TOLERANCE = timedelta(minutes=5)
PREFIX = "whsec_"
SECRET_BYTES = 32
MOST_SIGNATURES = 10
MOST_SECRETS = 3
OVERLAP = timedelta(hours=24)

_ID = re.compile(r"[\x21-\x7e]{1,200}")
_TIMESTAMP = re.compile(r"[0-9]{1,11}")

KNOWN_TEXTS = frozenset({"referral_id", "region", "hospital"})
MOST_TEXT = 100
MOST_NAMES = 50
MOST_NUMBER = 10**9
"""A telephone number is longer."""
MOST_REST_BYTES = 32 << 10
"""What is kept of a message beside what travels, as JSON."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_PERSONAL = re.compile(r"(?<![0-9])(?:1[3-9][0-9]{9}|[0-9]{17}[0-9Xx])(?![0-9])")

TimeFault = Literal["expired", "ahead"]


class Signed(NamedTuple):
    """What the headers of a message say: its id, when it was sent, and its signatures."""

    message_id: str
    sent_at: datetime
    signatures: tuple[str, ...]


def new_secret() -> str:
    """A secret of 32 random bytes, as both sides keep it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers_of(headers: Mapping[str, str]) -> Signed | None:
    """The three headers of a message; None if one is missing or not as specified."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    signatures = tuple(headers.get("webhook-signature", "").split())
    if not _ID.fullmatch(message_id) or not _TIMESTAMP.fullmatch(timestamp):
        return None
    if not 0 < len(signatures) <= MOST_SIGNATURES:
        return None
    return Signed(message_id, datetime.fromtimestamp(int(timestamp), UTC), signatures)


def is_signed(signed: Signed, body: str, secret: str) -> bool:
    """Whether one of the signatures is of this secret, for exactly this body."""
    expected = sign(secret, signed.message_id, signed.sent_at, body).encode()
    return any(hmac.compare_digest(expected, given.encode()) for given in signed.signatures)


def time_fault(signed: Signed, now: datetime) -> TimeFault | None:
    """What is wrong with when a message was sent: an old one may be a recording. Five minutes either way are taken."""
    if signed.sent_at > now + TOLERANCE:
        return "ahead"
    return "expired" if signed.sent_at < now - TOLERANCE else None


def sign(secret: str, message_id: str, sent_at: datetime, body: str) -> str:
    """The signature of a message under one secret: `v1,…`."""
    return Webhook(secret).sign(message_id, sent_at, body)


def sign_all(all_secrets: Iterable[str], message_id: str, sent_at: datetime, body: str) -> dict[str, str]:
    """The headers of a message, signed under every secret that is valid while they are changed."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": " ".join(sign(secret, message_id, sent_at, body) for secret in all_secrets),
    }


def impersonal(data: Mapping[str, Any]) -> dict[str, Any]:
    """What of a message may travel: the texts we know by name, and small numbers.

    Another system may send people's names and numbers, although it was told not to. A message is published and passed
    on, so only what is known to be harmless travels with it. The rest stays here, encrypted.
    """
    return {name: value for name, value in data.items() if _is_impersonal(name, value)}


def _is_impersonal(name: str, value: object) -> bool:
    if isinstance(value, str):
        return name in KNOWN_TEXTS and len(value) <= MOST_TEXT and not _PERSONAL.search(value)
    is_number = value is None or isinstance(value, bool | int | float)
    return is_number and bool(_NAME.fullmatch(name)) and abs(value or 0) < MOST_NUMBER  # type: ignore[arg-type]


class Rest(msgspec.Struct, frozen=True):
    """What a message holds beside what travels, and the names of the fields that were too large to be kept."""

    fields: dict[str, Any] = {}
    left_out: list[str] = []


def rest_of(data: Mapping[str, Any], travels: Mapping[str, Any]) -> Rest:
    """The other fields of a message in their order, as many as fit into 32 KiB. One too large stops no other."""
    fields: dict[str, Any] = {}
    left_out: list[str] = []
    room = MOST_REST_BYTES
    for name, value in data.items():
        if name in travels:
            continue
        size = len(msgspec.json.encode({name: value}))
        if size <= room:
            fields[name] = value
            room -= size
        elif len(left_out) < MOST_NAMES:
            left_out.append(name[:MOST_TEXT])
    return Rest(fields, left_out)


class Secret(msgspec.Struct, frozen=True):
    """One secret, and until when the other side may still use it; None for the newest."""

    secret: str
    until: datetime | None = None


def valid_secrets(kept: str, now: datetime) -> list[str]:
    """The secrets in use, the newest first."""
    return [one.secret for one in _secrets(kept) if one.until is None or now < one.until]


def with_new_secret(kept: str | None, now: datetime) -> tuple[str, str]:
    """A new secret, and all that are to be kept: those before it stay valid for a day, so that no message is lost."""
    new = new_secret()
    old = [Secret(one.secret, min(one.until or now + OVERLAP, now + OVERLAP)) for one in _secrets(kept or "[]")]
    still = [one for one in old if one.until and now < one.until][: MOST_SECRETS - 1]
    return new, msgspec.json.encode([Secret(new), *still]).decode()


def _secrets(kept: str) -> list[Secret]:
    return msgspec.json.decode(kept, type=list[Secret])
