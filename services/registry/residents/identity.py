"""Pure functions for identity documents, ID numbers, phones, ages and masks.

Resident ID numbers follow GB 11643: six address digits, eight digits of the birth date, three of sequence (odd male,
even female), one check digit (ISO 7064 MOD 11-2). Province digits are checked against GB/T 2260. County digits are not
checked, because a number always keeps the code of the county that issued it.

**Numbers for demonstrations.** A number with the province digits `00` can belong to nobody: GB/T 2260 numbers the
provinces from 11, with the greater areas 1 to 8 as first digit, and 9 is reserved for foreigners' permanent residence.
The rest of such a number is valid (length, birth date, sequence, check digit), its other four address digits are free,
and it is accepted only if `demonstration` is set.
"""

import enum
import re
from datetime import date
from functools import lru_cache
from operator import mul
from typing import Literal, NamedTuple, TypeAlias, get_args

Sex: TypeAlias = Literal["male", "female"]

Reason: TypeAlias = Literal[
    "document_type_unknown",
    "document_number_form",
    "id_characters",
    "id_length",
    "id_of_fifteen",
    "id_check_digit",
    "id_province",
    "id_demonstration",
    "id_birth_date",
    "id_birth_date_in_future",
    "id_birth_date_too_old",
    "phone_form",
    "phone_several",
]

REASONS: tuple[Reason, ...] = get_args(Reason)


class IdentityFault(ValueError):  # noqa: N818 - a fault of what was entered, not of the program
    """A fault of a document or a phone. `reason` is its code and never contains the number."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class DocumentType(enum.IntEnum):
    """The document types, with the codes that gate vendors publish."""

    RESIDENT_ID = 10
    """Includes the residence permits of people from Hong Kong, Macao and Taiwan, whose numbers have the same form."""
    HK_MACAO_PERMIT = 14
    TAIWAN_PERMIT = 15
    PASSPORT = 20
    FOREIGN_RESIDENT = 34
    OTHER = 99


_AREAS = ("1 12345", "2 123", "3 1234567", "4 123456", "5 01234", "6 12345", "7 1", "8 123")
PROVINCES = frozenset(area[0] + province for area in _AREAS for province in area[2:])
"""GB/T 2260, and 83, which the residence permits of people from Taiwan have."""

DEMONSTRATION_PROVINCE = "00"
OLDEST_YEARS = 130

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_WEIGHT_OF_ZEROS = ord("0") * sum(_WEIGHTS)
_CHECK_DIGITS = "10X98765432"
_DIGITS_THEN_X = re.compile(r"[0-9]*X?")
_NARROW = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}

_FORMS: dict[DocumentType, re.Pattern[str]] = {
    DocumentType.HK_MACAO_PERMIT: re.compile(r"[HM][0-9]{8}(?:[0-9]{2})?"),
    DocumentType.TAIWAN_PERMIT: re.compile(r"[0-9]{8}|[0-9]{10}[A-Z]?"),
    DocumentType.PASSPORT: re.compile(r"[A-Z0-9]{5,17}"),
    DocumentType.FOREIGN_RESIDENT: re.compile(r"[A-Z]{3}[0-9]{12}|9[0-9]{16}[0-9X]"),
    DocumentType.OTHER: re.compile(r"[A-Z0-9][A-Z0-9()/-]{2,39}"),
}


class IdFacts(NamedTuple):
    """The facts contained in a resident ID number."""

    number: str
    birth_date: date
    sex: Sex
    demonstration: bool


def _narrow(text: str) -> str:
    """Convert the full-width digits, letters and signs of Chinese keyboards to ASCII."""
    return text if text.isascii() else text.translate(_NARROW)


def check_digit(first17: str) -> str:
    """Return the eighteenth character for the first seventeen digits (GB 11643, ISO 7064 MOD 11-2)."""
    return _CHECK_DIGITS[(sum(map(mul, first17.encode("ascii"), _WEIGHTS)) - _WEIGHT_OF_ZEROS) % 11]


def check_resident_id(number: str, *, today: date, demonstration: bool) -> IdFacts:
    """Check a resident ID number and return its facts. Raises `IdentityFault` with the reason if it is invalid.

    Full-width digits and a small x are normalised. A space is refused, because it indicates a wrong paste.
    """
    number = _narrow(number).upper()
    if not _DIGITS_THEN_X.fullmatch(number):
        raise IdentityFault("id_characters")
    if len(number) != 18:
        raise IdentityFault("id_of_fifteen" if len(number) == 15 and number.isdigit() else "id_length")
    if check_digit(number[:17]) != number[17]:
        raise IdentityFault("id_check_digit")
    reserved = number.startswith(DEMONSTRATION_PROVINCE)
    if reserved and not demonstration:
        raise IdentityFault("id_demonstration")
    if not reserved and number[:2] not in PROVINCES:
        raise IdentityFault("id_province")
    return IdFacts(number, _birth_date(number[6:14], today), "male" if int(number[16]) % 2 else "female", reserved)


def _birth_date(digits: str, today: date) -> date:
    try:
        born = date.fromisoformat(digits)
    except ValueError:
        raise IdentityFault("id_birth_date") from None
    if born > today:
        raise IdentityFault("id_birth_date_in_future")
    if is_too_old(born, today):
        raise IdentityFault("id_birth_date_too_old")
    return born


def is_too_old(born: date, today: date) -> bool:
    """Return whether a person with this birth date would be older than any living person."""
    return born.year + OLDEST_YEARS <= today.year and birthday(born, OLDEST_YEARS) < today


@lru_cache(maxsize=64)
def document_type(code: str) -> DocumentType:
    """Return the document type of a code. An empty code means a resident ID."""
    try:
        return DocumentType(int(_narrow(code))) if code else DocumentType.RESIDENT_ID
    except ValueError:
        raise IdentityFault("document_type_unknown") from None


def check_document(kind: DocumentType, number: str, *, today: date, demonstration: bool) -> tuple[str, IdFacts | None]:
    """Return the normalised number of a document, and the facts in it, which only a resident ID has.

    The other types are checked by form only, because their issuers publish no reliable check digit.
    """
    if kind is DocumentType.RESIDENT_ID:
        facts = check_resident_id(number, today=today, demonstration=demonstration)
        return facts.number, facts
    number = _narrow(number)
    # Only ASCII is changed to upper case, because `upper` turns some foreign letters into ASCII letters.
    number = number.upper() if number.isascii() else number
    if not _FORMS[kind].fullmatch(number):
        raise IdentityFault("document_number_form")
    return number, None


_BETWEEN_PHONES = re.compile(r"[/／、,，;；|\\\n和或及\s]+")
_PHONE_NOISE = re.compile(r"[ \u3000()（）.-]")
_MAINLAND = re.compile(
    r"1[3-9][0-9]{9}"  # a mobile
    r"|0(?:10|2[0-9])[2-8][0-9]{6,7}|0[3-9][0-9]{2}[2-8][0-9]{6,7}"  # an area code and seven or eight digits
)
_ABROAD = re.compile(r"\+852[2-9][0-9]{7}|\+853[268][0-9]{7}|\+886[1-9][0-9]{7,8}|\+(?!86|852|853|886)[1-9][0-9]{6,14}")


def normalise_phone(phone: str) -> str:
    """Normalise a phone number: mainland numbers in their domestic form, all others as E.164 with a +.

    Accepted: `+86 138-0000-5678`, `0086…`, `0595-85661234`, `+852 9123 4567`. Extensions and service numbers are
    refused.
    """
    if _MAINLAND.fullmatch(phone):
        return phone
    digits = _PHONE_NOISE.sub("", _narrow(phone))
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    if digits.startswith("861") and len(digits) == 13:
        digits = digits[2:]
    if digits.startswith("+86"):
        # The international form of an area code has no leading 0.
        digits = digits[3:] if re.match(r"\+86(?:0|1[3-9][0-9]{9}$)", digits) else "0" + digits[3:]
    if _MAINLAND.fullmatch(digits) or _ABROAD.fullmatch(digits):
        return digits
    raise IdentityFault("phone_several" if _are_several(phone) else "phone_form")


def _are_several(phones: str) -> bool:
    """Return whether a field contains several valid phone numbers."""
    parts = [part for part in _BETWEEN_PHONES.split(phones) if part]
    return (
        len(parts) > 1
        and sum(_MAINLAND.fullmatch(_PHONE_NOISE.sub("", _narrow(part))) is not None for part in parts) > 1
    )


def mask_number(number: str) -> str:
    """Mask a document number: `350582********1234`.

    With 15 or more characters the first six and last four stay visible, with 8 or more the first two and last two,
    otherwise only the first.
    """
    head, tail = (6, 4) if len(number) >= 15 else (2, 2) if len(number) >= 8 else (1, 0)
    return _mask(number, head, tail)


def mask_phone(phone: str) -> str:
    """Mask a phone number: `138****5678`. With fewer than 11 characters only the last two stay visible."""
    return _mask(phone, 3, 4) if len(phone) >= 11 else _mask(phone, 0, 2)


def mask_name(name: str) -> str:
    """Mask a name: the first character, then one * for each further character: `张*`, `欧***`.

    A name of one character becomes a *, because it would otherwise be shown completely.
    """
    return _mask(name, 1 if len(name) > 1 else 0, 0)


def _mask(text: str, head: int, tail: int) -> str:
    hidden = len(text) - head - tail
    return text[:head] + "*" * hidden + text[head + hidden :] if hidden > 0 else "*" * len(text)


CHILD_YEARS = 14
"""A child is at most this old (articles 3 and 10)."""

ELDER_YEARS = 60
"""An elder is at least this old."""


def birthday(born: date, years: int) -> date:
    """Return the day on which a person reaches an age.

    For a person born on 29 February it is 28 February in a common year: if the month has no such day, its last day
    counts (Civil Code, article 202).
    """
    try:
        return born.replace(year=born.year + years)
    except ValueError:
        return date(born.year + years, 2, 28)


def age_on(born: date, day: date) -> int:
    """Return the full years of age on a day, which must not be before the birth."""
    years = day.year - born.year
    return years if birthday(born, years) <= day else years - 1
