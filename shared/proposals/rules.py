"""Proposals: what is right. Pure."""

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
"""A proposal is decided once. Every pair that is not here is forbidden."""


def state_at(state: State, expires_at: datetime, now: datetime) -> State:
    """The state by the reader's clock: a proposal expires on time, however late whoever writes it down is."""
    return "expired" if state == "proposed" and now >= expires_at else state


def is_same_person(proposed_by: str, decided_by: str) -> bool:
    """Whether somebody would decide what they proposed themselves; the role they act in makes no difference."""
    return proposed_by == decided_by


def hash_of(content: Any) -> str:
    """What exactly is decided, as SHA-256 in hex: of the content as JSON with sorted keys, no spaces, in UTF-8."""
    exactly = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(exactly.encode()).hexdigest()
