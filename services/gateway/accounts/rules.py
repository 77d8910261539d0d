"""Rules of authentication, and limits on guessing that never lock out the owner. Pure functions.

An account is never locked. A wrong guess counts in a *lane*: a person and a network, or a person and a device on which
this person signed in before. An attacker with a thousand addresses fills a thousand lanes, but never the owner's. The
six digits of an authenticator, after a correct password, also need a common limit for all unknown devices: they share
one lane. Known devices and recovery codes do not use it.

Guesses from one network address at many names share a lane too. Known devices do not use it.

Each *challenge* of a phone code allows five tries. Guesses in other challenges do not use up these tries and do not
invalidate the code. They make the next code longer, so that more addresses do not help an attacker.
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
"""NIST SP 800-63B-4, 3.1.1: the length matters, not the kinds of characters."""

LEAST_GUESSES = 10.0
"""Minimum strength: 10^10 guesses. Five tries in 15 minutes cannot come near it."""

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
"""Wrong guesses at a short code from all challenges together: a chance of 20 in 1,000,000."""
LONGER_FOR = timedelta(hours=24)

_NARROW = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
_COMMON = (
    *("fangxian", "jinjiang", "xintang", "quanzhou", "fujian", "350582", "350500", "yiqing", "fangkong", "hesuan"),
    *("woaini", "5201314", "zhongguo", "woaizhongguo", "zhangsan", "lisi", "wangwei", "nihao", "mima", "guanliyuan"),
    *("shequ", "jiedao", "zhihuibu", "weishengyuan", "yiyuan", "ganbu", "wodemima", "baobao", "xiaoming"),
)
"""Words that are likely here but missing in the lists of zxcvbn, which come from English-speaking countries."""


class Lane(NamedTuple):
    """A counter of guesses: at most `most` within `window`."""

    key: bytes
    most: int
    window: timedelta
    sliding: bool = False
    """A sliding lane empties continuously, `most` guesses per window. Other windows begin at their first guess."""
    shared: bool = False
    """Whether other people use it too. Then a correct guess does not clear it, but only takes back its own count."""

    @property
    def step(self) -> timedelta:
        """The time after which a sliding lane accepts one more guess."""
        return self.window / self.most


def password_lanes(who: str, network: str, device: str | None) -> Sequence[Lane]:
    """Return the lanes of a password guess. `device` is set if the person signed in on it before.

    An unknown device also uses the lane of its network, which counts wrong guesses at all names, with unknown names.
    A known device does not, so that others behind the same address cannot lock it out.
    """
    if device is not None:
        return [_lane("password", who, "device", device, most=10, minutes=15)]
    own = _lane("password", who, "network", network, most=5, minutes=15)
    return [*_of_network("passwords", network, most=60, minutes=15), own]


def authenticator_lanes(who: UUID, network: str, device: str | None) -> Sequence[Lane]:
    """Return the lanes of a guess at an authenticator's digits. The password was correct before."""
    if device is not None:
        return [_lane("authenticator", who, "device", device, most=10, minutes=15)]
    own = _lane("authenticator", who, "network", network, most=5, minutes=15)
    return [own, _lane("authenticator", who, "strangers", most=10, minutes=60, shared=True)]


def recovery_lanes(who: UUID, network: str) -> Sequence[Lane]:
    """Return the lane of a recovery code. It has 80 random bits, so the limit only protects against overload."""
    return [_lane("recovery", who, "network", network, most=10, minutes=15)]


def challenge_lanes(phone: bytes, network: str) -> Sequence[Lane]:
    """Return the lanes of a request for a phone code: one phone from one network, and all phones from one network.

    The second is wide, because one address of a mobile carrier or a hospital can be thousands of people. It limits
    the cost of messages. The length of the codes limits guessing.
    """
    own = _lane("challenge", phone.hex(), network, most=5, minutes=10)
    return [own, *_of_network("challenges", network, most=1_000, minutes=10)]


def recognition_lanes(account: UUID) -> Sequence[Lane]:
    """Return the lane of linking an account to a resident."""
    return [_lane("recognition", account, most=5, minutes=60)]


def assertion_lanes(client_id: str) -> Sequence[Lane]:
    """Return the lane of a client's assertions. It limits how many used assertions are stored until they expire."""
    return [_lane("assertion", client_id, most=600, minutes=10, sliding=True)]


def user_code_lanes(network: str) -> Sequence[Lane]:
    """Return the lanes of wrong user codes, typed on the page that lets another device sign in."""
    return _of_network("user codes", network, most=20, minutes=15)


def device_lanes(network: str) -> Sequence[Lane]:
    """Return the lanes of device authorization requests."""
    return _of_network("devices", network, most=100, minutes=10)


WRONG_CODES = Lane(
    hashlib.sha256(b"wrong codes to phones").digest(), 200, timedelta(hours=1), sliding=True, shared=True
)
"""Wrong guesses at phone codes, of all phones together, without those followed by the correct code.

While this lane is full, codes have ten digits. Below that, 200 guesses an hour at six digits open 0.005 accounts a day.
"""


def _of_network(what: str, network: str, *, most: int, minutes: int) -> Sequence[Lane]:
    """Return the lane of a network address, and for IPv6 also of its /48, because one customer gets a whole /48."""
    lanes = [_lane(what, network, most=most, minutes=minutes, sliding=True, shared=True)]
    try:
        wide = IPv6Network(network).supernet(new_prefix=48)
    except ValueError:
        return lanes
    return [*lanes, _lane(what, wide, most=most * 4, minutes=minutes, sliding=True, shared=True)]


def sliding_wait(drained_at: datetime, lane: Lane, now: datetime) -> int:
    """Return the seconds until a sliding lane accepts a guess; 0 if now. `drained_at` is when it will be empty."""
    room = (now + lane.window - lane.step - max(drained_at, now)).total_seconds()
    return 0 if room >= 0 else max(1, int(-room) + 1)


def wait_seconds(count: int, since: datetime, lane: Lane, now: datetime) -> int:
    """Return the seconds until a lane accepts another guess; 0 if it accepts this one, the `count`-th since `since`."""
    return 0 if count <= lane.most else max(1, int((since + lane.window - now).total_seconds()) + 1)


def guesses_kept(guesses: int, sent_at: datetime, now: datetime) -> int:
    """Return the wrong guesses that count for the next code. They expire a day after the last code was sent."""
    return guesses if now < sent_at + LONGER_FOR else 0


def code_digits(guesses: int, longer_since: datetime | None, now: datetime, *, many_guess: bool = False) -> int:
    """Return the number of digits of the next phone code. `many_guess`: codes of many phones are being guessed."""
    is_guessed_at = guesses >= GUESSES_BEFORE_LONGER or (longer_since is not None and now < longer_since + LONGER_FOR)
    return LONG_DIGITS if is_guessed_at or many_guess else SHORT_DIGITS


def lifetime_of(digits: int) -> timedelta:
    """Return the lifetime of a code. A long code is valid longer."""
    return LONG_CODE_LIFETIME if digits == LONG_DIGITS else CODE_LIFETIME


def new_code(digits: int) -> str:
    """Return random digits."""
    return f"{secrets.randbelow(10**digits):0{digits}d}"


def may_send_again(sent_at: datetime, sends: int, now: datetime) -> bool:
    """Whether a valid code may be sent again. The limit stops others from sending many messages to a phone."""
    return sends < MOST_SENDS and now >= sent_at + RESEND_AFTER


def mobile_number(text: str) -> str | None:
    """Return a normalised mobile number: mainland numbers in national form, others with a +. None if not a mobile."""
    digits = re.sub(r"[ \u3000().-]", "", text.translate(_NARROW))
    digits = re.sub(r"^(\+|00)?86(?=1[3-9][0-9]{9}$)", "", digits)
    digits = re.sub(r"^00", "+", digits)
    return digits if re.fullmatch(r"1[3-9][0-9]{9}|\+(?!86)[1-9][0-9]{6,14}", digits) else None


def is_login(text: str) -> bool:
    """Whether a text can be the sign-in name of a member of staff."""
    return re.fullmatch(r"[a-z0-9][a-z0-9._-]{2,49}", text) is not None


def masked(phone: str) -> str:
    """Return a phone number as screens and logs may show it: `138****5678`."""
    return f"{phone[:3]}****{phone[-4:]}"


Fault = Literal["short", "long", "common", "login", "name"]


def password_fault(password: str, login: str, name: str) -> Fault | None:
    """Return what is wrong with a new password (NIST SP 800-63B-4, 3.1.1.2: length, and not easy to guess)."""
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
    """Return the letters and digits of a text in lower case."""
    return "".join(letter for letter in text.lower() if letter.isalnum())


def _guesses(password: str, known: Sequence[str]) -> float:
    """Return log10 of the guesses that an attacker needs who tries likely passwords first."""
    from zxcvbn import zxcvbn  # imported here, so that only a process that sets a password loads its 13 MB

    estimate = zxcvbn(password[:ZXCVBN_CHARACTERS], user_inputs=[*filter(None, known), *_COMMON])
    return float(estimate["guesses_log10"])


def authenticator_step(secret: str, code: str, now: datetime, after: int) -> int | None:
    """Return the time step (RFC 6238) of the digits, at most one step from now. None if wrong or already used.

    `after` is the last used step.
    """
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
    """Return ten codes of 80 bits, formatted for people."""
    raw = (pyotp.random_base32(32)[:16].lower() for _ in range(RECOVERY_CODES))
    return ["-".join(code[at : at + 4] for at in range(0, 16, 4)) for code in raw]


def is_recovery_code(text: str) -> bool:
    """Whether a text has the form of a recovery code, not of an authenticator's digits."""
    return len(plain_recovery_code(text)) == 16


def plain_recovery_code(text: str) -> str:
    """Return a recovery code without spaces, hyphens and capitals."""
    return "".join(text.split()).replace("-", "").lower()


def new_secret() -> str:
    """Return a text with 256 random bits."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """Return the stored form of a random secret. A plain hash is enough, because the secret is too long to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _lane(*parts: object, most: int, minutes: int, sliding: bool = False, shared: bool = False) -> Lane:
    name = "\x1f".join(map(str, parts))
    key = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return Lane(key, most, timedelta(minutes=minutes), sliding, shared)
