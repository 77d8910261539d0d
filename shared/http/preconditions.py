"""Conditional requests (RFC 9110, 13): compare `If-Match` and `If-None-Match` with the current ETag of a resource."""

import re
from collections.abc import Sequence

from shared.problems import LocalizedText, Problem

_OPAQUE = rb'"[\x21\x23-\x7e\x80-\xff]*"'
_TAG = re.compile(rb"[ \t]*((?:W/)?" + _OPAQUE + rb")[ \t]*")


class IfMatchMalformed(Problem):
    """`If-Match` is neither `*` nor a list of entity tags."""

    status = 400
    code = "if_match_malformed"
    title = LocalizedText(zh="If-Match 格式有误", en="If-Match is malformed")
    fix = LocalizedText(
        zh="请原样发送读取时收到的 ETag，包括引号", en="Send the ETag exactly as you received it, with its quotes"
    )


def etag_of(version: object) -> str:
    """Return the strong ETag of a version."""
    return f'"{version}"'


def tags_of(value: bytes) -> Sequence[bytes] | None:
    """Parse a list of entity tags, weak ones with their `W/`. Return None if the list is malformed."""
    tags = []
    at = 0
    while at < len(value):
        if value[at] in b", \t":  # empty elements are allowed (RFC 9110, 5.6.1.2)
            at += 1
            continue
        match = _TAG.match(value, at)
        if match is None or (match.end() < len(value) and value[match.end()] != ord(",")):
            return None
        tags.append(match[1])
        at = match.end()
    return tags or None


def matches(if_match: str, etag: str) -> bool:
    """Whether `If-Match` matches an existing resource, by strong comparison. Raises `IfMatchMalformed`."""
    value = if_match.encode("latin-1", "replace").strip(b" \t")
    if value == b"*":
        return True
    tags = tags_of(value)
    if tags is None:
        raise IfMatchMalformed()
    return etag.encode("latin-1") in tags


def is_known(if_none_match: bytes, etag: bytes) -> bool:
    """Whether the caller has the content of an ETag, by weak comparison. A malformed header is ignored."""
    value = if_none_match.strip(b" \t")
    if value == b"*":
        return True
    return etag.removeprefix(b"W/") in {tag.removeprefix(b"W/") for tag in tags_of(value) or ()}
