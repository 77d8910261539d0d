"""Sunset: the operations that remain available when the emergency is over. Pure."""

import re

STAYS_OPEN = tuple(
    re.compile(f"(?:{pattern})")
    for pattern in (
        # Reading, deciding, and accountability.
        r"/[a-z]+/v1/proposals/.+",
        r"/[a-z]+/v1/retention",
        r"/gateway/v1/sunset",
        r"/registry/v1/residents/search",
        r"/registry/v1/residents/[^/]+/reveal",
        r"/observation/v1/referrals/[^/]+/reveal",
        r"/internal/reveals",
        r"/registry/v1/legal-holds(/.+)?",
        # Erasure of data, and the end of restrictions.
        r"/registry/v1/residents/[^/]+/erasure",
        r"/registry/v1/proxies/[^/]+/end",
        r"/observation/v1/orders/[^/]+/end",
        r"/(registry|testing|gateway)/v1/.+/(cancel|close)",
        # Signing in, and withdrawing rights and keys.
        r"/registry/v1/residents/recognise",
        r"/gateway/v1/sessions/.+",
        r"/gateway/v1/development/.+",
        r"/gateway/v1/accounts/[^/]+/reset",
        r"/gateway/v1/grants(/.+)?",
        r"/gateway/v1/clients/.+",
        r"/gateway/v1/(webhooks|hook-sources)/.+",
    )
)
"""The paths of the writing operations that remain available. All other writing operations collect data and end."""


def stays_open(method: str, path: str) -> bool:
    """Whether an operation remains available when the emergency is over: every read, and the acts listed above."""
    return method in ("GET", "HEAD", "OPTIONS") or any(one.fullmatch(path) for one in STAYS_OPEN)
