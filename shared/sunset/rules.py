"""Sunset: what goes on when the emergency is over. Pure."""

import re

STAYS_OPEN = tuple(
    re.compile(f"(?:{pattern})")
    for pattern in (
        # To look, to decide, and to be accountable.
        r"/[a-z]+/v1/proposals/.+",
        r"/[a-z]+/v1/retention",
        r"/gateway/v1/sunset",
        r"/registry/v1/residents/search",
        r"/registry/v1/residents/[^/]+/reveal",
        r"/observation/v1/referrals/[^/]+/reveal",
        r"/internal/reveals",
        r"/registry/v1/legal-holds(/.+)?",
        # To be forgotten, and to be set free.
        r"/registry/v1/residents/[^/]+/erasure",
        r"/registry/v1/proxies/[^/]+/end",
        r"/observation/v1/orders/[^/]+/end",
        r"/(registry|testing|gateway)/v1/.+/(cancel|close)",
        # To sign in, and to take rights and keys away.
        r"/registry/v1/residents/recognise",
        r"/gateway/v1/sessions/.+",
        r"/gateway/v1/development/.+",
        r"/gateway/v1/accounts/[^/]+/reset",
        r"/gateway/v1/grants(/.+)?",
        r"/gateway/v1/clients/.+",
        r"/gateway/v1/(webhooks|hook-sources)/.+",
    )
)
"""The operations that write and stay open, by their paths. All others collect, and end."""


def stays_open(method: str, path: str) -> bool:
    """Whether an operation goes on when the emergency is over: every look does, and the few acts above."""
    return method in ("GET", "HEAD", "OPTIONS") or any(one.fullmatch(path) for one in STAYS_OPEN)
