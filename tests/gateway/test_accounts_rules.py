"""How guessing is made hopeless, as rules: published vectors, lanes, lengths of codes."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pyotp
import pytest

from services.gateway.accounts import rules

NOW = datetime(2026, 1, 20, 8, 30, tzinfo=UTC)

RFC_6238 = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]
"""RFC 6238, appendix B, SHA-1: eight digits, of which authenticators show the last six."""

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.mark.parametrize(("seconds", "digits"), RFC_6238)
def test_digits_are_those_of_the_standard(seconds: int, digits: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert rules.authenticator_step(SECRET, digits[2:], at, 0) == seconds // 30
    assert rules.authenticator_step(SECRET, f"{digits[2:5]} {digits[5:]}", at, 0) == seconds // 30


@pytest.mark.parametrize(("seconds", "good"), [(-31, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_clock_may_be_a_step_off(seconds: int, good: bool) -> None:
    at = datetime.fromtimestamp(1111111110, UTC)
    step = rules.authenticator_step(SECRET, pyotp.TOTP(SECRET).at(at), at + timedelta(seconds=seconds), 0)
    assert (step is not None) is good


def test_digits_are_good_once() -> None:
    at = datetime.fromtimestamp(1111111111, UTC)
    step = rules.authenticator_step(SECRET, "050471", at, 0)
    assert step is not None
    assert rules.authenticator_step(SECRET, "050471", at, step) is None


@pytest.mark.parametrize("code", ["", "05047", "0504711", "050472", "abcdef", "０５０４７１", "\ud800"])
def test_wrong_digits(code: str) -> None:
    assert rules.authenticator_step(SECRET, code, datetime.fromtimestamp(1111111111, UTC), 0) is None


def test_strangers_fill_lanes_of_their_own() -> None:
    who = uuid4()
    for lanes in (rules.password_lanes, rules.authenticator_lanes):
        owner = {lane.key for lane in lanes(who, "203.0.113.7", "device")}  # type: ignore[operator]
        strangers = {lane.key for n in range(1_000) for lane in lanes(who, f"198.51.{n // 250}.{n % 250}", None)}  # type: ignore[operator]
        assert owner.isdisjoint(strangers)
        assert len(strangers) >= 1_000


def test_a_lane_opens_again() -> None:
    *shared, lane = rules.password_lanes("x", "203.0.113.7", None)
    assert [one.shared for one in (*shared, lane)] == [True, False]
    assert [rules.wait_seconds(count, NOW, lane, NOW) for count in (1, 5, 6)] == [0, 0, 901]
    assert rules.wait_seconds(6, NOW, lane, NOW + timedelta(minutes=14, seconds=59)) == 2


def test_a_sliding_lane_drains_and_is_never_more_than_full() -> None:
    lane = rules.challenge_lanes(b"x", "203.0.113.7")[1]
    full = NOW + lane.window
    assert rules.sliding_wait(NOW, lane, NOW) == 0
    assert rules.sliding_wait(full, lane, NOW) == 1
    assert rules.sliding_wait(full, lane, NOW + lane.step) == 0
    assert rules.sliding_wait(full + timedelta(minutes=1), lane, NOW) == 61


def test_an_ipv6_customer_has_one_lane_however_many_networks_it_has() -> None:
    lanes = [rules.password_lanes("x", f"2001:db8:1:{n:x}::/64", None) for n in range(100)]
    assert len({found[1].key for found in lanes}) == 1
    assert len({found[0].key for found in lanes}) == 100
    assert rules.password_lanes("x", "2001:db8:2::/64", None)[1].key != lanes[0][1].key


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("short", "short"),
        ("x" * 129, "long"),
        ("123456789012", "common"),
        ("password123456", "common"),
        ("1qaz2wsx3edc", "common"),
        ("qwertyuiop12", "common"),
        ("woaini520131", "common"),
        ("jinjiang350582", "common"),
        ("fangxian2021!", "common"),
        ("aaaaaaaaaaaaaaaa", "common"),
        ("officer.officer", "common"),
        ("my Lin-Officer 1", "login"),
        ("linofficer2026x", "login"),
        ("今天林静静一个人去走长城了呀", "name"),
        ("沿着城墙走了很久很久的路", None),
        ("a long walk along the wall", None),
        ("Tr7!pq-veLLum9", None),
    ],
)
def test_a_password_is_long_and_not_soon_guessed(password: str, fault: str | None) -> None:
    assert rules.password_fault(password, "lin.officer", "林静静") == fault


@pytest.mark.parametrize(
    ("guesses", "longer_since", "digits"),
    [
        (0, None, 6),
        (19, None, 6),
        (20, None, 10),
        (0, NOW - timedelta(hours=23), 10),
        (0, NOW - timedelta(hours=24), 6),
    ],
    ids=["none", "few", "many", "yesterday's", "long ago"],
)
def test_a_code_that_is_guessed_at_grows(guesses: int, longer_since: datetime | None, digits: int) -> None:
    assert rules.code_digits(guesses, longer_since, NOW) == digits
    assert rules.code_digits(guesses, longer_since, NOW, many_guess=True) == 10
    assert len(rules.new_code(digits)) == digits


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("13800005678", "13800005678"),
        ("+86 138-0000-5678", "13800005678"),
        ("008613800005678", "13800005678"),
        ("１３８００００５６７８", "13800005678"),
        ("+852 9123 4567", "+85291234567"),
        ("0085291234567", "+85291234567"),
        ("0595-85661234", None),
        ("12800005678", None),
        ("+86 0595 85661234", None),
        ("110", None),
        ("", None),
        ("13800005678x", None),
        ("1380000567٨", None),
    ],
)
def test_where_a_message_can_be_sent(text: str, number: str | None) -> None:
    assert rules.mobile_number(text) == number


def test_recovery_codes_are_long_and_known_by_their_form() -> None:
    codes = rules.new_recovery_codes()
    assert len(set(codes)) == 10
    assert all(rules.is_recovery_code(code) and rules.is_recovery_code(f" {code.upper()} ") for code in codes)
    assert rules.plain_recovery_code(f" {codes[0].upper()} ") == codes[0].replace("-", "")
    assert not rules.is_recovery_code("123456")
