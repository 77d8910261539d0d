"""The code a person shows: genuine, of this minute, and nobody else's; read with and without a network."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import crc_hqx
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any
from uuid import UUID

import pytest
import segno
from hypothesis import example, given
from hypothesis import strategies as st

from services.gateway.codes.policy import Colour
from services.gateway.tokens.rules import Key, Subject, issue, secrets_of, whose_online
from shared.crypto.code_tokens import LIVE_SECONDS, PREFIX, SKEW_SECONDS, BadToken, Kind
from tests.gateway import device
from tests.gateway.device import publics_of

OLD, NEW, STRANGER = (Key(bytes([n]) * 32) for n in (1, 2, 3))
SECRETS, PUBLICS = secrets_of([OLD, NEW]), publics_of([OLD.public, NEW.public])
MINUTE = datetime(2021, 2, 1, 4, 0, tzinfo=UTC)
NOW = MINUTE + timedelta(seconds=40)
CHILD, MOTHER = UUID(int=0x0177_7777_7777_7777_8777_7777_7777_7777), UUID(int=0x0188)
SUBJECT = Subject(CHILD, Colour.RED, MINUTE + timedelta(days=3), Colour.YELLOW, MINUTE - timedelta(days=1))
LIVE = issue(SUBJECT, NEW, NOW)
PROXY = issue(SUBJECT, NEW, NOW, shown_by=MOTHER)
VECTORS = json.loads(resources.files("services.gateway.tokens").joinpath("vectors.json").read_text("utf-8"))

READERS = {
    "online": lambda text, now: whose_online(text, SECRETS, now),
    "offline": lambda text, now: device.read(text, PUBLICS, now),
}
readers = pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
texts = pytest.mark.parametrize("text", [LIVE, PROXY], ids=["live", "proxy"])


def fault_of(read: Any, text: str, now: datetime = NOW) -> str:
    with pytest.raises(BadToken) as caught:
        read(text, now)
    return caught.value.fault


def opened(text: str) -> bytearray:
    coded = text.removeprefix(PREFIX)
    return bytearray(urlsafe_b64decode(coded + "=" * (-len(coded) % 4)))


def closed(raw: bytes) -> str:
    return PREFIX + urlsafe_b64encode(raw).rstrip(b"=").decode()


def mended(raw: bytearray) -> str:
    """The text of changed bytes with their check put right, as a forger would."""
    raw[-2:] = crc_hqx(bytes(raw[:-2]), 0xFFFF).to_bytes(2, "big")
    return closed(raw)


def test_a_live_code_says_what_was_put_in() -> None:
    shown = device.read(LIVE, PUBLICS, NOW)
    assert (shown.kind, shown.resident_id, shown.shown_by, shown.issued_at) == (Kind.LIVE, CHILD, None, MINUTE)
    assert (shown.resident_id, *shown[4:8]) == tuple(SUBJECT)
    assert shown.key_id == NEW.id
    assert whose_online(LIVE, SECRETS, NOW) == (CHILD, None)


def test_a_proxy_says_who_shows() -> None:
    shown = device.read(PROXY, PUBLICS, NOW)
    assert (shown.kind, shown.resident_id, shown.shown_by, shown.colour) == (Kind.PROXY, CHILD, MOTHER, Colour.RED)
    assert whose_online(PROXY, SECRETS, NOW) == (CHILD, MOTHER)


@readers
def test_a_live_code_is_of_its_minute(read: Any) -> None:
    assert read(LIVE, MINUTE - timedelta(seconds=SKEW_SECONDS)).resident_id == CHILD
    assert fault_of(read, LIVE, MINUTE - timedelta(seconds=SKEW_SECONDS + 1)) == "not_yet"
    assert read(LIVE, MINUTE + timedelta(seconds=LIVE_SECONDS - 1)).resident_id == CHILD
    assert fault_of(read, LIVE, MINUTE + timedelta(seconds=LIVE_SECONDS)) == "expired"


def test_it_changes_every_minute_and_with_every_state() -> None:
    assert issue(SUBJECT, NEW, MINUTE) == LIVE
    assert issue(SUBJECT, NEW, MINUTE + timedelta(seconds=59.9)) == LIVE
    assert issue(SUBJECT, NEW, MINUTE + timedelta(seconds=60)) != LIVE
    assert issue(SUBJECT._replace(colour=Colour.GREEN), NEW, NOW) != LIVE


@readers
def test_keys_rotate_without_a_gap(read: Any) -> None:
    for key in (OLD, NEW):
        assert read(issue(SUBJECT, key, NOW), NOW).resident_id == CHILD
    assert fault_of(read, issue(SUBJECT, STRANGER, NOW)) == "unknown_key"


@readers
@texts
def test_any_bit_changed_is_refused(read: Any, text: str) -> None:
    raw = opened(text)
    for bit in range(len(raw) * 8):
        raw[bit // 8] ^= 1 << bit % 8
        assert fault_of(read, closed(raw)) == "malformed"
        raw[bit // 8] ^= 1 << bit % 8
    assert closed(raw) == text


@readers
@texts
def test_a_forger_who_mends_the_check_changes_nothing_that_is_said(read: Any, text: str) -> None:
    raw = opened(text)
    said = len(raw) - 64 - 2  # all but the signature and the check
    for bit in range(said * 8):
        raw[bit // 8] ^= 1 << bit % 8
        assert fault_of(read, mended(raw)) in ("forged", "unknown_key", "malformed")
        raw[bit // 8] ^= 1 << bit % 8


@texts
def test_offline_every_bit_of_the_signature_counts(text: str) -> None:
    raw = opened(text)
    for bit in range((len(raw) - 66) * 8, (len(raw) - 2) * 8):
        raw[bit // 8] ^= 1 << bit % 8
        assert fault_of(READERS["offline"], mended(raw)) == "forged"
        raw[bit // 8] ^= 1 << bit % 8


@readers
def test_a_seal_or_signature_cannot_be_moved_to_another_person(read: Any) -> None:
    other = opened(issue(SUBJECT._replace(resident_id=MOTHER), NEW, NOW))
    other[5:21] = CHILD.bytes
    assert fault_of(read, mended(other)) == "forged"


@readers
def test_the_signature_under_another_known_key_is_forged(read: Any) -> None:
    raw = opened(LIVE)
    raw[:4] = OLD.id
    assert fault_of(read, mended(raw)) == "forged"


@readers
@given(text=st.text(max_size=250) | st.text(max_size=190).map(PREFIX.__add__))
@example(text="")
@example(text=PREFIX)
@example(text=LIVE + "=")
@example(text=LIVE[:-1])
@example(text=LIVE.lower())
@example(text=LIVE.replace("FX1.", "FX2."))
@example(text=LIVE[:30] + "\n" + LIVE[30:])
@example(text=LIVE + "AAAA" * 20)
@example(text=PROXY[:-1] + chr(ord(PROXY[-1]) + 1))  # the last character's spare bits
@example(text=LIVE[:60] + "\ud800" + LIVE[61:])
def test_what_is_no_code_is_malformed(read: Any, text: str) -> None:
    assert fault_of(read, text) == "malformed"


@given(
    resident=st.uuids(),
    shown_by=st.none() | st.uuids(),
    colour=st.sampled_from(Colour),
    after=st.none() | st.sampled_from(Colour),
    hours=st.none() | st.integers(1, 2000),
    negative=st.none() | st.integers(1, 10**7),
    now=st.integers(16 * 10**11, 40 * 10**11).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC)),
)
def test_both_readers_agree(
    resident: UUID,
    shown_by: UUID | None,
    colour: Colour,
    after: Colour | None,
    hours: int | None,
    negative: int | None,
    now: datetime,
) -> None:
    whole = now.replace(microsecond=0)
    subject = Subject(
        resident,
        colour,
        None if hours is None else whole + timedelta(hours=hours),
        after,
        None if negative is None else whole - timedelta(seconds=negative),
    )
    text = issue(subject, NEW, now, shown_by=shown_by)
    offline = device.read(text, PUBLICS, now)
    assert (offline.resident_id, *offline[4:8]) == tuple(subject)
    assert whose_online(text, SECRETS, now) == (offline.resident_id, offline.shown_by) == (resident, shown_by)


@pytest.mark.parametrize(("text", "level"), [(LIVE, "m"), (PROXY, "l")])
def test_it_fits_a_qr_of_version_8(text: str, level: str) -> None:
    assert segno.make(text, micro=False, error=level, boost_error=False).version <= 8


def test_a_key_is_32_bytes() -> None:
    with pytest.raises(ValueError, match="32"):
        Key(b"short")


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=[vector["title"] for vector in VECTORS["vectors"]])
def test_published_vectors(vector: dict[str, Any]) -> None:
    """What a device maker tests an offline reader with."""
    publics = publics_of(bytes.fromhex(key) for key in VECTORS["public_keys"])
    now = datetime.fromisoformat(vector["now"])
    if "fault" in vector:
        with pytest.raises(BadToken, match=vector["fault"]):
            device.read(vector["text"], publics, now)
        return
    shown = device.read(vector["text"], publics, now)
    assert {
        "kind": shown.kind.name.lower(),
        "resident_id": str(shown.resident_id),
        "shown_by": shown.shown_by and str(shown.shown_by),
        "issued_at": shown.issued_at.isoformat(),
        "colour": shown.colour and shown.colour.label,
        "until": shown.until and shown.until.isoformat(),
        "colour_after": shown.colour_after and shown.colour_after.label,
        "last_negative": shown.last_negative and shown.last_negative.isoformat(),
    } == vector["says"]


@texts
@given(minutes=st.integers(-3, 5), place=st.none() | st.integers(0, 173), character=st.sampled_from("AB-_+9"))
def test_the_door_reads_of_a_code_what_everybody_reads(
    text: str, minutes: int, place: int | None, character: str
) -> None:
    """Whose it is, or the same fault, at any time and however it was changed."""
    if place is not None:
        text = text[:place] + character + text[place + 1 :]

    def outcome(read: Any, keys: Any) -> Any:
        try:
            found = read(text, keys, NOW + timedelta(minutes=minutes))
        except BadToken as bad:
            return bad.fault
        return found.resident_id, found.shown_by

    assert outcome(whose_online, SECRETS) == outcome(device.read, PUBLICS)
