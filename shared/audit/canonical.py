"""The exact bytes that are hashed and signed. Pure. `docs/audit.md` describes the same format in words.

Canonical JSON follows RFC 8785 for the values that occur here: objects of strings, integers and lists of strings.
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
    """Serialize a value canonically: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def entry_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Build the form of an entry that is hashed and exported."""
    entry = {name: row[name] for name in ENTRY_FIELDS}
    entry["at"] = timestamp(row["at"])
    entry["subjects"] = [str(subject) for subject in row["subjects"]]
    return entry


def timestamp(instant: datetime) -> str:
    """Format an instant in UTC, always with microseconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def beginning(service: str, day: date) -> bytes:
    """Return the initial hash of a service's day, to which the first entry is chained."""
    return hashlib.sha256(canonical({"chain": CHAIN, "day": day.isoformat(), "service": service})).digest()


def chained(before: bytes, entry: Mapping[str, Any]) -> bytes:
    """Return the hash of an entry: SHA-256 over the previous hash and its canonical bytes."""
    return hashlib.sha256(before + canonical(entry)).digest()


def head_of(service: str, day: date, size: int, end: bytes, time: datetime, key: str) -> dict[str, Any]:
    """Build the signed content of a chain's head: its length and its last hash."""
    return {
        "format": HEAD,
        "service": service,
        "day": day.isoformat(),
        "size": size,
        "hash": end.hex(),
        "time": timestamp(time),
        "key": key,
    }
