"""Exports of an audit as the tests need them: signed, of any number of entries, and to be tampered with."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.audit.canonical import EXPORT, beginning, canonical, chained, head_of

DAY = date(2021, 1, 21)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {"testing": KEY.public_key().public_bytes_raw()}
Lines = list[dict[str, Any]]


def entry(number: int, **values: Any) -> dict[str, Any]:
    """One entry, as it is exported."""
    return {
        "seq": number + 100,
        "at": f"2021-01-21T01:30:{number:02}.000000Z",
        "kind": "look",
        "operation": "GET /testing/v1/tubes",
        "target": "/testing/v1/tubes",
        "actor": f'staff:{number} 张三 \u0001"\\',
        "role": "sampler",
        "party": "",
        "scope": "350582005",
        "purpose": "",
        "reason": "",
        "request_id": f"req-{number}",
        "subjects": ["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"] * (number % 3),
        **values,
    }


def sign(head: dict[str, Any], key: Ed25519PrivateKey = KEY) -> dict[str, Any]:
    """A head, signed."""
    plain = {name: value for name, value in head.items() if name != "signature"}
    signature = base64.urlsafe_b64encode(key.sign(canonical(plain))).rstrip(b"=").decode()
    return {**plain, "signature": signature}


def lines_of(count: int, change: Callable[[int, dict[str, Any]], dict[str, Any]] = lambda _, one: one) -> Lines:
    """An export of so many entries, chained and signed; `change` makes other entries of them before that."""
    found: Lines = [{"format": EXPORT, "service": "testing", "day": DAY.isoformat()}]
    before = beginning("testing", DAY)
    for number in range(1, count + 1):
        one = change(number, entry(number))
        before = chained(before, one)
        found.append({"position": number, "hash": before.hex(), "entry": one})
    head = head_of("testing", DAY, count, before, datetime(2021, 1, 21, 16, tzinfo=UTC), "testing")
    return [*found, sign(head)]


def written(lines: Lines) -> bytes:
    """The file."""
    return b"".join(canonical(line) + b"\n" for line in lines)


def again(lines: Lines) -> Lines:
    """A copy to be tampered with."""
    found: Lines = json.loads(json.dumps(lines))
    return found
