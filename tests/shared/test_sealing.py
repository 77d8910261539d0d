"""Personal data at rest: opened only where it was sealed, found only by its index."""

import os
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ids import new_id
from shared.sealing import CannotOpenError, Keyring, next_month


def ring(service: str = "registry", master: bytes = b"m" * 32) -> Keyring:
    made = Keyring(service, master, b"i" * 32)
    made.unwrap(202101, made.new_wrapped_key(202101))
    made.current = 202101
    return made


RING = ring()


@given(st.text(), st.uuids())
def test_what_is_sealed_opens_for_its_own_row(plain: str, row: UUID) -> None:
    assert RING.open("residents.name", row, RING.seal("residents.name", row, plain)) == plain


def test_a_ciphertext_says_nothing_and_differs_each_time() -> None:
    row = new_id()
    sealed = RING.seal("residents.name", row, "欧阳测试")
    assert "欧阳测试".encode() not in sealed
    assert sealed != RING.seal("residents.name", row, "欧阳测试")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sealed: sealed[:-1],
        lambda sealed: sealed[:10],
        lambda sealed: b"",
        lambda sealed: b"\x02" + sealed[1:],
        lambda sealed: sealed[:1] + (202102).to_bytes(4, "big") + sealed[5:],
        lambda sealed: sealed[:20] + bytes([sealed[20] ^ 1]) + sealed[21:],
    ],
    ids=["cut", "cut short", "empty", "other format", "unknown key", "one bit"],
)
def test_a_spoiled_ciphertext_does_not_open(spoil) -> None:
    row = new_id()
    with pytest.raises(CannotOpenError):
        RING.open("residents.name", row, spoil(RING.seal("residents.name", row, "张三")))


def test_a_ciphertext_of_another_row_or_column_does_not_open() -> None:
    row = new_id()
    sealed = RING.seal("residents.name", row, "张三")
    with pytest.raises(CannotOpenError):
        RING.open("residents.name", new_id(), sealed)
    with pytest.raises(CannotOpenError):
        RING.open("residents.phone", row, sealed)


def test_keys_of_another_service_or_master_do_not_unwrap() -> None:
    from cryptography.exceptions import InvalidTag

    wrapped = RING.new_wrapped_key(202102)
    for other in (ring("testing"), ring(master=os.urandom(32))):
        with pytest.raises(InvalidTag):
            other.unwrap(202102, wrapped)


def test_the_blind_index_is_stable_and_of_its_kind() -> None:
    assert RING.index("phone", "13800000000") == RING.index("phone", "13800000000")
    assert RING.index("phone", "13800000000") != RING.index("document", "13800000000")
    assert len(RING.index("phone", "1")) == 16


def test_months_follow_each_other() -> None:
    assert (next_month(202101), next_month(202112)) == (202102, 202201)
