"""Which addresses the edge passes on. Pure: decides by the path as it is after decoding, the way a service reads it."""

import re
from urllib.parse import quote, unquote_to_bytes

_VERSIONED = re.compile(r"/(?P<service>[a-z]+)/v[0-9]{1,3}(/.*)?")
SAFE = "!$&'()*+,;=:@/~-._"


def upstream_path(path: str, service: str) -> str | None:
    """The path to ask a service for, encoded; None if the edge does not pass it on.

    Only `/testing/v1/…` and its like are passed. A step that is empty, or that means "here" or "up", or holds a
    backslash or a control character, could lead elsewhere, and no address of ours has one.
    """
    match = _VERSIONED.fullmatch(path)
    if match is None or match["service"] != service or not is_plain(path):
        return None
    return quote(path, safe=SAFE)


def is_plain(path: str) -> bool:
    """Whether a path says where it leads without detours. One trailing slash is none."""
    steps = path.removeprefix("/").removesuffix("/").split("/")
    return path == "/" or all(_is_plain(step) for step in steps)


MOST_DECODINGS = 4
"""How often servers on the way may decode a path; one that is still encoded after as many is refused."""


def stays_below(path: bytes) -> bool:
    """Whether a raw path stays below what it is appended to, however often it is decoded on the way.

    For paths of foreign services, which are passed on byte for byte: `%2F` and `//` are theirs to understand.
    """
    for _ in range(MOST_DECODINGS):
        if not all(_is_step(step) for step in path.split(b"/")):
            return False
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return True
        path = decoded
    return False


def _is_step(step: bytes) -> bool:
    name = step.partition(b";")[0].strip()
    return name not in (b".", b"..") and b"\\" not in step and all(byte > 31 and byte != 127 for byte in step)


def _is_plain(step: str) -> bool:
    # Some servers cut parameters off a step before they look at it: `..;x` is `..` to them.
    name = step.partition(";")[0].strip()
    return name not in ("", ".", "..") and "\\" not in step and step.isprintable() and not _hides(step)


def _hides(step: str) -> bool:
    """Whether a step still is encoded, so that one more decoding on the way could make a detour of it."""
    return re.search(r"%(2e|2f|5c|00|25)", step, re.IGNORECASE) is not None
