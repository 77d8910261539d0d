"""Rules of clients: apps in which people sign in, and machines that sign in without people. Pure functions."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from shared.core.actors import Role

Kind = Literal["app", "machine"]
People = Literal["everyone", "staff", "residents"]
"""Who may sign in through an app."""

MACHINES = Role.MACHINE | Role.DOOR
"""The possible roles of a machine. A turnstile has a door role."""

OVERLAP = timedelta(hours=24)
"""How long the old secret stays valid after a rotation, so that no request fails."""

MOST_SECRETS = 2
MOST_REDIRECTS = 10
LOOPBACK = ("127.0.0.1", "[::1]", "localhost")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,60}")
_REFUSED = frozenset({"javascript", "data", "file", "vbscript", "blob", "about", "ftp", "ws", "wss"})


class Kept(NamedTuple):
    """The hash of a secret, and until when it is valid; None for the newest."""

    hash: str
    until: datetime | None


def valid_hashes(kept: Sequence[Mapping[str, Any]], now: datetime) -> list[bytes]:
    """Return the hashes of the valid secrets."""
    return [bytes.fromhex(one.hash) for one in _read(kept) if one.until is None or now < one.until]


def with_new(kept: Sequence[Mapping[str, Any]], new: bytes, now: datetime) -> list[dict[str, Any]]:
    """Return the stored secrets after adding a new one. The newest old secret stays valid for a day."""
    old = [Kept(one.hash, min(one.until or now + OVERLAP, now + OVERLAP)) for one in _read(kept)]
    still = [one for one in old if one.until and now < one.until][: MOST_SECRETS - 1]
    return [_written(one) for one in (Kept(new.hex(), None), *still)]


def is_redirect(uri: str) -> bool:
    """Whether a redirect URI is safe: https, http on a loopback address, or a private scheme; without fragment.

    Source: RFC 9700, 2.1 and 4.1; RFC 8252, 7.
    """
    try:
        parts = urlsplit(uri)
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    except ValueError:
        return False
    if len(uri) > 500 or not uri.isascii() or not uri.isprintable() or " " in uri or "#" in uri or "\\" in uri:
        return False
    if parts.username is not None or not _SCHEME.fullmatch(parts.scheme) or parts.scheme in _REFUSED:
        return False
    if parts.scheme in ("http", "https"):
        return bool(host) and (parts.scheme == "https" or host in LOOPBACK)
    return "." in parts.scheme


def _read(kept: Sequence[Mapping[str, Any]]) -> list[Kept]:
    untils = (one.get("until") for one in kept)
    return [
        Kept(str(one["hash"]), None if until is None else datetime.fromisoformat(until))
        for one, until in zip(kept, untils, strict=True)
    ]


def _written(one: Kept) -> dict[str, Any]:
    return {"hash": one.hash, "until": None if one.until is None else one.until.isoformat()}
