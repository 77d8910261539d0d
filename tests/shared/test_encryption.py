"""Personal data at rest: opened only where it was sealed, found only by its index, gone with its key."""

import os
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.ids import new_id
from shared.crypto import key_files
from shared.crypto.encryption import (
    CannotOpenError,
    IndexKey,
    Keyring,
    Slots,
    key_after,
    month_of_key,
    next_month,
)
from shared.crypto.key_files import symmetric
from shared.crypto.master_keys import LocalKeyWrapper, MasterKeyError, Wrapped

OLD, NEW = IndexKey("old", b"i" * 32, 0), IndexKey("new", b"j" * 32, 1)


def ring() -> Keyring:
    made = Keyring("registry", (OLD,))
    for key_id in (202101, 202102):
        made.take(key_id, key_id.to_bytes(4, "big") * 8)
    made.newest = {202101: 202101, 202102: 202102}
    made.current = 202102
    return made


RING = ring()


@given(st.text(), st.uuids())
def test_what_is_sealed_opens_for_its_own_row(plain: str, row: UUID) -> None:
    assert RING.decrypt("residents.name", row, RING.encrypt("residents.name", row, plain)) == plain


def test_a_ciphertext_says_nothing_and_differs_each_time() -> None:
    row = new_id()
    sealed = RING.encrypt("residents.name", row, "欧阳测试")
    assert "欧阳测试".encode() not in sealed
    assert sealed != RING.encrypt("residents.name", row, "欧阳测试")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda sealed: sealed[:-1], "damaged"),
        (lambda sealed: sealed[:10], "damaged"),
        (lambda sealed: b"", "damaged"),
        (lambda sealed: b"\x02" + sealed[1:], "damaged"),
        (lambda sealed: sealed[:1] + (202103).to_bytes(4, "big") + sealed[5:], "unknown_key"),
        (lambda sealed: sealed[:1] + (202101).to_bytes(4, "big") + sealed[5:], "damaged"),
        (lambda sealed: sealed[:20] + bytes([sealed[20] ^ 1]) + sealed[21:], "damaged"),
    ],
    ids=["cut", "cut short", "empty", "other format", "unknown key", "another key", "one bit"],
)
def test_a_spoiled_ciphertext_does_not_open_and_why_is_known(spoil, why: str) -> None:
    row = new_id()
    with pytest.raises(CannotOpenError) as refused:
        RING.decrypt("residents.name", row, spoil(RING.encrypt("residents.name", row, "张三")))
    assert refused.value.why == why
    assert "张三" not in str(refused.value)


def test_a_ciphertext_of_another_row_or_column_does_not_open() -> None:
    row = new_id()
    sealed = RING.encrypt("residents.name", row, "张三")
    for place, other in (("residents.name", new_id()), ("residents.phone", row)):
        with pytest.raises(CannotOpenError) as refused:
            RING.decrypt(place, other, sealed)
        assert refused.value.why == "damaged"


def test_what_a_destroyed_key_sealed_is_destroyed() -> None:
    made, row = ring(), new_id()
    sealed = made.encrypt("residents.name", row, "张三")
    made.drop([202102])
    with pytest.raises(CannotOpenError) as refused:
        made.decrypt("residents.name", row, sealed)
    assert refused.value.why == "destroyed"


def test_what_is_sealed_anew_stays_in_its_month() -> None:
    made, row = ring(), new_id()
    made.current = 202101
    sealed = made.encrypt("residents.name", row, "张三")
    assert not made.is_old(sealed)
    made.take(202101001, b"n" * 32)
    made.newest = {202101: 202101001, 202102: 202102}
    made.current = 202102
    assert made.is_old(sealed)
    again = made.reencrypt("residents.name", row, sealed)
    assert int.from_bytes(again[1:5], "big") == 202101001
    assert made.decrypt("residents.name", row, again) == "张三"
    made.drop([202101])
    assert made.decrypt("residents.name", row, again) == "张三"


def test_key_ids_follow_each_other_and_know_their_month() -> None:
    assert (key_after(202101), key_after(202101001)) == (202101001, 202101002)
    assert [month_of_key(one) for one in (202101, 202101001, 202112999)] == [202101, 202101, 202112]
    assert (next_month(202101), next_month(202112)) == (202102, 202201)


def test_the_blind_index_is_stable_and_of_its_kind() -> None:
    assert RING.index("phone", "13800000000") == RING.index("phone", "13800000000")
    assert RING.index("phone", "13800000000") != RING.index("document", "13800000000")
    assert len(RING.index("phone", "1")) == 16


def test_while_the_index_key_is_rotated_both_are_asked_and_each_has_its_column() -> None:
    before, both, after = (Keyring("registry", keys) for keys in ((OLD,), (NEW, OLD), (NEW,)))
    old, new = before.index("document", "x"), after.index("document", "x")
    assert old != new
    assert (both.index("document", "x"), both.indexes("document", "x")) == (new, [new, old])
    assert before.slots("document", "x") == Slots(old, None)
    assert both.slots("document", "x") == Slots(old, new)
    assert after.slots("document", "x") == Slots(None, new)
    assert [slots.key for slots in (before.slots("d", "x"), both.slots("d", "x"))] == [before.index("d", "x")] * 2


async def test_a_wrapped_key_opens_for_what_it_is_bound_to_and_by_its_master_alone() -> None:
    key_wrapper = LocalKeyWrapper([key_files.Version("m", symmetric(b"m" * 32))])
    wrapped = await key_wrapper.wrap(b"k" * 32, b"registry|202101")
    assert await key_wrapper.unwrap(wrapped, b"registry|202101") == b"k" * 32
    assert await key_wrapper.unwrap(Wrapped("", wrapped.key), b"registry|202101") == b"k" * 32
    stranger = LocalKeyWrapper([key_files.Version("m", symmetric(os.urandom(32)))])
    for asked, bound_to in (
        (key_wrapper, b"testing|202101"),
        (key_wrapper, b"registry|202102"),
        (stranger, b"registry|202101"),
    ):
        with pytest.raises(MasterKeyError):
            await asked.unwrap(wrapped, bound_to)
    with pytest.raises(MasterKeyError):
        await key_wrapper.unwrap(Wrapped("another", wrapped.key), b"registry|202101")


async def test_a_new_master_in_the_file_wraps_from_then_on_and_the_old_one_still_opens(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    file.write_text(key_files.encoded(b"o" * 32))
    key_wrapper = LocalKeyWrapper.from_file(file)
    wrapped = await key_wrapper.wrap(b"k" * 32, b"x")
    (tmp_path / "next").write_text(
        f'{{"keys": [{{"kty": "oct", "kid": "{key_files.id_of(b"o" * 32)}", "k": "{key_files.encoded(b"o" * 32)}"}},'
        f'{{"kty": "oct", "kid": "fresh", "nbf": 1, "k": "{key_files.encoded(b"f" * 32)}"}}]}}'
    )
    (tmp_path / "next").replace(file)
    assert await key_wrapper.newest() == "fresh"
    assert (await key_wrapper.wrap(b"k" * 32, b"x")).master == "fresh"
    assert await key_wrapper.unwrap(wrapped, b"x") == b"k" * 32


async def test_the_environment_holds_several_masters_the_newest_first() -> None:
    old, new = key_files.encoded(b"o" * 32), key_files.encoded(b"n" * 32)
    wrapped = await LocalKeyWrapper.from_text(old).wrap(b"k" * 32, b"x")
    both = LocalKeyWrapper.from_text(f"{new}, {old}")
    assert await both.newest() == key_files.id_of(b"n" * 32)
    assert await both.unwrap(wrapped, b"x") == b"k" * 32
    with pytest.raises(ValueError, match="32 bytes"):
        LocalKeyWrapper.from_text("shrt!")


@pytest.mark.parametrize("content", ["", "{", '{"keys": []}', '{"keys": [{"kty": "oct", "kid": "x", "k": "AAAA"}]}'])
def test_a_key_file_that_holds_no_key_is_refused_and_never_quoted(tmp_path: Path, content: str) -> None:
    (tmp_path / "index.key").write_text(content)
    with pytest.raises(ValueError, match=r"hold|Expecting") as refused:
        key_files.read(tmp_path / "index.key")
    assert not content or content not in str(refused.value)
