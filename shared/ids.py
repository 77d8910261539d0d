"""Ids: UUIDv7 (RFC 9562), so that rows made together lie together; and names turned into stable ids."""

import os
import random
import time
from collections.abc import Iterable
from uuid import UUID, uuid5

NAMESPACE = UUID("5b1f6c52-0f0e-5f6b-9d5a-6a1c0f8f7a01")


_RANDOM_BYTES = 10


def new_id() -> UUID:
    """A fresh UUIDv7: 48 bits of Unix milliseconds, then 74 random bits."""
    return new_ids(1)[0]


def new_ids(count: int) -> list[UUID]:
    """Fresh UUIDv7s for rows that are written together."""
    stamp = (time.time_ns() // 1_000_000 & (2**48 - 1)) << 80
    drawn = os.urandom(_RANDOM_BYTES * count)
    return [
        UUID(int=stamp | _versioned(int.from_bytes(drawn[at : at + _RANDOM_BYTES], "big")))
        for at in range(0, len(drawn), _RANDOM_BYTES)
    ]


def _versioned(drawn: int) -> int:
    return drawn & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62


def in_order(ids: Iterable[UUID]) -> list[UUID]:
    """Distinct ids in the one order in which everything locks rows."""
    # By their numbers, which are compared and hashed ten times as fast.
    return [id_ for _, id_ in sorted({id_.int: id_ for id_ in ids}.items())]


def new_name() -> str:
    """The text of a fresh UUIDv7, quickly made: for what is only written down, never for what must not be guessed."""
    stamp = time.time_ns() // 1_000_000
    digits = f"{random.getrandbits(72):018x}"  # tells requests apart, and guards nothing
    return f"{stamp >> 16:08x}-{stamp & 0xFFFF:04x}-7{digits[:3]}-8{digits[3:6]}-{digits[6:]}"


def named_id(kind: str, name: str) -> UUID:
    """The same id for the same name, everywhere and for ever: `named_id("region", "350582005")`."""
    return uuid5(NAMESPACE, f"{kind}:{name}")
