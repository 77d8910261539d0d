"""The stand-alone script finds every kind of tampering in an export, and names the first entry concerned."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.audit import verify_audit
from deploy.audit.verify_audit import check, is_signed
from shared.audit import canonical
from tests.shared.audit_files import KEYS, Lines, again, entry, lines_of, sign, written

TEN = lines_of(10)
FILE = written(TEN)

# RFC 8032, section 7.1: secret-free vectors of public key, message and signature.
RFC_8032 = {
    "test-1": (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    "test-2": (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    "test-3": (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
}


@pytest.mark.parametrize("name", RFC_8032)
def test_signatures_of_the_standard(name: str) -> None:
    key, message, signature = (bytes.fromhex(part) for part in RFC_8032[name])
    assert is_signed(key, message, signature)
    assert not is_signed(key, message + b"x", signature)
    for place in (0, 31, 32, 63):
        bad = bytearray(signature)
        bad[place] ^= 1
        assert not is_signed(key, message, bytes(bad))


def test_a_signature_has_one_form_only() -> None:
    """S + L would satisfy the equation as well (RFC 8032, section 5.1.7, refuses it)."""
    key, message, signature = (bytes.fromhex(part) for part in RFC_8032["test-2"])
    number = int.from_bytes(signature[32:], "little") + verify_audit.L
    assert not is_signed(key, message, signature[:32] + number.to_bytes(32, "little"))
    assert not is_signed(key, message, signature[:-1])
    assert not is_signed(b"\xff" * 32, message, signature)


@given(st.binary(max_size=200), st.binary(min_size=32, max_size=32))
@settings(max_examples=30, deadline=None)
def test_it_agrees_with_a_library(message: bytes, seed: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert is_signed(key.public_key().public_bytes_raw(), message, key.sign(message))


def kinds(file: bytes, *kept: Lines) -> list[tuple[str, int | None]]:
    found, _ = check(file, KEYS, [lines[-1] for lines in kept])
    return [(finding.kind, finding.position) for _, finding in found]


def test_a_whole_export_is_whole() -> None:
    assert kinds(FILE) == []
    assert kinds(written(lines_of(0))) == []
    assert kinds(FILE + FILE, TEN) == []


def test_what_is_hashed_is_said_twice_and_alike() -> None:
    """The script stands alone, so it repeats the format; both must agree, also on what JSON escapes."""
    odd = entry(1, reason="".join(map(chr, range(1, 0x300))) + "😀\u2028\x7f")
    assert verify_audit.canonical(odd) == canonical.canonical(odd)
    assert set(canonical.ENTRY_FIELDS) == set(odd)
    assert (verify_audit.EXPORT, verify_audit.CHAIN, verify_audit.HEAD) == (
        canonical.EXPORT,
        canonical.CHAIN,
        canonical.HEAD,
    )


def _change(lines: Lines) -> None:
    lines[4]["entry"]["actor"] = "staff:nobody"


def _change_and_rehash(lines: Lines) -> None:
    """Whoever can write everything but has no key makes the chain anew."""
    lines[:] = [*lines_of(10, lambda n, one: {**one, "actor": "staff:nobody"} if n == 4 else one)[:-1], lines[-1]]


def _remove(lines: Lines) -> None:
    del lines[4]


def _remove_and_renumber(lines: Lines) -> None:
    del lines[4]
    _renumber(lines)


def _renumber(lines: Lines) -> None:
    for number, line in enumerate(lines[1:-1], 1):
        line["position"] = number


def _add(lines: Lines) -> None:
    lines.insert(4, {"position": 4, "hash": "ab" * 32, "entry": entry(50)})
    _renumber(lines)


def _repeat(lines: Lines) -> None:
    lines.insert(5, again([lines[4]])[0])
    _renumber(lines)


def _swap(lines: Lines) -> None:
    lines[4], lines[5] = lines[5], lines[4]
    _renumber(lines)


def _move(lines: Lines) -> None:
    lines.insert(10, lines.pop(4))
    _renumber(lines)


def _cut(lines: Lines) -> None:
    del lines[9:11]


def _cut_with_the_head(lines: Lines) -> None:
    del lines[9:]


def _add_at_the_end(lines: Lines) -> None:
    lines.insert(11, lines_of(11)[11])


def _never_sealed(lines: Lines) -> None:
    lines.insert(11, {"position": None, "hash": None, "entry": entry(50)})


def _gone_from_the_database(lines: Lines) -> None:
    lines[4]["entry"] = None


def _renumbered(lines: Lines) -> None:
    lines[4]["position"] = 44


def _other_service(lines: Lines) -> None:
    lines[0]["service"] = "registry"


def _other_day(lines: Lines) -> None:
    lines[0]["day"] = "2021-01-22"


TAMPERINGS: dict[str, tuple[Callable[[Lines], None], str, int | None]] = {
    "an entry changed": (_change, "changed", 4),
    "an entry changed and all hashes made anew": (_change_and_rehash, "changed", None),
    "an entry removed": (_remove, "missing", 4),
    "an entry removed and the rest renumbered": (_remove_and_renumber, "missing", 4),
    "an entry removed from the database": (_gone_from_the_database, "missing", 4),
    "an entry added": (_add, "added", 4),
    "an entry repeated": (_repeat, "added", 5),
    "an entry added at the end": (_add_at_the_end, "added", 11),
    "an entry that was never sealed": (_never_sealed, "added", 11),
    "two entries swapped": (_swap, "reordered", 4),
    "an entry moved further down": (_move, "reordered", 4),
    "the end cut off": (_cut, "missing", 9),
    "the end cut off with the head": (_cut_with_the_head, "truncated", 9),
    "a number changed": (_renumbered, "changed", 4),
    "the header names another service": (_other_service, "changed", 1),
    "the header names another day": (_other_day, "changed", 1),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_every_kind_of_tampering_is_found_and_named(name: str) -> None:
    tamper, kind, position = TAMPERINGS[name]
    lines = again(TEN)
    tamper(lines)
    assert kinds(written(lines))[:1] == [(kind, position)]


def test_a_wrong_signature_is_found() -> None:
    forged = again(TEN)
    forged[-1] = sign(forged[-1], Ed25519PrivateKey.generate())
    assert kinds(written(forged)) == [("signature", None)]
    unknown = again(TEN)
    unknown[-1] = sign({**unknown[-1], "key": "nobody"})
    assert kinds(written(unknown)) == [("signature", None)]
    later = again(TEN)
    later[-1]["time"] = "2022-01-01T00:00:00.000000Z"
    assert kinds(written(later)) == [("signature", None)]


def test_an_older_head_does_not_hide_a_cut_from_one_kept_outside() -> None:
    """A day cut back to an older, genuine head is whole by itself; the kept head tells."""
    eight = written(lines_of(8))
    assert kinds(eight) == []
    assert kinds(eight, TEN) == [("truncated", 9)]
    found, _ = check(b"", KEYS, [TEN[-1]])
    assert [finding.kind for _, finding in found] == ["truncated"]
    found, _ = check(written([{**TEN[0], "service": "registry"}]), KEYS, [TEN[-1]])
    assert ("testing 2021-01-21", "missing") in [(name, finding.kind) for name, finding in found]


def test_a_day_that_grew_agrees_with_a_head_kept_earlier() -> None:
    assert kinds(FILE, lines_of(4), lines_of(0)) == []


def test_whoever_has_the_key_too_is_found_by_a_head_kept_outside() -> None:
    anew = lines_of(10, lambda n, one: {**one, "actor": "staff:nobody"} if n == 4 else one)
    assert kinds(written(anew)) == []
    assert kinds(written(anew), lines_of(3), lines_of(6), TEN)[0] == ("changed", 6)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_one_bit_flipped_anywhere_is_found(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(FILE) * 8 - 1))
    flipped = bytearray(FILE)
    flipped[place // 8] ^= 1 << place % 8
    assert kinds(bytes(flipped)) != []


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_bit_flipped_in_an_entry_names_that_entry(data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 10))
    start = sum(len(line) + 1 for line in FILE.split(b"\n")[:number])
    size = len(FILE.split(b"\n")[number])
    place = data.draw(st.integers(0, size * 8 - 1))
    flipped = bytearray(FILE)
    flipped[start + place // 8] ^= 1 << place % 8
    kind, position = kinds(bytes(flipped))[0]
    assert kind in {"changed", "missing"}  # missing, where its number says another
    assert position == number


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_no_file_makes_it_fall_over(noise: bytes) -> None:
    check(noise, KEYS)
    check(written(TEN[:3]) + noise + b"\n", KEYS, [TEN[-1]])


def test_it_runs_alone(tmp_path: Path) -> None:
    """Without our packages, and without any that is not Python's own."""
    script = Path(verify_audit.__file__)
    imported = set(re.findall(r"^(?:import|from) ([\w.]+)", script.read_text(), re.MULTILINE))
    assert imported <= {"__future__", "argparse", "base64", "hashlib", "json", "sys", "typing", "collections.abc"}
    export, heads = tmp_path / "export", tmp_path / "heads.json"
    export.write_bytes(FILE)
    x = verify_audit.base64.urlsafe_b64encode(KEYS["testing"]).rstrip(b"=").decode()
    jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "testing", "x": x}
    heads.write_text(json.dumps({"day": "2021-01-21", "heads": [TEN[-1]], "keys": [jwk], "missing": []}))

    def run(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-I", "-S", str(script), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    signed = "testing 2021-01-21: 10 entries, whole; signed by testing at 2021-01-21T16:00:00.000000Z\n"
    assert run(str(export), "--head", str(heads)) == (0, signed)
    assert run(str(export), "--keys", str(heads)) == (0, signed)
    assert run(str(export)) == (0, "testing 2021-01-21: 10 entries, whole; signature NOT checked\n")
    export.write_bytes(FILE.replace(b"staff:4", b"staff:5", 1))
    assert run(str(export), "--head", str(heads)) == (
        1,
        "testing 2021-01-21: CHANGED: entry 4 was changed: it does not match its hash\n",
    )
    assert run(str(tmp_path / "nothing"))[0] == 2
