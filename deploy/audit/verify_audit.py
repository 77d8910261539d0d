#!/usr/bin/env python3
"""Check an export of Fangxian's audit on any machine. You need only this file and Python 3.11 or later.

    python3 verify_audit.py EXPORT [--keys KEYS] [--head HEADS]...

EXPORT was written by `fangxian audit export`. KEYS is a JWK set with the public keys of the services. HEADS is an
answer of `GET /gateway/v1/audit/heads` that was kept outside, or one head from it. Such an answer can also be used as
KEYS. Without KEYS the keys in HEADS are trusted. Without HEADS no signature is checked, and the output says so. The
script names the first entry that was changed, is missing, was added or is in another position, a wrong signature, and a
chain that ends before a kept head. The exit code is 1 if something is wrong, and 2 if the files cannot be read.
docs/audit.md describes the format.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

EXPORT = "fangxian-audit-export-1"
CHAIN = "fangxian-audit-chain-1"
HEAD = "fangxian-audit-head-1"
HEAD_FIELDS = {"format", "service", "day", "size", "hash", "time", "key", "signature"}


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of a value (RFC 8785): sorted keys, no spaces, UTF-8."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def beginning(service: str, day: str) -> str:
    """Return the hash to which the first entry of a service's day is chained."""
    return hashlib.sha256(canonical({"chain": CHAIN, "day": day, "service": service})).hexdigest()


def chained(before: str, entry: Any) -> str:
    """Return the hash of an entry: SHA-256 of the previous hash and the canonical bytes of the entry."""
    return hashlib.sha256(bytes.fromhex(before) + canonical(entry)).hexdigest()


# Ed25519 (RFC 8032, section 5.1.7) ------------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


Point = tuple[int, int, int, int]


def _add(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _times(number: int, point: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = _add(result, point)
        point = _add(point, point)
        number >>= 1
    return result


def _point(data: bytes) -> Point | None:
    """Decode 32 bytes to a point; None if they are not a point."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


_BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BASE_Y = 4 * pow(5, P - 2, P) % P
BASE: Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % P)


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature over a message was made with the key of this public key."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, commitment = _point(public), _point(signature[:32])
    number = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or number >= L:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    challenge = int.from_bytes(digest, "little") % L
    left, right = _times(number, BASE), _add(commitment, _times(challenge, key))
    same_x = (left[0] * right[2] - right[0] * left[2]) % P == 0
    return same_x and (left[1] * right[2] - right[1] * left[2]) % P == 0


def unpadded(text: str) -> bytes:
    """Decode base64url. Raises ValueError if the text is not in canonical form."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise ValueError("not base64url")
    return data


# Reading --------------------------------------------------------------------------------------------------------------


class Finding(Exception):  # noqa: N818 - a finding about the file, not an error of this program
    """A problem: a kind (changed, missing, added, reordered, truncated, signature, form) and a sentence."""

    def __init__(self, kind: str, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.kind, self.position = kind, position


class Section:
    """One day of one service in an export."""

    def __init__(self, header: dict[str, Any]) -> None:
        self.service: str = header["service"]
        self.day: str = header["day"]
        self.records: list[dict[str, Any]] = []
        self.head: dict[str, Any] | None = None
        self.broken: Finding | None = None

    @property
    def name(self) -> str:
        """`testing 2021-01-21`."""
        return f"{self.service} {self.day}"


def read_line(line: bytes) -> dict[str, Any]:
    """Read a line. Raises ValueError if it is not canonical JSON."""
    value = json.loads(line.decode("utf-8"))
    if not isinstance(value, dict) or canonical(value) != line:
        raise ValueError("not as it was written")
    return value


def is_header(value: dict[str, Any]) -> bool:
    """Whether a line begins a section."""
    is_named = isinstance(value.get("service"), str) and isinstance(value.get("day"), str)
    return is_named and value.get("format") == EXPORT and set(value) == {"format", "service", "day"}


def is_record(value: dict[str, Any]) -> bool:
    """Whether a line is an entry, with its position and hash if it was sealed and its content if it still exists."""
    number, digest, entry = value.get("position"), value.get("hash"), value.get("entry")
    return (
        set(value) == {"position", "hash", "entry"}
        and (number is None or type(number) is int)
        and (digest is None or is_hash(digest))
        and (entry is None or isinstance(entry, dict))
    )


def is_hash(value: Any) -> bool:
    """Whether a value is 64 hexadecimal digits."""
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")


def is_head(value: dict[str, Any]) -> bool:
    """Whether a line is a head."""
    return (
        value.get("format") == HEAD
        and set(value) == HEAD_FIELDS
        and type(value["size"]) is int
        and is_hash(value["hash"])
        and all(isinstance(value[name], str) for name in HEAD_FIELDS - {"size", "hash"})
    )


def sections_of(data: bytes) -> list[Section]:
    """Return the sections of an export. An unreadable line is stored as the problem of its section."""
    if not data.endswith(b"\n"):
        raise Finding("truncated", "the file ends in the middle of a line")
    found: list[Section] = []
    for number, line in enumerate(data[:-1].split(b"\n"), 1):
        try:
            value = read_line(line)
        except (ValueError, RecursionError):
            value = {}
        if is_header(value) and (not found or found[-1].head is not None):
            found.append(Section(value))
        elif not found:
            raise Finding("form", f"line {number} is not the beginning of an export")
        else:
            _take(found[-1], value, number)
    return found


def _take(section: Section, value: dict[str, Any], number: int) -> None:
    """Add a line to a section."""
    if section.broken is None and section.head is None and is_head(value):
        section.head = value
    elif section.broken is None and section.head is None and is_record(value):
        section.records.append(value)
    elif section.broken is None:
        position = len(section.records) + 1
        what = f"line {number} was changed: it is not as it was written"
        section.broken = Finding("changed", f"{what} (entry {position}, or what follows it)", position)


# Checking -------------------------------------------------------------------------------------------------------------


def check_chain(section: Section) -> None:
    """Raise a Finding that names the first entry of a section that differs from what was sealed."""
    before = beginning(section.service, section.day)
    for number, record in enumerate(section.records, 1):
        if record["entry"] is None:
            raise Finding("missing", f"entry {number} is missing: it was sealed, and is not there any more", number)
        if record["position"] is None:
            message = f"entry {record['entry'].get('seq')} was added: it was never sealed, though it should have been"
            raise Finding("added", message, number)
        if record["position"] != number or not fits(before, record):
            raise diagnosis(section, number, before)
        before = record["hash"]
    if section.broken is not None:
        raise section.broken
    if section.head is None:
        raise Finding("truncated", "the export ends without a head", len(section.records) + 1)
    check_end(section, section.head, before)


def fits(before: str, record: dict[str, Any]) -> bool:
    """Whether an entry was sealed directly after a hash."""
    entry, digest = record["entry"], record["hash"]
    return entry is not None and digest is not None and bool(chained(before, entry) == digest)


def diagnosis(section: Section, number: int, before: str) -> Finding:
    """Find out what is wrong with an entry, by checking where it and the others would fit."""
    records, record = section.records, section.records[number - 1]
    others = records[: number - 1] + records[number:]
    if fits(before, record):
        return Finding("changed", f"entry {number} was changed: it is numbered {record['position']}", number)
    if any(fits(before, later) for later in records[number:]):
        hashes = [beginning(section.service, section.day)] + [one["hash"] for one in others if one["hash"]]
        is_twice = any(other["hash"] == record["hash"] for other in others)
        if not is_twice and any(fits(digest, record) for digest in hashes):
            return Finding("reordered", f"entry {number} stands in another's place: the order was changed", number)
        return Finding("added", f"entry {number} was added: it does not belong to the chain", number)
    size = section.head["size"] if section.head else len(records)
    if (record["position"] or 0) > number or (section.broken is None and size > len(records)):
        return Finding("missing", f"entry {number} is missing", number)
    return Finding("changed", f"entry {number} was changed: it does not match its hash", number)


def check_end(section: Section, head: dict[str, Any], end: str) -> None:
    """Raise a Finding if the end of the chain differs from its head."""
    size = len(section.records)
    if (head["service"], head["day"]) != (section.service, section.day):
        raise Finding("changed", f"the head is of {head['service']} {head['day']}: the header or the head was changed")
    if head["size"] > size:
        raise Finding("missing", f"entries {size + 1} to {head['size']} are missing: the end was cut off", size + 1)
    if head["size"] < size:
        message = f"entry {head['size'] + 1} was added: the head was signed over {head['size']} entries"
        raise Finding("added", message, head["size"] + 1)
    if head["hash"] != end:
        raise Finding("changed", "the chain was recomputed: its last hash differs from its head")


def check_signature(head: dict[str, Any], keys: dict[str, bytes], whose: str) -> None:
    """Raise a Finding if a head is not signed with the key that it names."""
    key = keys.get(head["key"])
    if key is None:
        raise Finding("signature", f"the signature of {whose} is by an unknown key: {head['key']!r}")
    signed = {name: value for name, value in head.items() if name != "signature"}
    try:
        is_good = is_signed(key, canonical(signed), unpadded(head["signature"]))
    except ValueError:
        is_good = False
    if not is_good:
        raise Finding("signature", f"the signature of {whose} is wrong")


def check_kept(section: Section, kept: dict[str, Any]) -> None:
    """Raise a Finding if a section differs from a head that was kept outside."""
    size = len(section.records)
    if kept["size"] > size:
        message = (
            f"the end was cut off: a head kept outside says there were {kept['size']} entries, and there are {size}"
        )
        raise Finding("truncated", message, size + 1)
    place = kept["size"]
    there = section.records[place - 1]["hash"] if place else beginning(section.service, section.day)
    if there != kept["hash"]:
        message = f"an entry up to {place} was changed and the chain recomputed: it differs from a head kept outside"
        raise Finding("changed", message, place)


def check(
    data: bytes, keys: dict[str, bytes] | None = None, kept: Sequence[dict[str, Any]] = ()
) -> tuple[list[tuple[str, Finding]], list[Section]]:
    """All that is wrong with an export, each with its section's name, the first of each check; and its sections."""
    try:
        sections = sections_of(data)
    except Finding as finding:
        return [("export", finding)], []
    found = [(section.name, problem) for section in sections for problem in _problems(section, keys, kept)]
    there = {(section.service, section.day) for section in sections}
    for head in kept:
        if (head["service"], head["day"]) not in there and head["size"]:
            message = f"a head kept outside says there were {head['size']} entries, and the export has none of them"
            found.append((f"{head['service']} {head['day']}", Finding("missing", message, 1)))
    return found, sections


def _problems(section: Section, keys: dict[str, bytes] | None, kept: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    own = [head for head in kept if (head["service"], head["day"]) == (section.service, section.day)]
    own.sort(key=lambda head: int(head["size"]))
    yield from _raised(check_chain, section)
    if keys is not None and section.head is not None:
        yield from _raised(check_signature, section.head, keys, "the head")
    for head in own:
        if keys is not None:
            yield from _raised(check_signature, head, keys, "the head kept outside")
        yield from _raised(check_kept, section, head)


def _raised(one: Any, *given: Any) -> Iterator[Finding]:
    try:
        one(*given)
    except Finding as finding:
        yield finding


# From the command line ------------------------------------------------------------------------------------------------


def keys_of(document: dict[str, Any]) -> dict[str, bytes]:
    """Return the public keys of a JWK set, by their ids."""
    found: dict[str, bytes] = {}
    for key in document.get("keys", []):
        if key.get("crv") == "Ed25519" and "d" not in key:
            found[key["kid"]] = unpadded(key["x"])
    return found


def heads_of(document: Any) -> list[dict[str, Any]]:
    """Return the heads in a document: an answer of the gateway, a list, or one head."""
    heads: list[dict[str, Any]] = document.get("heads", [document]) if isinstance(document, dict) else document
    if not all(isinstance(head, dict) and is_head(head) for head in heads):
        raise ValueError("no head of an audit")
    return heads


def heads_in(paths: Iterable[str]) -> list[dict[str, Any]]:
    """Return all heads in some files."""
    return [head for path in paths for head in heads_of(json.loads(_read(path)))]


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("export", help="file made by `fangxian audit export`")
    parser.add_argument("--keys", help="JWK set with the services' public keys, or an answer of /audit/heads")
    parser.add_argument("--head", action="append", default=[], help="heads kept outside; may be given more than once")
    return parser.parse_args(words)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def main(words: Sequence[str] | None = None) -> int:
    """Check the file and print the result. Returns the exit code."""
    options = arguments(words)
    try:
        kept = heads_in(options.head)
        believed = [options.keys] if options.keys else options.head
        trusted = [document for document in map(json.loads, map(_read, believed)) if "keys" in document]
        keys = {name: key for document in trusted for name, key in keys_of(document).items()} if trusted else None
        data = _read(options.export)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"cannot look: {error}", file=sys.stderr)
        return 2
    return report(data, keys, kept)


def report(data: bytes, keys: dict[str, bytes] | None, kept: Sequence[dict[str, Any]]) -> int:
    """Print the result. Returns 1 if something is wrong."""
    found, sections = check(data, keys, kept)
    wrong = {name for name, _ in found}
    for section in sections:
        if section.name not in wrong and section.head is not None:
            signed = f"signed by {section.head['key']} at {section.head['time']}" if keys else "signature NOT checked"
            print(f"{section.name}: {len(section.records)} entries, whole; {signed}")
    for name, finding in found:
        print(f"{name}: {finding.kind.upper()}: {finding}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
