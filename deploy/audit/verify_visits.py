#!/usr/bin/env python3
"""Check an export of Fangxian's visits on any machine. You need this file, verify_audit.py beside it and Python 3.11.

    python3 verify_visits.py VISITS AUDIT... [--keys KEYS] [--head HEADS]...

VISITS was written by `fangxian audit export --visits`. The first AUDIT is the audit of the same day, which has the
seals. Missing visits count as `purged` only if an entry of the audit says so: give the audits of the later days on
which they were removed. The script names the batch and the visit that was changed, is missing, was added or is in
another position. The exit code is 1 if something is wrong, and 2 if the files cannot be read. docs/audit.md describes
the format.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

try:
    from deploy.audit import verify_audit
except ImportError:
    import verify_audit  # type: ignore[import-not-found,no-redef]

EXPORT = "fangxian-visits-export-1"
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
HASH_BYTES, LEAF_BYTES = 32, 40
FIELDS = {
    "at", "colour", "decided_at", "epoch", "outcome", "point_id", "receipt_seconds", "region", "resident_id", "scan_id",
    "shown_by", "temperature_tenths", "xid",
}  # fmt: skip
BEGINNING = datetime(2000, 1, 1)  # noqa: DTZ001 - all times here are UTC
LINK_FIELDS = {"after", "batch", "count", "hash", "last_at", "upto"}
PURGED = re.compile(r"visits: [0-9]+ older than ([0-9]+) days")
EVER = "0001-01-01T00:00:00.000000Z"
Finding = verify_audit.Finding


class Batch(NamedTuple):
    """One batch in an export. If the number is None: the visits that are in no batch."""

    number: int | None
    leaves: bytes | None
    visits: list[Any]


def leaf_of(visit: Any) -> bytes:
    """Return the leaf of a visit: the SHA-256 of its bytes, and its time."""
    ids = (visit["scan_id"], visit["point_id"], visit["resident_id"], visit["shown_by"] or str(UUID(int=0)))
    if visit["temperature_tenths"] == 0 or any(str(UUID(one)) != one for one in ids):
        raise ValueError("not as it was written")
    at = time_of(visit["at"])
    figures = [visit[name] for name in ("xid", "epoch", "receipt_seconds", "temperature_tenths", "colour", "outcome")]
    figures[3] = figures[3] or 0
    if not all(type(one) is int for one in figures):
        raise ValueError("not a number")
    content = b"".join(UUID(one).bytes for one in ids) + at + time_of(visit["decided_at"])
    content += struct.pack(">Qiihhh", *figures) + visit["region"].encode()
    return hashlib.sha256(content).digest() + at


def time_of(text: str) -> bytes:
    """Return a time in PostgreSQL's bytes: microseconds since 2000."""
    instant = datetime.strptime(text, TIME)  # noqa: DTZ007
    if instant.strftime(TIME) != text:
        raise ValueError("not as it was written")
    since = instant - BEGINNING
    return struct.pack(">q", (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def time_in(leaf: bytes) -> str:
    """Return the time in a leaf as text."""
    instant = BEGINNING + timedelta(microseconds=struct.unpack(">q", leaf[HASH_BYTES:])[0])
    return instant.strftime(TIME)


# Reading --------------------------------------------------------------------------------------------------------------


def opened(file: Iterable[bytes]) -> tuple[str, Iterator[Batch]]:
    """Return the day of an export and an iterator of batches, because not all visits may fit in memory."""
    lines = enumerate(file, 1)
    with _line(next(lines, (1, b""))) as value:
        day = _day_of(value)
    return day, _batches(lines)


def _batches(lines: Iterable[tuple[int, bytes]]) -> Iterator[Batch]:
    batch: Batch | None = None
    for line in lines:
        ended = None
        with _line(line) as value:
            if set(value) == {"batch", "leaves"}:
                batch, ended = Batch(_number(value["batch"]), _bytes_of(value["leaves"]), []), batch
            elif batch is None:
                raise ValueError("a visit of no batch")
            else:
                leaf_of(_whole(value["visit"]))
                batch.visits.append(value["visit"])
        if ended is not None:
            yield ended
    if batch is not None:
        yield batch


@contextmanager
def _line(line: tuple[int, bytes]) -> Iterator[dict[str, Any]]:
    """Read a line. An error in the block becomes a finding about this line."""
    number, text = line
    if not text.endswith(b"\n"):
        raise Finding("truncated", "the file ends in the middle of a line")
    try:
        yield verify_audit.read_line(text[:-1])
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):
        raise Finding("changed", f"line {number} was changed: it is not as it was written", number) from None


def _number(value: Any) -> int | None:
    if value is not None and type(value) is not int:
        raise ValueError("not a number")
    return value


def _whole(visit: dict[str, Any]) -> dict[str, Any]:
    if set(visit) != FIELDS:
        raise ValueError("not a visit")
    return visit


def _bytes_of(value: Any) -> bytes | None:
    """Decode hexadecimal digits. Raises ValueError if they are not in canonical form."""
    if value is None:
        return None
    found = bytes.fromhex(value)
    if found.hex() != value:
        raise ValueError("not as it was written")
    return found


def _day_of(value: dict[str, Any]) -> str:
    if set(value) != {"day", "format"} or value["format"] != EXPORT:
        raise ValueError("not the beginning of an export")
    return str(value["day"])


def entries_in(audits: Iterable[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all entries of the gateway in some audits, each with its day."""
    for data in audits:
        for section in verify_audit.sections_of(data):
            if section.service == "gateway":
                yield from ((section.day, one["entry"]) for one in section.records if one["entry"])


def links_of(entries: Iterable[tuple[str, dict[str, Any]]], day: str) -> list[dict[str, Any]]:
    """Return the seals of the batches of a day. Each begins where the previous one ended."""
    found: list[dict[str, Any]] = []
    for entry in (entry for of, entry in entries if of == day and entry["kind"] == "visits"):
        link = link_in(entry["reason"])
        if link is None:
            raise Finding("form", f"entry {entry['seq']} of the audit is not a seal")
        if found and (link["batch"], link["after"]) != (found[-1]["batch"] + 1, found[-1]["upto"]):
            raise Finding("added", f"entry {entry['seq']} of the audit seals what does not follow", link["batch"])
        found.append(link)
    return found


def link_in(reason: str) -> dict[str, Any] | None:
    """Return the seal in the reason of an entry, if there is one."""
    try:
        link = json.loads(reason)
    except (ValueError, RecursionError):
        return None
    is_link = isinstance(link, dict) and set(link) == LINK_FIELDS
    is_placed = is_link and all(isinstance(link[name], list) and len(link[name]) == 2 for name in ("after", "upto"))
    return link if is_placed else None


def purged_before(entries: Iterable[tuple[str, dict[str, Any]]]) -> str:
    """Return the time before which visits may be missing, because an entry of the audit records their removal."""
    last = EVER
    for _, entry in entries:
        if entry["kind"] == "purge":
            last = max(last, removed_before(entry["operation"], entry["at"], entry["reason"]))
    return last


def removed_before(operation: str, at: str, reason: str) -> str:
    """Return the time up to which the removal in an entry went."""
    instant = datetime.fromisoformat(at)
    if operation == "fangxian sunset":
        instant += timedelta(days=1)  # a margin, because clocks of devices may be ahead
    elif (match := PURGED.fullmatch(reason)) and operation == "purge":
        instant -= timedelta(days=int(match[1]))
    else:
        return EVER
    return instant.strftime(TIME)


# Checking -------------------------------------------------------------------------------------------------------------


def check(batches: Iterable[Batch], links: Sequence[dict[str, Any]], purged: str) -> tuple[list[Finding], int, int]:
    """Return all findings, the number of visits, and the number of purged visits."""
    found: list[Finding] = []
    count = gone = 0
    sought = {link["batch"]: link for link in links}
    seen: set[int | None] = set()
    for batch in batches:
        count += len(batch.visits)
        if batch.number in seen:
            found.append(Finding("added", "a batch occurs twice"))
        elif (link := sought.pop(batch.number, None)) is not None:
            wrong, absent = check_batch(link, batch, purged)
            found, gone = found + wrong, gone + absent
        else:
            added = (f"{name_of(visit)} was added: no batch has it" for visit in batch.visits)
            found += [Finding("added", message, batch.number) for message in added]
        seen.add(batch.number)
    for link in sought.values():
        wrong, absent = check_batch(link, Batch(link["batch"], None, []), purged)
        found, gone = found + wrong, gone + absent
    return found, count, gone


def check_batch(link: dict[str, Any], batch: Batch, purged: str) -> tuple[list[Finding], int]:
    """Return the findings of a batch, and the number of its purged visits."""
    number = link["batch"]
    if batch.leaves is None:
        if link["last_at"] < purged and not batch.visits:
            return [], int(link["count"])
        message = f"batch {number} is missing: the data of its {link['count']} visits no longer exists"
        return [Finding("missing", message, number)], 0
    if hashlib.sha256(batch.leaves).hexdigest() != link["hash"]:
        return [Finding("changed", f"batch {number} was changed: it does not match its seal", number)], 0
    leaves = [batch.leaves[start : start + LEAF_BYTES] for start in range(0, len(batch.leaves), LEAF_BYTES)]
    return compare(number, leaves, batch.visits, purged)


def compare(number: int, leaves: Sequence[bytes], visits: Sequence[Any], purged: str) -> tuple[list[Finding], int]:
    """Where visits differ from what was sealed: an unknown one in the place of one that is gone was changed."""
    places = {leaf: place for place, leaf in enumerate(leaves)}
    own = [places.get(leaf_of(visit)) for visit in visits]
    gone = sorted(set(places.values()) - set(own))
    found: list[Finding] = []
    last = -1
    for index, (visit, place) in enumerate(zip(visits, own, strict=True)):
        kind = ""
        if place is None:
            following = next((one for one in own[index + 1 :] if one is not None), len(leaves))
            instead = next((one for one in gone if last < one < following), None)
            kind = "added" if instead is None else "changed"
            last = last if instead is None else instead
            gone = [one for one in gone if one != instead]
        elif place <= last:
            kind = "added" if place in own[:index] else "reordered"
        else:
            last = place
        if kind:
            found.append(Finding(kind, f"{name_of(visit)} in batch {number} was {kind}", number))
    missing = [one for one in gone if not time_in(leaves[one]) < purged]
    for one in missing:
        message = f"visit {one + 1} of batch {number}, of {time_in(leaves[one])}, is missing"
        found.append(Finding("missing", message, number))
    return found, len(gone) - len(missing)


def name_of(visit: Any) -> str:
    """`visit 0199c2a4-…`."""
    return f"visit {visit.get('scan_id')}"


# From the command line ------------------------------------------------------------------------------------------------


def report(batches: Iterable[Batch], links: Sequence[dict[str, Any]], purged: str, name: str) -> int:
    """Print the result. Returns 1 if something is wrong."""
    try:
        found, count, gone = check(batches, links, purged)
    except Finding as unreadable:
        found, count, gone = [unreadable], 0, 0
    for finding in found:
        print(f"{name}: {finding.kind.upper()}: {finding}")
    if not found:
        print(f"{name}: {count} visits in {len(links)} batches, whole; {gone} purged")
    return 1 if found else 0


def main(words: Sequence[str] | None = None) -> int:
    """Check the files and print the result. The audits are checked first, because the seals depend on them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("visits", help="file made by `fangxian audit export --visits`")
    parser.add_argument("audits", nargs="+", help="files made by `fangxian audit export`")
    parser.add_argument("--keys", help="JWK set with the services' public keys")
    parser.add_argument("--head", action="append", default=[], help="heads kept outside; may be given more than once")
    options = parser.parse_args(words)
    believed = [word for name in options.head for word in ("--head", name)] + (
        ["--keys", options.keys] if options.keys else []
    )
    wrong = max(verify_audit.main([audit, *believed]) for audit in options.audits)
    if wrong:
        return int(wrong)
    try:
        entries = list(entries_in(map(_read, options.audits)))
        with open(options.visits, "rb") as file:
            day, batches = opened(file)
            return report(batches, links_of(entries, day), purged_before(entries), f"visits {day}")
    except OSError as error:
        print(f"cannot look: {error}", file=sys.stderr)
        return 2
    except Finding as finding:
        print(f"visits: {finding.kind.upper()}: {finding}")
        return 1


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    sys.exit(main())
