"""Passwords: argon2id (RFC 9106), off the event loop, a few at a time, in fair turns between network addresses."""

import asyncio
from functools import cache, partial

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.gateway.accounts.turns import Turns

AT_ONCE = 2
"""64 MiB and some 50 ms of a core each: a flood of guesses must not take what the door needs."""

MOST_WAITING = 64

_hasher = PasswordHasher()
_turns = Turns(AT_ONCE, MOST_WAITING)


async def hash_of(password: str, account: str) -> str:
    """How a password is kept. Whoever sets one has shown a one-time link, and does not wait behind guesses."""
    return await _turns.take(account, True, partial(asyncio.to_thread, _compute, password, None))


async def is_right(kept: str | None, password: str, *, network: str, device: str | None) -> bool:
    """Whether a password is the one kept; an account without a password takes as long to refuse.

    Network addresses take turns, so that one of them cannot keep the others waiting; a device on which the person has
    signed in before comes first.
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
    """What is verified where there is no password. Made when first needed: it takes a fifth of a second."""
    return _hasher.hash("nobody has this password")
