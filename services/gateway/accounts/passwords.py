"""Passwords: argon2id (RFC 9106) in threads, a few at a time, scheduled fairly between network addresses."""

import asyncio
from functools import cache, partial

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.gateway.accounts.turns import Turns

AT_ONCE = 2
"""Each takes 64 MiB and about 50 ms of a core. Many guesses must not take the resources that verifications need."""

MOST_WAITING = 64

_hasher = PasswordHasher()
_turns = Turns(AT_ONCE, MOST_WAITING)


async def hash_of(password: str, account: str) -> str:
    """Hash a new password. It has priority over guesses, because setting one requires a one-time link."""
    return await _turns.take(account, True, partial(asyncio.to_thread, _compute, password, None))


async def is_right(kept: str | None, password: str, *, network: str, device: str | None) -> bool:
    """Whether a password matches the stored hash. The check takes as long for an account without a password.

    Network addresses take turns, so that none can delay the others. A device on which the person signed in before has
    priority.
    """
    compute = partial(asyncio.to_thread, _compute, password, kept or "")
    return bool(await _turns.take(device or network, device is not None, compute)) and kept is not None


def _compute(password: str, kept: str | None) -> str:
    secret = password.encode("utf-8", "surrogatepass")
    if kept is None:
        return _hasher.hash(secret)
    try:
        return kept if _hasher.verify(kept or _of_nobody(), secret) else ""
    except (VerificationError, InvalidHashError):
        return ""


@cache
def _of_nobody() -> str:
    """A hash to verify against when there is no password. Computed on first use, because it takes 0.2 seconds."""
    return _hasher.hash("nobody has this password")
