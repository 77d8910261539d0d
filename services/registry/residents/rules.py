"""Residents: who can be registered, what they are counted as, what becomes of a request. Pure."""

import re
from datetime import date, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

from services.registry.residents.identity import (
    CHILD_YEARS,
    ELDER_YEARS,
    DocumentType,
    IdentityFault,
    Reason,
    Sex,
    age_on,
    birthday,
    check_document,
    document_type,
    is_too_old,
    normalise_phone,
)
from services.registry.residents.spelling import spell_address, spell_household, spell_name
from shared.contracts.registry import Resident, Tag
from shared.ids import named_id
from shared.regions import Range, covers

ClosedReason = Literal["died", "moved_away", "entered_wrongly"]
LEFT: tuple[ClosedReason, ...] = ("moved_away", "entered_wrongly")
"""The reasons after which a person may be registered anew, anywhere: nobody there has to let them go."""
TransferState = Literal["asked", "accepted", "refused", "done"]

NAME_CHARACTERS = 100
ADDRESS_CHARACTERS = 300
HOUSEHOLD_CHARACTERS = 64
COMMUNITY_DIGITS = 12

PersonCode: TypeAlias = Literal[
    "name_missing",
    "name_too_long",
    "document_number_missing",
    "address_too_long",
    "household_too_long",
    "birth_date_missing",
    "birth_date_differs",
    "birth_date_range",
    "sex_missing",
    "sex_differs",
    "region_unknown",
    "days_out_of_order",
]


class Wrong(NamedTuple):
    """What is wrong with one field of what was said about a person."""

    code: Reason | PersonCode
    field: str


class Said(NamedTuple):
    """What somebody says about a person, not looked at yet. None is not said."""

    name: str
    document_type: str
    document_number: str
    phone: str | None
    region: str
    address: str | None
    household: str | None
    birth_date: date | None
    sex: Sex | None
    pregnant: bool | None
    dependent: bool | None


class Person(NamedTuple):
    """A person as registered: everything has been looked at. None is not said, and changes nothing that is known."""

    region: str
    name: str
    document_type: int
    document_number: str
    phone: str | None
    address: str | None
    household_id: UUID | None
    birth_date: date
    sex: Sex
    pregnant: bool | None
    dependent: bool | None

    @property
    def document(self) -> str:
        """What identifies the person, for ever."""
        return document_key(self.document_type, self.document_number)


def document_key(kind: int, number: str) -> str:
    """What the blind index of a document is made of."""
    return f"{kind}:{number}"


def examine(said: Said, *, today: date, demonstration: bool) -> Person | list[Wrong]:
    """The person somebody speaks of, or all that is wrong with what was said. Names and addresses get one spelling."""
    name, address = spell_name(said.name), spell_address(said.address) if said.address else None
    wrong = _too_long_or_missing(name, address, said.household)
    phone = None
    try:
        phone = normalise_phone(said.phone) if said.phone else None
    except IdentityFault as fault:
        wrong.append(Wrong(fault.reason, "phone"))
    identity = _identity(said, today, demonstration, wrong)
    if wrong or identity is None:
        return wrong
    kind, number, born, sex = identity
    return Person(
        said.region,
        name,
        kind,
        number,
        phone,
        address or None,
        household_of(said.region, said.household),
        born,
        sex,
        said.pregnant,
        said.dependent,
    )


def _too_long_or_missing(name: str, address: str | None, household: str | None) -> list[Wrong]:
    wrong = []
    if not name:
        wrong.append(Wrong("name_missing", "name"))
    elif len(name) > NAME_CHARACTERS:
        wrong.append(Wrong("name_too_long", "name"))
    if address and len(address) > ADDRESS_CHARACTERS:
        wrong.append(Wrong("address_too_long", "address"))
    if household and len(household) > HOUSEHOLD_CHARACTERS:
        wrong.append(Wrong("household_too_long", "household"))
    return wrong


def _identity(
    said: Said, today: date, demonstration: bool, wrong: list[Wrong]
) -> tuple[DocumentType, str, date, Sex] | None:
    try:
        kind = document_type(said.document_type)
    except IdentityFault as fault:
        wrong.append(Wrong(fault.reason, "document_type"))
        return None
    if not said.document_number:
        wrong.append(Wrong("document_number_missing", "document_number"))
        return None
    try:
        number, facts = check_document(kind, said.document_number, today=today, demonstration=demonstration)
    except IdentityFault as fault:
        wrong.append(Wrong(fault.reason, "document_number"))
        return None
    born, sex = (facts.birth_date, facts.sex) if facts else (said.birth_date, said.sex)
    if born is None:
        wrong.append(Wrong("birth_date_missing", "birth_date"))
    elif facts and said.birth_date not in (None, born):
        wrong.append(Wrong("birth_date_differs", "birth_date"))
    elif born > today or is_too_old(born, today):
        wrong.append(Wrong("birth_date_range", "birth_date"))
    if sex is None:
        wrong.append(Wrong("sex_missing", "sex"))
    elif facts and said.sex not in (None, sex):
        wrong.append(Wrong("sex_differs", "sex"))
    return (kind, number, born, sex) if born and sex else None


def household_of(region: str, key: str | None) -> UUID | None:
    """The id of a household: its key holds within its community. A key such as 无 or / is none."""
    return _household(region[:COMMUNITY_DIGITS], key) if key else None


@lru_cache(maxsize=1_000)
def _household(community: str, key: str) -> UUID | None:
    # A file names a household once for each of its people, one after the other.
    key = spell_household(key)
    return named_id("household", f"{community}:{key}") if key else None


class Counted(NamedTuple):
    """What population counts look at. When any of it changes, what it was goes into the history."""

    region: str
    state: Literal["active", "closed"]
    birth_date: date
    household_id: UUID | None
    pregnant_from: date | None
    pregnant_until: date | None
    dependent_from: date | None
    dependent_until: date | None


def resident(id: UUID, version: int, counted: Counted, today: date) -> Resident:  # noqa: A002
    """The public face of a person."""
    return Resident(
        id=id,
        version=version,
        region=counted.region,
        state=counted.state,
        household_id=counted.household_id,
        tags=tags_of(counted, today),
    )


CHILD, ELDER = Tag(kind="child"), Tag(kind="elder")


def tags_of(counted: Counted, today: date) -> tuple[Tag, ...]:
    """Why a person needs particular care. Child and elder are said while they hold, and never when they begin or end.

    Their days would tell the birth date, and with it the very digits that a masked number hides.
    """
    age = age_on(counted.birth_date, today)
    tags = [CHILD] if age <= CHILD_YEARS else [ELDER] if age >= ELDER_YEARS else []
    if counted.pregnant_from:
        tags.append(Tag(kind="pregnant", valid_from=counted.pregnant_from, valid_until=counted.pregnant_until))
    if counted.dependent_from:
        tags.append(Tag(kind="dependent", valid_from=counted.dependent_from, valid_until=counted.dependent_until))
    return tuple(tags)


def born_to_change_on(day: date) -> list[date]:
    """The birth dates of those who become elders on a day, or are children no longer."""
    found = []
    for years in (CHILD_YEARS + 1, ELDER_YEARS):
        around = birthday(day, -years)
        near = [around + timedelta(days=offset) for offset in (-1, 0, 1)]
        found += [born for born in near if birthday(born, years) == day]
    return found


class Validity(NamedTuple):
    """From when to when a tag holds, both days included; without `first` it is not held at all."""

    first: date | None = None
    last: date | None = None

    def holds_on(self, day: date) -> bool:
        """Whether it holds on a day."""
        return self.first is not None and self.first <= day and (self.last is None or day <= self.last)


def retag(held: Validity, said: bool | None, today: date) -> Validity:
    """A tag after somebody said whether it holds today; not said changes nothing."""
    if said is None or said == held.holds_on(today):
        return held
    if said:
        return Validity(today)
    # It held until yesterday; one that began today never held.
    yesterday = today - timedelta(days=1)
    return Validity(held.first, yesterday) if held.first and held.first <= yesterday else Validity()


Verdict: TypeAlias = Literal["exists", "returns", "claim"]


def verdict(region: str, state: str, closed_reason: ClosedReason | None, asker: Range) -> Verdict:
    """What a request to register somebody who is known already comes to.

    Who has moved away, or was entered by mistake, returns without asking anybody; who lives within the scope of who
    asks, exists; who lives elsewhere is claimed from there.
    """
    if state == "closed" and closed_reason in LEFT:
        return "returns"
    return "exists" if covers(asker, region) else "claim"


def lapses(kind: Literal["claim", "offer"], closed_reason: ClosedReason | None) -> bool:
    """Whether a transfer ends without effect: nobody arrives who has died meanwhile, or was offered but never there."""
    return closed_reason == "died" or (closed_reason == "entered_wrongly" and kind == "offer")


TransferMove = Literal["accept", "refuse", "carry_out", "lapse"]

TRANSFER_MOVES: dict[tuple[TransferState, TransferMove], TransferState] = {
    ("asked", "accept"): "accepted",
    ("asked", "refuse"): "refused",
    ("accepted", "carry_out"): "done",
    ("accepted", "lapse"): "refused",
}
"""Every pair that is not here is forbidden."""

_PLACE = re.compile(r"[^0-9０-９A-Za-z]*(?:社区|居委会|村委会|街道|镇|乡|村)")


def mask_address(address: str) -> str:
    """An address down to its community: `晋江市新塘街道沙塘社区****`; nothing at all if it does not name one."""
    match = _PLACE.match(address)
    return (match[0] if match else "") + "****"
