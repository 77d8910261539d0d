"""Proposals: the rules. Pure."""

import hashlib
import json
from datetime import datetime
from typing import Any, Literal

State = Literal["proposed", "approved", "refused", "withdrawn", "expired"]
Move = Literal["approve", "refuse", "withdraw", "expire"]

MOVES: dict[tuple[State, Move], State] = {
    ("proposed", "approve"): "approved",
    ("proposed", "refuse"): "refused",
    ("proposed", "withdraw"): "withdrawn",
    ("proposed", "expire"): "expired",
}
"""A proposal is decided once. Every pair that is not listed is forbidden."""


def state_at(state: State, expires_at: datetime, now: datetime) -> State:
    """Return the state at a time. A proposal expires on time, even if the expiry is stored later."""
    return "expired" if state == "proposed" and now >= expires_at else state


def is_same_person(proposed_by: str, decided_by: str) -> bool:
    """Whether the proposer is also the decider, regardless of role."""
    return proposed_by == decided_by


def hash_of(content: Any) -> str:
    """Return the SHA-256 of the content in hex: of JSON with sorted keys, no spaces, in UTF-8."""
    canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
