"""Who somebody is on paper: documents, ID numbers, phones, what a mask leaves visible. Pure functions.

Resident ID numbers follow GB 11643: six address digits, eight of the birth date, three of sequence (odd male, even
female), one check digit (ISO 7064 MOD 11-2). County digits are not held against today's list, since a number keeps the
code of the county that issued it, for ever; province digits are (GB/T 2260).

**Numbers for demonstrations.** A number whose province digits are `00` can belong to nobody: GB/T 2260 numbers the
provinces from 11, the first digit being one of the greater areas 1 to 8, and 9 is kept for foreigners' permanent
residence. Such a number is right in everything else (length, birth date, sequence, check digit), its other four address
digits are free, and it is accepted only where `demonstration` is set.
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
    """Something about a document or a phone is wrong; `reason` says what, and never repeats the number."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class DocumentType(enum.IntEnum):
    """The kinds of document of the field's gate vendors, by their published code."""

    RESIDENT_ID = 10
    """Also the residence permits of people from Hong Kong, Macao and Taiwan: their numbers are made the same way."""
    HK_MACAO_PERMIT = 14
    TAIWAN_PERMIT = 15
    PASSPORT = 20
    FOREIGN_RESIDENT = 34
    OTHER = 99


_AREAS = ("1 12345", "2 123", "3 1234567", "4 123456", "5 01234", "6 12345", "7 1", "8 123")
PROVINCES = frozenset(area[0] + province for area in _AREAS for province in area[2:])
"""GB/T 2260, and 83: the residence permits of people from Taiwan carry it."""

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
    """What a resident ID number says by itself."""

    number: str
    birth_date: date
    sex: Sex
    demonstration: bool


def _narrow(text: str) -> str:
    """Full-width digits, letters and signs, as Chinese keyboards write them, as plain ones."""
    return text if text.isascii() else text.translate(_NARROW)


def check_digit(first17: str) -> str:
    """The eighteenth character for the seventeen digits before it (GB 11643, ISO 7064 MOD 11-2)."""
    return _CHECK_DIGITS[(sum(map(mul, first17.encode("ascii"), _WEIGHTS)) - _WEIGHT_OF_ZEROS) % 11]


def check_resident_id(number: str, *, today: date, demonstration: bool) -> IdFacts:
    """What a resident ID number says of its holder, or an `IdentityFault` that says why it cannot be one.

    Full-width digits and a small x are put right; a space is refused, since it means that something was pasted wrong.
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
    """Whether nobody who was born then can be alive."""
    return born.year + OLDEST_YEARS <= today.year and birthday(born, OLDEST_YEARS) < today


@lru_cache(maxsize=64)
def document_type(code: str) -> DocumentType:
    """The kind of document a code names; an empty one is a resident ID."""
    try:
        return DocumentType(int(_narrow(code))) if code else DocumentType.RESIDENT_ID
    except ValueError:
        raise IdentityFault("document_type_unknown") from None


def check_document(kind: DocumentType, number: str, *, today: date, demonstration: bool) -> tuple[str, IdFacts | None]:
    """A document's number as it is kept, and what it says by itself: only a resident ID says anything.

    The other kinds are checked by form alone: their issuers publish no check digit that could be relied on.
    """
    if kind is DocumentType.RESIDENT_ID:
        facts = check_resident_id(number, today=today, demonstration=demonstration)
        return facts.number, facts
    number = _narrow(number)
    # Upper case first would turn some foreign letters into plain ones.
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
    """One spelling for one telephone: mainland numbers as they are dialled at home, all others as E.164 with a +.

    Taken: `+86 138-0000-5678`, `0086…`, `0595-85661234`, `+852 9123 4567`. Extensions and service numbers are refused.
    """
    if _MAINLAND.fullmatch(phone):
        return phone
    digits = _PHONE_NOISE.sub("", _narrow(phone))
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    if digits.startswith("861") and len(digits) == 13:
        digits = digits[2:]
    if digits.startswith("+86"):
        # Abroad an area code is dialled without its 0.
        digits = digits[3:] if re.match(r"\+86(?:0|1[3-9][0-9]{9}$)", digits) else "0" + digits[3:]
    if _MAINLAND.fullmatch(digits) or _ABROAD.fullmatch(digits):
        return digits
    raise IdentityFault("phone_several" if _are_several(phone) else "phone_form")


def _are_several(phones: str) -> bool:
    """Whether these are two telephones in one field, each of them right."""
    parts = [part for part in _BETWEEN_PHONES.split(phones) if part]
    return (
        len(parts) > 1
        and sum(_MAINLAND.fullmatch(_PHONE_NOISE.sub("", _narrow(part))) is not None for part in parts) > 1
    )


def mask_number(number: str) -> str:
    """A document number as a screen may show it: `350582********1234`.

    From 15 characters on the first six and last four stay, from 8 on the first two and last two, below only the first.
    """
    head, tail = (6, 4) if len(number) >= 15 else (2, 2) if len(number) >= 8 else (1, 0)
    return _mask(number, head, tail)


def mask_phone(phone: str) -> str:
    """A telephone as a screen may show it: `138****5678`; of fewer than 11 characters only the last two stay."""
    return _mask(phone, 3, 4) if len(phone) >= 11 else _mask(phone, 0, 2)


def mask_name(name: str) -> str:
    """A name as a screen may show it: the first character, then one * for each further one: `张*`, `欧***`.

    A name of one character is a * only, since it would be shown whole.
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
    """The day on which somebody turns so many years old.

    Born on 29 February, in a common year that is the 28th: where a month has no such day, its last day stands for it
    (Civil Code, article 202).
    """
    try:
        return born.replace(year=born.year + years)
    except ValueError:
        return date(born.year + years, 2, 28)


def age_on(born: date, day: date) -> int:
    """Full years of age on a day that is not before the birth."""
    years = day.year - born.year
    return years if birthday(born, years) <= day else years - 1
