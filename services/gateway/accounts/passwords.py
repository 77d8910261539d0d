"""Passwords: argon2id (RFC 9106), off the event loop, a few at a time."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.problems import Unavailable

AT_ONCE = 2
"""64 MiB and some 50 ms of a core each: a flood of guesses must not take what the door needs."""

MOST_WAITING = 64

_hasher = PasswordHasher()
_nobodys = _hasher.hash("nobody has this password")
_slots = asyncio.Semaphore(AT_ONCE)
_waiting = 0


async def hash_of(password: str) -> str:
    """How a password is kept."""
    return await _in_turn(password, None)


async def is_right(kept: str | None, password: str) -> bool:
    """Whether a password is the one kept; where there is none it takes as long to say no."""
    return bool(await _in_turn(password, kept or _nobodys)) and kept is not None


async def _in_turn(password: str, kept: str | None) -> str:
    global _waiting
    if _waiting >= MOST_WAITING:
        raise Unavailable()
    _waiting += 1
    try:
        async with _slots:
            return await asyncio.to_thread(_compute, password, kept)
    finally:
        _waiting -= 1


def _compute(password: str, kept: str | None) -> str:
    secret = password.encode("utf-8", "surrogatepass")
    if kept is None:
        return _hasher.hash(secret)
    try:
        return kept if _hasher.verify(kept, secret) else ""
    except (VerificationError, InvalidHashError):
        return ""
