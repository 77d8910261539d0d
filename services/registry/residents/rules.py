"""Pure rules of residents: checks of a registration, tags, population facts, and the outcome of requests."""

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
from shared.core.ids import named_id
from shared.core.regions import Range, covers

ClosedReason = Literal["died", "moved_away", "entered_wrongly"]
LEFT: tuple[ClosedReason, ...] = ("moved_away", "entered_wrongly")
"""The closing reasons after which any region can register the person again without a transfer."""
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
    """A fault of one field of a person's data."""

    code: Reason | PersonCode
    field: str


class PersonInput(NamedTuple):
    """Data about a person that are not checked yet. None: not given."""

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
    """Checked data of a person. None: not given, so the known value stays."""

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
        """The document type and number, which identify the person permanently."""
        return document_key(self.document_type, self.document_number)


def document_key(kind: int, number: str) -> str:
    """Return the text from which the blind index of a document is computed."""
    return f"{kind}:{number}"


def examine(given: PersonInput, *, today: date, demonstration: bool) -> Person | list[Wrong]:
    """Check the data of a person. Returns the person with normalised name and address, or all faults."""
    name, address = spell_name(given.name), spell_address(given.address) if given.address else None
    wrong = _too_long_or_missing(name, address, given.household)
    phone = None
    try:
        phone = normalise_phone(given.phone) if given.phone else None
    except IdentityFault as fault:
        wrong.append(Wrong(fault.reason, "phone"))
    identity = _identity(given, today, demonstration, wrong)
    if wrong or identity is None:
        return wrong
    kind, number, born, sex = identity
    return Person(
        given.region,
        name,
        kind,
        number,
        phone,
        address or None,
        household_of(given.region, given.household),
        born,
        sex,
        given.pregnant,
        given.dependent,
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
    given: PersonInput, today: date, demonstration: bool, wrong: list[Wrong]
) -> tuple[DocumentType, str, date, Sex] | None:
    try:
        kind = document_type(given.document_type)
    except IdentityFault as fault:
        wrong.append(Wrong(fault.reason, "document_type"))
        return None
    if not given.document_number:
        wrong.append(Wrong("document_number_missing", "document_number"))
        return None
    try:
        number, facts = check_document(kind, given.document_number, today=today, demonstration=demonstration)
    except IdentityFault as fault:
        wrong.append(Wrong(fault.reason, "document_number"))
        return None
    born, sex = (facts.birth_date, facts.sex) if facts else (given.birth_date, given.sex)
    if born is None:
        wrong.append(Wrong("birth_date_missing", "birth_date"))
    elif facts and given.birth_date not in (None, born):
        wrong.append(Wrong("birth_date_differs", "birth_date"))
    elif born > today or is_too_old(born, today):
        wrong.append(Wrong("birth_date_range", "birth_date"))
    if sex is None:
        wrong.append(Wrong("sex_missing", "sex"))
    elif facts and given.sex not in (None, sex):
        wrong.append(Wrong("sex_differs", "sex"))
    return (kind, number, born, sex) if born and sex else None


def household_of(region: str, key: str | None) -> UUID | None:
    """Return the id of a household, whose key is unique within its community. A key such as 无 or / means none."""
    return _household(region[:COMMUNITY_DIGITS], key) if key else None


@lru_cache(maxsize=1_000)
def _household(community: str, key: str) -> UUID | None:
    # A file repeats the household's key in each of its rows, usually in consecutive rows.
    key = spell_household(key)
    return named_id("household", f"{community}:{key}") if key else None


class Counted(NamedTuple):
    """The facts that population counts use. When one changes, the former facts go into the history."""

    region: str
    state: Literal["active", "closed"]
    birth_date: date
    household_id: UUID | None
    pregnant_from: date | None
    pregnant_until: date | None
    dependent_from: date | None
    dependent_until: date | None


def resident(id: UUID, version: int, counted: Counted, today: date) -> Resident:  # noqa: A002
    """Return the public state of a person."""
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
    """Return the tags of a person. The tags child and elder have no dates.

    The dates would reveal the birth date, and with it the digits that a masked number hides.
    """
    age = age_on(counted.birth_date, today)
    tags = [CHILD] if age <= CHILD_YEARS else [ELDER] if age >= ELDER_YEARS else []
    if counted.pregnant_from:
        tags.append(Tag(kind="pregnant", valid_from=counted.pregnant_from, valid_until=counted.pregnant_until))
    if counted.dependent_from:
        tags.append(Tag(kind="dependent", valid_from=counted.dependent_from, valid_until=counted.dependent_until))
    return tuple(tags)


def born_to_change_on(day: date) -> list[date]:
    """Return the birth dates of people who become elders, or stop being children, on a day."""
    births: list[date] = []
    for years in (CHILD_YEARS + 1, ELDER_YEARS):
        around = birthday(day, -years)
        near = [around + timedelta(days=offset) for offset in (-1, 0, 1)]
        births += [born for born in near if birthday(born, years) == day]
    return births


class Validity(NamedTuple):
    """The first and last day of a tag, both included. Without `first` the person does not have the tag."""

    first: date | None = None
    last: date | None = None

    def holds_on(self, day: date) -> bool:
        """Return whether the tag holds on a day."""
        return self.first is not None and self.first <= day and (self.last is None or day <= self.last)


def retag(held: Validity, holds: bool | None, today: date) -> Validity:
    """Return a tag after the statement that it holds, or does not hold, today. None changes nothing."""
    if holds is None or holds == held.holds_on(today):
        return held
    if holds:
        return Validity(today)
    # The tag ended yesterday. A tag that began today is removed.
    yesterday = today - timedelta(days=1)
    return Validity(held.first, yesterday) if held.first and held.first <= yesterday else Validity()


Verdict: TypeAlias = Literal["exists", "returns", "claim"]


def verdict(region: str, state: str, closed_reason: ClosedReason | None, asker: Range) -> Verdict:
    """Return the outcome of a request to register a person who is already on record.

    `returns`: the record was closed because the person moved away or was entered by mistake, so no region must agree.
    `exists`: the person lives within the caller's scope. `claim`: the person lives elsewhere, and that region decides.
    """
    if state == "closed" and closed_reason in LEFT:
        return "returns"
    return "exists" if covers(asker, region) else "claim"


def lapses(kind: Literal["claim", "offer"], closed_reason: ClosedReason | None) -> bool:
    """Return whether a transfer lapses: the person has died, or was offered but had been entered by mistake."""
    return closed_reason == "died" or (closed_reason == "entered_wrongly" and kind == "offer")


TransferMove = Literal["accept", "refuse", "carry_out", "lapse"]

TRANSFER_MOVES: dict[tuple[TransferState, TransferMove], TransferState] = {
    ("asked", "accept"): "accepted",
    ("asked", "refuse"): "refused",
    ("accepted", "carry_out"): "done",
    ("accepted", "lapse"): "refused",
}
"""All allowed moves; every other pair is forbidden. Statements take their states from here."""


def states_before(by: TransferMove) -> list[TransferState]:
    """Return the states in which a move is allowed, for statements that move many transfers."""
    return [state for state, move in TRANSFER_MOVES if move == by]


_PLACE = re.compile(r"[^0-9０-９A-Za-z]*(?:社区|居委会|村委会|街道|镇|乡|村)")


def mask_address(address: str) -> str:
    """Mask an address below its community: `晋江市新塘街道沙塘社区****`. Without a community all of it is masked."""
    match = _PLACE.match(address)
    return (match[0] if match else "") + "****"
