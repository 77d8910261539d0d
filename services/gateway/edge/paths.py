"""Which paths the edge forwards. Pure functions. They use the decoded path, because services do so too."""

import re
from urllib.parse import quote, unquote_to_bytes

_VERSIONED = re.compile(r"/(?P<service>[a-z]+)/v[0-9]{1,3}(/.*)?")
SAFE = "!$&'()*+,;=:@/~-._"


def upstream_path(path: str, service: str) -> str | None:
    """Return the encoded path for a service; None if the edge does not forward it.

    Only versioned paths such as `/testing/v1/…` are forwarded. Empty and dot segments, backslashes and control
    characters are refused, because they could lead to another path and no route contains them.
    """
    match = _VERSIONED.fullmatch(path)
    if match is None or match["service"] != service or not is_plain(path):
        return None
    return quote(path, safe=SAFE)


def is_plain(path: str) -> bool:
    """Whether a path has no empty, dot or encoded segments. One trailing slash is allowed."""
    steps = path.removeprefix("/").removesuffix("/").split("/")
    return path == "/" or all(_is_plain(step) for step in steps)


MOST_DECODINGS = 4
"""How often servers on the way may decode a path. A path that is still encoded after that is refused."""


def stays_below(path: bytes) -> bool:
    """Whether a raw path stays below its prefix, even if servers on the way decode it several times.

    For paths of protected services. They are forwarded byte for byte, so `%2F` and `//` are allowed.
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
    # Some servers remove parameters from a segment first, so they read `..;x` as `..`.
    name = step.partition(";")[0].strip()
    return name not in ("", ".", "..") and "\\" not in step and step.isprintable() and not _hides(step)


def _hides(step: str) -> bool:
    """Whether a segment contains encoded dots, slashes or NUL, which another decoding would turn into a traversal."""
    return re.search(r"%(2e|2f|5c|00|25)", step, re.IGNORECASE) is not None
