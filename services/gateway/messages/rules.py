"""Signing and verifying messages by Standard Webhooks. Pure functions.

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
"""Telephone numbers are larger, so they are not published."""
MOST_REST_BYTES = 32 << 10
"""Maximum size of the fields that are stored but not published, as JSON."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_PERSONAL = re.compile(r"(?<![0-9])(?:1[3-9][0-9]{9}|[0-9]{17}[0-9Xx])(?![0-9])")

TimeFault = Literal["expired", "ahead"]


class Signed(NamedTuple):
    """The headers of a message: its id, the time of sending and the signatures."""

    message_id: str
    sent_at: datetime
    signatures: tuple[str, ...]


def new_secret() -> str:
    """Return a secret of 32 random bytes as text."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers_of(headers: Mapping[str, str]) -> Signed | None:
    """Parse the three headers of a message. None if one is missing or malformed."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    signatures = tuple(headers.get("webhook-signature", "").split())
    if not _ID.fullmatch(message_id) or not _TIMESTAMP.fullmatch(timestamp):
        return None
    if not 0 < len(signatures) <= MOST_SIGNATURES:
        return None
    return Signed(message_id, datetime.fromtimestamp(int(timestamp), UTC), signatures)


def is_signed(signed: Signed, body: str, secret: str) -> bool:
    """Whether one of the signatures is valid for this secret and body."""
    expected = sign(secret, signed.message_id, signed.sent_at, body).encode()
    return any(hmac.compare_digest(expected, given.encode()) for given in signed.signatures)


def time_fault(signed: Signed, now: datetime) -> TimeFault | None:
    """Return whether a message is too old (it may be a replay) or from the future. Five minutes are accepted."""
    if signed.sent_at > now + TOLERANCE:
        return "ahead"
    return "expired" if signed.sent_at < now - TOLERANCE else None


def sign(secret: str, message_id: str, sent_at: datetime, body: str) -> str:
    """Return the signature of a message with one secret: `v1,…`."""
    return Webhook(secret).sign(message_id, sent_at, body)


def sign_all(all_secrets: Iterable[str], message_id: str, sent_at: datetime, body: str) -> dict[str, str]:
    """Return the headers of a message, signed with every valid secret. During a rotation there are several."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": " ".join(sign(secret, message_id, sent_at, body) for secret in all_secrets),
    }


def impersonal(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a message that may be published: known texts and small numbers.

    A system may send names and numbers of people, although its operator was told not to. Messages are published to
    other services, so only fields that are known to be harmless are included. The others are only stored, encrypted.
    """
    return {name: value for name, value in data.items() if _is_impersonal(name, value)}


def _is_impersonal(name: str, value: object) -> bool:
    if isinstance(value, str):
        return name in KNOWN_TEXTS and len(value) <= MOST_TEXT and not _PERSONAL.search(value)
    is_number = value is None or isinstance(value, bool | int | float)
    return is_number and bool(_NAME.fullmatch(name)) and abs(value or 0) < MOST_NUMBER  # type: ignore[arg-type]


class Rest(msgspec.Struct, frozen=True):
    """The fields of a message that are not published, and the names of fields that were too large to store."""

    fields: dict[str, Any] = {}
    left_out: list[str] = []


def rest_of(data: Mapping[str, Any], travels: Mapping[str, Any]) -> Rest:
    """Return the unpublished fields in their order, as many as fit into 32 KiB. Fields that do not fit are skipped."""
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
    """One secret, and until when it is valid; None for the newest."""

    secret: str
    until: datetime | None = None


def valid_secrets(kept: str, now: datetime) -> list[str]:
    """Return the valid secrets, newest first."""
    return [one.secret for one in _secrets(kept) if one.until is None or now < one.until]


def with_new_secret(kept: str | None, now: datetime) -> tuple[str, str]:
    """Return a new secret and the secrets to store. Older ones stay valid for a day, so that no message is lost."""
    new = new_secret()
    old = [Secret(one.secret, min(one.until or now + OVERLAP, now + OVERLAP)) for one in _secrets(kept or "[]")]
    still = [one for one in old if one.until and now < one.until][: MOST_SECRETS - 1]
    return new, msgspec.json.encode([Secret(new), *still]).decode()


def _secrets(kept: str) -> list[Secret]:
    return msgspec.json.decode(kept, type=list[Secret])
