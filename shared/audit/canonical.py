"""What is hashed and signed, byte for byte. Pure, and the whole of the format: `docs/audit.md` says the same in words.

Canonical JSON is RFC 8785 for what occurs here: objects of texts, integers and lists of texts.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

ENTRY_FIELDS = (
    "seq",
    "at",
    "kind",
    "operation",
    "target",
    "actor",
    "role",
    "party",
    "scope",
    "purpose",
    "reason",
    "request_id",
    "subjects",
)
CHAIN = "fangxian-audit-chain-1"
HEAD = "fangxian-audit-head-1"
EXPORT = "fangxian-audit-export-1"


def canonical(value: Any) -> bytes:
    """The one way to write a value down: keys in order, no spaces, UTF-8."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def entry_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as it is hashed and exported."""
    entry = {name: row[name] for name in ENTRY_FIELDS}
    entry["at"] = said(row["at"])
    entry["subjects"] = [str(subject) for subject in row["subjects"]]
    return entry


def said(instant: datetime) -> str:
    """An instant in UTC, always with microseconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def beginning(service: str, day: date) -> bytes:
    """What the first entry of a service's day is chained to."""
    return hashlib.sha256(canonical({"chain": CHAIN, "day": day.isoformat(), "service": service})).digest()


def chained(before: bytes, entry: Mapping[str, Any]) -> bytes:
    """The hash of an entry: SHA-256 over the hash before it and its canonical bytes."""
    return hashlib.sha256(before + canonical(entry)).digest()


def head_of(service: str, day: date, size: int, end: bytes, time: datetime, key: str) -> dict[str, Any]:
    """What is signed of a chain: how long it is, and how it ends."""
    return {
        "format": HEAD,
        "service": service,
        "day": day.isoformat(),
        "size": size,
        "hash": end.hex(),
        "time": said(time),
        "key": key,
    }
