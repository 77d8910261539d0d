"""Which addresses the edge passes on. Pure: decides by the path as it is after decoding, the way a service reads it."""

import re
from urllib.parse import quote

_VERSIONED = re.compile(r"/(?P<service>[a-z]+)/v[0-9]{1,3}(/.*)?")
_SAFE = "!$&'()*+,;=:@/~-._"


def upstream_path(path: str, service: str) -> str | None:
    """The path to ask a service for, encoded; None if the edge does not pass it on.

    Only `/testing/v1/…` and its like are passed. A step that is empty, or that means "here" or "up", or holds a
    backslash or a control character, could lead elsewhere, and no address of ours has one.
    """
    match = _VERSIONED.fullmatch(path)
    if match is None or match["service"] != service or not is_plain(path):
        return None
    return quote(path, safe=_SAFE)


def is_plain(path: str) -> bool:
    """Whether a path says where it leads without detours. One trailing slash is none."""
    steps = path.removeprefix("/").removesuffix("/").split("/")
    return path == "/" or all(_is_plain(step) for step in steps)


def joined(base: str, path: str) -> str:
    """An upstream's address with a plain path under it, encoded."""
    return base.rstrip("/") + "/" + quote(path.removeprefix("/"), safe=_SAFE)


def _is_plain(step: str) -> bool:
    # Some servers cut parameters off a step before they look at it: `..;x` is `..` to them.
    name = step.partition(";")[0].strip()
    return name not in ("", ".", "..") and "\\" not in step and step.isprintable() and not _hides(step)


def _hides(step: str) -> bool:
    """Whether a step still is encoded, so that one more decoding on the way could make a detour of it."""
    return re.search(r"%(2e|2f|5c|00|25)", step, re.IGNORECASE) is not None
