"""A file of visits that was exported says whole what was sealed: the script that checks it finds every change."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.audit import verify_audit, verify_visits
from shared.audit.canonical import canonical
from shared.audit.heads import public_keys
from tests.gateway.visited import batches, chain_all, exported, today, visit
from tests.harness import District


def written(*shown_by: str | None) -> tuple[bytes, list[dict[str, Any]]]:
    """An export of one batch, and its seal."""
    found = [
        {
            "at": f"2021-01-21T01:30:{number:02}.000000Z",
            "colour": 1,
            "decided_at": "2021-01-21T01:30:01.000000Z",
            "epoch": 1,
            "outcome": 16,
            "point_id": str(UUID(int=1)),
            "receipt_seconds": 600,
            "region": "350582005001",
            "resident_id": str(UUID(int=100 + number)),
            "scan_id": str(UUID(int=number)),
            "shown_by": guardian,
            "temperature_tenths": None,
            "xid": 700 + number,
        }
        for number, guardian in enumerate(shown_by)
    ]
    leaves = b"".join(map(verify_visits.leaf_of, found))
    sealed = {"batch": 1, "count": len(found), "hash": verify_visits.hashlib.sha256(leaves).hexdigest()}
    sealed |= {"after": [0, 0], "upto": [1, 700 + len(found)], "last_at": "2021-01-21T01:30:59.000000Z"}
    head = {"format": verify_visits.EXPORT, "day": "2021-01-21"}
    lines = [head, {"batch": 1, "leaves": leaves.hex()}, *({"visit": one} for one in found)]
    return b"".join(canonical(line) + b"\n" for line in lines), [sealed]


FILE, SEALS = written(None, str(UUID(int=7)), None, None)


def kinds(file: bytes) -> list[str]:
    try:
        return [one.kind for one in verify_visits.check(batches(file), SEALS, verify_visits.EVER)[0]]
    except verify_visits.Finding as finding:
        return [finding.kind]


def test_a_whole_file_is_whole() -> None:
    assert kinds(FILE) == []


def test_a_batch_is_checked_before_the_next_is_read() -> None:
    """A day may have more visits than memory has room for."""
    lines = FILE.splitlines(keepends=True)
    read: list[bytes] = []
    _, found = verify_visits.opened(read.append(line) or line for line in (*lines, lines[1], *lines[2:]))
    assert len(next(found).visits) == len(lines) - 2
    assert read == [*lines, lines[1]]


def test_one_bit_flipped_anywhere_but_in_the_day_is_found() -> None:
    """The day says only which audit to look in: with another, there are other seals."""
    for place in range(FILE.index(b"\n") * 8, len(FILE) * 8):
        flipped = bytearray(FILE)
        flipped[place // 8] ^= 1 << place % 8
        assert kinds(bytes(flipped)) != [], place


@pytest.mark.parametrize(
    ("name", "kind"),
    [("swapped", "reordered"), ("repeated", "added"), ("cut", "missing"), ("cut in a line", "truncated")],
)
def test_lines_that_are_not_where_they_were(name: str, kind: str) -> None:
    lines = FILE.splitlines(keepends=True)
    tampered = {
        "swapped": [*lines[:3], lines[4], lines[3], lines[5]],
        "repeated": [*lines[:4], lines[3], *lines[4:]],
        "cut": lines[:-1],
        "cut in a line": [*lines[:-1], lines[-1][:-20]],
    }[name]
    assert kinds(b"".join(tampered)) == [kind]


@pytest.mark.parametrize("number", ["[]", "true", "1.0", '"1"'])
def test_a_batch_whose_number_is_none(number: str) -> None:
    assert kinds(FILE + f'{{"batch":{number},"leaves":null}}\n'.encode()) == ["changed"]


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_no_file_makes_it_fall_over(noise: bytes) -> None:
    kinds(noise)
    kinds(FILE + noise + b"\n")


async def test_it_runs_alone(district: District, tmp_path: Path) -> None:
    """The two scripts beside each other, without our packages."""
    scan_ids = [await visit(district) for _ in range(3)]
    await chain_all(district)
    file, audit = await exported(district)
    for script in (verify_audit, verify_visits):
        shutil.copy(str(script.__file__), tmp_path)
    (tmp_path / "audit").write_bytes(audit)
    (tmp_path / "visits").write_bytes(file)
    keys = {"keys": public_keys(district.contexts["gateway"].signer)}
    (tmp_path / "keys").write_text(json.dumps(keys))

    def run() -> tuple[int, str]:
        command = [sys.executable, "-S", "verify_visits.py", "visits", "audit", "--keys", "keys"]
        environment = {"PYTHONPATH": ""}
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        return done.returncode, (done.stdout + done.stderr).splitlines()[-1]

    assert await asyncio.to_thread(run) == (0, f"visits {today()}: 3 visits in 1 batches, whole; 0 purged")
    (tmp_path / "visits").write_bytes(file.replace(b'"colour":1', b'"colour":2', 1))
    code, said = await asyncio.to_thread(run)
    assert (code, said.split(": ")[1]) == (1, "CHANGED")
    assert any(str(scan_id) in said for scan_id in scan_ids)
