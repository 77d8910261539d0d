"""Ids: UUIDv7 (RFC 9562), so that rows written together are adjacent in indexes; and stable ids made from names."""

import os
import random
import time
from collections.abc import Iterable
from uuid import UUID, uuid5

NAMESPACE = UUID("5b1f6c52-0f0e-5f6b-9d5a-6a1c0f8f7a01")


_RANDOM_BYTES = 10


def new_id() -> UUID:
    """Create a UUIDv7: 48 bits of Unix milliseconds, then 74 random bits."""
    return new_ids(1)[0]


def new_ids(count: int) -> list[UUID]:
    """Create sorted UUIDv7s for rows that are written together, so that each is appended in an index."""
    stamp = (time.time_ns() // 1_000_000 & (2**48 - 1)) << 80
    drawn = os.urandom(_RANDOM_BYTES * count)
    versioned = (_versioned(drawn[at : at + _RANDOM_BYTES]) for at in range(0, len(drawn), _RANDOM_BYTES))
    return [UUID(int=stamp | low) for low in sorted(versioned)]


def _versioned(drawn: bytes) -> int:
    return int.from_bytes(drawn, "big") & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62


def in_order(ids: Iterable[UUID]) -> list[UUID]:
    """Return distinct ids in the order in which all code locks rows."""
    # Sort them as integers, which are compared and hashed ten times as fast.
    return [id_ for _, id_ in sorted({id_.int: id_ for id_ in ids}.items())]


def new_name() -> str:
    """Create the text of a UUIDv7 quickly, for request ids. It is predictable, so do not use it as a secret."""
    stamp = time.time_ns() // 1_000_000
    digits = f"{random.getrandbits(72):018x}"  # only distinguishes requests
    return f"{stamp >> 16:08x}-{stamp & 0xFFFF:04x}-7{digits[:3]}-8{digits[3:6]}-{digits[6:]}"


def named_id(kind: str, name: str) -> UUID:
    """Return the stable id of a name, the same in every installation: `named_id("region", "350582005")`."""
    return uuid5(NAMESPACE, f"{kind}:{name}")
