"""How people prove who they are, and how guessing is made hopeless without shutting anybody out. Pure.

Nobody's account is ever locked. A wrong guess costs the *lane* it came through: a person and a network, or a person and
a device on which that person has signed in before. Strangers at a thousand addresses fill a thousand lanes of their own
and never the owner's. Where all strangers together must be bounded too (the six digits of an authenticator, once the
password is known), they share one lane; a known device and a recovery code do not go through it.

Guesses at many names from one network address share a lane too, which only strangers go through.

A code sent to a phone is guessed at by whoever opened a *challenge*, five times each. Guesses of others neither use up
one's tries nor void the code: they make it longer, so that no number of addresses is enough.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import IPv6Network
from typing import Literal, NamedTuple
from uuid import UUID

import pyotp

PASSWORD_CHARACTERS = range(12, 129)
"""NIST SP 800-63B-4, 3.1.1: length, not kinds of characters."""

LEAST_GUESSES = 10.0
"""Ten thousand million, as a power of ten. With five tries in a quarter of an hour nobody gets anywhere near."""

ZXCVBN_CHARACTERS = 72
SHORTEST_NAME = 2

STEP_SECONDS = 30
STEPS_EITHER_SIDE = 1
AUTHENTICATOR_DIGITS = 6

RECOVERY_CODES = 10
LINK_LIFETIME = timedelta(hours=24)

CODE_LIFETIME = timedelta(minutes=5)
LONG_CODE_LIFETIME = timedelta(minutes=30)
RESEND_AFTER = timedelta(seconds=60)
MOST_SENDS = 3
TRIES = 5
SHORT_DIGITS, LONG_DIGITS = 6, 10
GUESSES_BEFORE_LONGER = 20
"""Wrong guesses at a short code, by all together: 20 in 1,000,000."""
LONGER_FOR = timedelta(hours=24)

_NARROW = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
_COMMON = (
    *("fangxian", "jinjiang", "xintang", "quanzhou", "fujian", "350582", "350500", "yiqing", "fangkong", "hesuan"),
    *("woaini", "5201314", "zhongguo", "woaizhongguo", "zhangsan", "lisi", "wangwei", "nihao", "mima", "guanliyuan"),
    *("shequ", "jiedao", "zhihuibu", "weishengyuan", "yiyuan", "ganbu", "wodemima", "baobao", "xiaoming"),
)
"""Words that are likely here and are not in the lists of zxcvbn, which come from English-speaking countries."""


class Lane(NamedTuple):
    """Where guesses are counted: at most `most` within `window`."""

    key: bytes
    most: int
    window: timedelta
    sliding: bool = False
    """A sliding lane drains continuously, `most` a window. Any other is counted from its first guess on."""
    shared: bool = False
    """Whether others use it too: then a right answer does not clear it, and takes back its own count at most."""

    @property
    def step(self) -> timedelta:
        """How long a sliding lane takes to forget one guess."""
        return self.window / self.most


def password_lanes(who: str, network: str, device: str | None) -> Sequence[Lane]:
    """The lanes of a guess at a password; `device` is given if the person signed in on it before.

    A stranger also goes through the lane of the network, which counts wrong guesses at all names, also unknown ones.
    A known device does not: nobody behind the same address can shut it out.
    """
    if device is not None:
        return [_lane("password", who, "device", device, most=10, minutes=15)]
    own = _lane("password", who, "network", network, most=5, minutes=15)
    return [*_of_network("passwords", network, most=60, minutes=15), own]


def authenticator_lanes(who: UUID, network: str, device: str | None) -> Sequence[Lane]:
    """The lanes of a guess at an authenticator's digits, which only follows a right password."""
    if device is not None:
        return [_lane("authenticator", who, "device", device, most=10, minutes=15)]
    own = _lane("authenticator", who, "network", network, most=5, minutes=15)
    return [own, _lane("authenticator", who, "strangers", most=10, minutes=60, shared=True)]


def recovery_lanes(who: UUID, network: str) -> Sequence[Lane]:
    """The lane of a recovery code: 80 random bits need no more than that nobody floods us."""
    return [_lane("recovery", who, "network", network, most=10, minutes=15)]


def challenge_lanes(phone: bytes, network: str) -> Sequence[Lane]:
    """The lanes of asking for a code to be sent: the same phone from one place, and any phones from one place.

    Behind the one address of a mobile carrier or a hospital are thousands of people, so the second is wide. What it
    bounds is the cost of messages; what bounds the guessing is the length of the codes.
    """
    own = _lane("challenge", phone.hex(), network, most=5, minutes=10)
    return [own, *_of_network("challenges", network, most=1_000, minutes=10)]


def recognition_lanes(account: UUID) -> Sequence[Lane]:
    """The lane of saying which resident one is."""
    return [_lane("recognition", account, most=5, minutes=60)]


def assertion_lanes(client_id: str) -> Sequence[Lane]:
    """The lane of a machine's assertions: it bounds how many used ones are remembered until they expire."""
    return [_lane("assertion", client_id, most=600, minutes=10, sliding=True)]


def user_code_lanes(network: str) -> Sequence[Lane]:
    """The lane of wrong codes typed on the page that lets another device sign in."""
    return _of_network("user codes", network, most=20, minutes=15)


def device_lanes(network: str) -> Sequence[Lane]:
    """The lane of devices that ask to be let in."""
    return _of_network("devices", network, most=100, minutes=10)


WRONG_CODES = Lane(
    hashlib.sha256(b"wrong codes to phones").digest(), 200, timedelta(hours=1), sliding=True, shared=True
)
"""Wrong guesses at the codes of all phones together that were not followed by the right code.

While it is full, codes have ten digits: 200 guesses an hour at six digits are 0.005 accounts a day.
"""


def _of_network(what: str, network: str, *, most: int, minutes: int) -> Sequence[Lane]:
    """The lane of a network address over everything; for IPv6 also of the /48 around it, which is one customer's."""
    lanes = [_lane(what, network, most=most, minutes=minutes, sliding=True, shared=True)]
    try:
        wide = IPv6Network(network).supernet(new_prefix=48)
    except ValueError:
        return lanes
    return [*lanes, _lane(what, wide, most=most * 4, minutes=minutes, sliding=True, shared=True)]


def sliding_wait(drained_at: datetime, lane: Lane, now: datetime) -> int:
    """Seconds until a sliding lane takes a guess; 0 if it takes it now. `drained_at` is when it will be empty."""
    room = (now + lane.window - lane.step - max(drained_at, now)).total_seconds()
    return 0 if room >= 0 else max(1, int(-room) + 1)


def wait_seconds(count: int, since: datetime, lane: Lane, now: datetime) -> int:
    """Seconds until this lane takes another guess; 0 if it takes this one, the `count`-th since `since`."""
    return 0 if count <= lane.most else max(1, int((since + lane.window - now).total_seconds()) + 1)


def guesses_kept(guesses: int, sent_at: datetime, now: datetime) -> int:
    """How many wrong guesses count on for the next code: those of a day without one that was right."""
    return guesses if now < sent_at + LONGER_FOR else 0


def code_digits(guesses: int, longer_since: datetime | None, now: datetime, *, many_guess: bool = False) -> int:
    """How long the next code to a phone is. `many_guess`: somebody guesses at the codes of many phones."""
    is_guessed_at = guesses >= GUESSES_BEFORE_LONGER or (longer_since is not None and now < longer_since + LONGER_FOR)
    return LONG_DIGITS if is_guessed_at or many_guess else SHORT_DIGITS


def lifetime_of(digits: int) -> timedelta:
    """How long a code is good for: a long one needs no second message while it lasts."""
    return LONG_CODE_LIFETIME if digits == LONG_DIGITS else CODE_LIFETIME


def new_code(digits: int) -> str:
    """Random digits."""
    return f"{secrets.randbelow(10**digits):0{digits}d}"


def may_send_again(sent_at: datetime, sends: int, now: datetime) -> bool:
    """Whether a code that is still good is sent once more: not at every stranger's wish."""
    return sends < MOST_SENDS and now >= sent_at + RESEND_AFTER


def mobile_number(text: str) -> str | None:
    """A number that messages can be sent to: a mainland mobile as dialled at home, others with a +; None if not one."""
    digits = re.sub(r"[ \u3000().-]", "", text.translate(_NARROW))
    digits = re.sub(r"^(\+|00)?86(?=1[3-9][0-9]{9}$)", "", digits)
    digits = re.sub(r"^00", "+", digits)
    return digits if re.fullmatch(r"1[3-9][0-9]{9}|\+(?!86)[1-9][0-9]{6,14}", digits) else None


def is_login(text: str) -> bool:
    """Whether staff can have this name to sign in with."""
    return re.fullmatch(r"[a-z0-9][a-z0-9._-]{2,49}", text) is not None


def masked(phone: str) -> str:
    """A number as a screen or a log may show it: `138****5678`."""
    return f"{phone[:3]}****{phone[-4:]}"


Fault = Literal["short", "long", "common", "login", "name"]


def password_fault(password: str, login: str, name: str) -> Fault | None:
    """What is wrong with a new password (NIST SP 800-63B-4, 3.1.1.2: length, and not one that is soon guessed)."""
    if len(password) < PASSWORD_CHARACTERS.start:
        return "short"
    if len(password) >= PASSWORD_CHARACTERS.stop:
        return "long"
    plain = _letters(password)
    if len(_letters(login)) >= SHORTEST_NAME and _letters(login) in plain:
        return "login"
    if len(_letters(name)) >= SHORTEST_NAME and _letters(name) in plain:
        return "name"
    return "common" if _guesses(password, [login, *re.split(r"[._-]", login), name]) < LEAST_GUESSES else None


def _letters(text: str) -> str:
    """A text without case, and without what is put between its letters."""
    return "".join(letter for letter in text.lower() if letter.isalnum())


def _guesses(password: str, known: Sequence[str]) -> float:
    """How many guesses a password takes that somebody makes who tries the likely ones first, as a power of ten."""
    from zxcvbn import zxcvbn  # its lists take 13 MB: only where a password is set

    found = zxcvbn(password[:ZXCVBN_CHARACTERS], user_inputs=[*filter(None, known), *_COMMON])
    return float(found["guesses_log10"])


def authenticator_step(secret: str, code: str, now: datetime, after: int) -> int | None:
    """The step (RFC 6238) that digits are of, one to either side of now; None if wrong or not after the last used."""
    generator = pyotp.TOTP(secret, digits=AUTHENTICATOR_DIGITS, interval=STEP_SECONDS)
    here = int(now.timestamp()) // STEP_SECONDS
    given = "".join(code.split())
    for step in range(here - STEPS_EITHER_SIDE, here + STEPS_EITHER_SIDE + 1):
        if step > after and hmac.compare_digest(
            generator.generate_otp(step).encode(), given.encode("utf-8", "surrogatepass")
        ):
            return step
    return None


def new_recovery_codes() -> list[str]:
    """Ten codes of 80 bits, as they are written down."""
    raw = (pyotp.random_base32(32)[:16].lower() for _ in range(RECOVERY_CODES))
    return ["-".join(code[at : at + 4] for at in range(0, 16, 4)) for code in raw]


def is_recovery_code(text: str) -> bool:
    """Whether a text has the form of one, rather than of an authenticator's digits."""
    return len(plain_recovery_code(text)) == 16


def plain_recovery_code(text: str) -> str:
    """A recovery code without what people add."""
    return "".join(text.split()).replace("-", "").lower()


def new_secret() -> str:
    """A text of 256 random bits."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """How a random secret is kept. It is too long to guess, so that a plain hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _lane(*parts: object, most: int, minutes: int, sliding: bool = False, shared: bool = False) -> Lane:
    name = "\x1f".join(map(str, parts))
    key = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return Lane(key, most, timedelta(minutes=minutes), sliding, shared)
