"""What is looked for: a person whom nobody could mistake, in every form in which a program might write them."""

import base64
import re
from dataclasses import dataclass
from urllib.parse import quote

from tests.registry.people import number

NAME = "欧阳鎏曌"
STREET = "鎏金弄曌字9173号"
ADDRESS = f"晋江市新塘街道沙塘社区{STREET}"
"""The mask leaves the community visible."""
PHONE, NEW_PHONE = "15497318642", "15486420973"
NUMBER, OTHER_NUMBER = number(873, "19740823"), number(874, "19740823")

VALUES = {
    "name": NAME,
    "street": STREET,
    "phone": PHONE,
    "new phone": NEW_PHONE,
    "number": NUMBER,
    "other number": OTHER_NUMBER,
}

ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "gb18030")


def forms(value: str) -> dict[str, bytes]:
    """A text in every form it is searched in, by the name of the form."""
    found = {encoding: value.encode(encoding) for encoding in ENCODINGS}
    for encoding in ("utf-8", "gb18030"):
        raw = value.encode(encoding)
        found[f"hex of {encoding}"] = raw.hex().encode()
        found[f"HEX of {encoding}"] = raw.hex().upper().encode()
        for shift in range(3):
            coded = _middle_of_base64(raw, shift)
            found[f"base64 of {encoding} at {shift}"] = coded
            found[f"base64url of {encoding} at {shift}"] = coded.translate(bytes.maketrans(b"+/", b"-_"))
    if not value.isascii():
        found["URL"] = quote(value).encode()
        found["url"] = re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quote(value)).encode()
        found["JSON"] = "".join(f"\\u{ord(one):04x}" if ord(one) > 127 else one for one in value).encode()
        found["JSON in capitals"] = "".join(f"\\u{ord(one):04X}" if ord(one) > 127 else one for one in value).encode()
    return found


def _middle_of_base64(raw: bytes, shift: int) -> bytes:
    """The characters that are the same whatever stands before and after, if `shift` bytes of a group stand before."""
    coded = base64.b64encode(bytes(shift) + raw)
    first = -(-shift * 4 // 3)
    last = (shift + len(raw)) * 8 // 6
    return coded[first:last]


@dataclass(frozen=True)
class Finding:
    """Where something was found, and what. Never the surroundings: they may hold more of it."""

    place: str
    what: str
    form: str


ALL = {(what, form): raw for what, value in VALUES.items() for form, raw in forms(value).items()}
LONGEST = max(map(len, ALL.values()))


def search(place: str, content: bytes) -> list[Finding]:
    """What of the person is in some content."""
    return [Finding(place, *which) for which, raw in ALL.items() if raw in content]
