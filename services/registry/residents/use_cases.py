"""Residents: what happens."""

from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, or_, select, text

from services.registry.proxies.following import end_with
from services.registry.regions.tables import RegionRow
from services.registry.regions.use_cases import RegionUnknown
from services.registry.residents import rules, writing
from services.registry.residents.identity import DocumentType, IdentityFault, check_document, normalise_phone
from services.registry.residents.problems import ResidentActive, ResidentClosed, ResidentExists
from services.registry.residents.rules import Counted, Person, Wrong
from services.registry.residents.schemas import (
    Close,
    Found,
    Held,
    Move,
    Moved,
    NewResident,
    Recognise,
    Recognised,
    Registration,
    ResidentChange,
    ResidentShown,
    Search,
)
from services.registry.residents.spelling import spell_address, spell_name
from services.registry.residents.tables import RegistrationRow, ResidentHistoryRow, ResidentRow, TransferRow
from services.registry.residents.words import invalid
from shared.clock import day_of
from shared.problems import Problem
from shared.regions import covers, range_of
from shared.work import Listed, Page, Work

MOST_FOUND = 50
"""People one telephone may belong to; a family's is shared by a few."""

# Who has moved away, or never was there, leaves behind no claim that somebody would have to decide.
LET_GO = text("""
    UPDATE transfers SET state = 'accepted', version = version + 1, updated_at = now()
    WHERE resident_id = :id AND kind = 'claim' AND state = 'asked'
""")


async def register_resident(work: Work, new: NewResident) -> Registration:
    """Keep the request; the worker settles it.

    Nothing here depends on whether the person lives elsewhere: neither the words of the answer nor the time it takes.
    """
    await _need_region(work, new.region)
    person = _examined(work, new)
    row = (await work.session.scalars(select(ResidentRow).where(_has(work, person.document)))).one_or_none()
    if row is not None and row.closed_reason not in rules.LEFT:
        raise ResidentExists(resident_id=row.id, at="/document_number")
    request = request_of(work, person)
    await work.session.flush()
    work.house.waker.wake(work.house.settings.service)
    return request.public()


def _has(work: Work, document: str) -> ColumnElement[bool]:
    """Whose document it is; while the index key is rotated both indexes are asked."""
    slots = work.house.keyring.slots("document", document)
    columns = (ResidentRow.document_index, ResidentRow.document_index_b)
    return or_(*(column == index for column, index in zip(columns, slots, strict=True) if index is not None))


def request_of(work: Work, person: Person) -> RegistrationRow:
    """Keep the caller's request to register a person, sealed."""
    low, high = work.actor.range
    return work.add(
        RegistrationRow(
            region=person.region,
            document_index=work.house.keyring.index("document", person.document),
            person=msgspec.json.encode(person).decode(),
            actor=work.actor.subject,
            scope_low=low,
            scope_high=high,
        )
    )


def person_of(request: RegistrationRow) -> Person:
    """The person a request that is not settled yet speaks of."""
    return msgspec.json.decode(request.person or "", type=Person)


async def get_registration(work: Work, registration_id: UUID) -> Registration:
    return (await work.get(RegistrationRow, registration_id)).public()


async def list_registrations(work: Work, page: Page) -> Listed[Registration]:
    return await work.page(select(RegistrationRow), page, RegistrationRow.public)


async def get_resident(work: Work, resident_id: UUID) -> ResidentShown:
    row = await work.get(ResidentRow, resident_id)
    return _shown(work, row)


async def list_residents(
    work: Work, region: str | None, household_id: UUID | None, page: Page
) -> Listed[ResidentShown]:
    statement = select(ResidentRow)
    if region is not None:
        low, high = range_of(region)
        statement = statement.where(ResidentRow.region >= low, ResidentRow.region < high)
    if household_id is not None:
        statement = statement.where(ResidentRow.household_id == household_id)
    return await work.page(statement, page, lambda row: _shown(work, row))


async def find_residents(work: Work, asked: Search) -> Found:
    statement = select(ResidentRow).order_by(ResidentRow.seq).limit(MOST_FOUND)
    if asked.phone is not None:
        indexes = work.house.keyring.indexes("phone", _phone(asked.phone))
        statement = statement.where(ResidentRow.phone_index.in_(indexes))
    else:
        key = _document(work, asked.document_type, asked.document_number or "")
        statement = statement.where(_has(work, key))
    return Found(items=[_shown(work, row) for row in await work.session.scalars(statement)])


async def recognise_resident(work: Work, asked: Recognise) -> Recognised:
    """Both must be on the record of one person who lives here. Nobody learns which of the two was wrong."""
    try:
        ring = work.house.keyring
        phone = ring.index("phone", _phone(asked.phone))
        document = ring.index("document", _document(work, asked.document_type, asked.document_number))
    except Problem:
        return Recognised(resident_id=None)
    statement = select(ResidentRow.id).where(
        ResidentRow.document_index == document, ResidentRow.phone_index == phone, ResidentRow.state == "active"
    )
    found = (await work.session.scalars(statement)).one_or_none()
    if found is not None:
        work.saw([found])
    return Recognised(resident_id=found)


async def change_resident(work: Work, resident_id: UUID, change: ResidentChange, if_match: str | None) -> ResidentShown:
    row, before = await _open(work, resident_id, if_match, required=True)
    given = change.model_fields_set
    if change.name is not None:
        row.name = spell_name(change.name)
    if "phone" in given:
        _ring_at(work, row, change.phone)
    if "address" in given:
        row.address = change.address and spell_address(change.address)
    if "household" in given:
        row.household_id = rules.household_of(row.region, change.household)
    for tag in given & {"pregnant", "dependent"}:
        _tag(work, row, tag, getattr(change, tag))
    return await _edited(work, row, before, "changed")


async def move_resident(work: Work, resident_id: UUID, move: Move, if_match: str | None) -> Moved:
    """Within the caller's scope at once, else as an offer to the region where the person goes."""
    row, before = await _open(work, resident_id, if_match)
    if not await _sees_region(work, move.region):
        return await _offer(work, row, move)
    row.region = move.region
    row.address = move.address and spell_address(move.address)
    row.household_id = rules.household_of(move.region, move.household)
    shown = await _edited(work, row, before, "moved")
    await writing.follow(work, [row.id])
    return Moved(outcome="moved", version=shown.version)


async def close_resident(work: Work, resident_id: UUID, close: Close, if_match: str | None) -> ResidentShown:
    row, before = await _open(work, resident_id, if_match)
    row.state, row.closed_reason = "closed", close.reason
    shown = await _edited(work, row, before, "closed")
    await end_with(work, row.id)
    if close.reason in rules.LEFT and await work.run(LET_GO, id=row.id):
        work.house.waker.wake(work.house.settings.service)
    return shown


async def reopen_resident(work: Work, resident_id: UUID, if_match: str | None) -> ResidentShown:
    row = await work.lock(ResidentRow, resident_id)
    work.expect(row, if_match)
    if row.state == "active":
        raise ResidentActive()
    before = row.counted
    row.state, row.closed_reason = "active", None
    return await _edited(work, row, before, "reopened")


async def _open(
    work: Work, resident_id: UUID, if_match: str | None, *, required: bool = False
) -> tuple[ResidentRow, Counted]:
    """A record that may be changed, locked, and what it is counted as before the change."""
    row = await work.lock(ResidentRow, resident_id)
    work.expect(row, if_match, required=required)
    if row.state == "closed":
        raise ResidentClosed()
    return row, row.counted


async def _edited(work: Work, row: ResidentRow, before: Counted, change: str) -> ResidentShown:
    """Remember what the person was counted as, if that changed; tell everybody; show.

    An import does not overwrite what somebody changed by hand, because its file may be older.
    """
    row.known_at, row.by_hand = work.now, True
    if row.counted != before:
        work.session.add(ResidentHistoryRow(resident_id=row.id, until=work.now, since=row.since, **before._asdict()))
        row.since = work.now
    await work.publish(row, change=change)
    return _shown(work, row)


def _shown(work: Work, row: ResidentRow) -> ResidentShown:
    work.saw([row.id])
    return row.shown()


async def _offer(work: Work, row: ResidentRow, move: Move) -> Moved:
    work.saw([row.id])
    offer = work.add(
        TransferRow(
            region=move.region,
            kind="offer",
            resident_id=row.id,
            from_region=row.region,
            to_region=move.region,
            name=row.name,
            document_number=row.document_number,
            terms=msgspec.json.encode({"address": move.address, "household": move.household}).decode(),
        )
    )
    await work.session.flush()
    return Moved(outcome="offered", version=row.version, transfer_id=offer.id)


async def _need_region(work: Work, code: str) -> None:
    if not await _sees_region(work, code):
        raise RegionUnknown(code=code, at="/region")


async def _sees_region(work: Work, code: str) -> bool:
    found = await work.session.scalar(select(RegionRow.region).where(RegionRow.region == code))
    return found is not None and covers(work.actor.range, code)


def _examined(work: Work, new: NewResident) -> Person:
    said = rules.Said(**(new.model_dump() | {"document_type": str(new.document_type)}))
    found = rules.examine(said, today=day_of(work.now), demonstration=work.house.settings.demonstration_ids)
    if isinstance(found, list):
        raise invalid(found)
    return found


def _document(work: Work, kind: int, number: str) -> str:
    demonstration = work.house.settings.demonstration_ids
    try:
        kept, _ = check_document(DocumentType(kind), number, today=day_of(work.now), demonstration=demonstration)
    except IdentityFault as fault:
        raise invalid([Wrong(fault.reason, "document_number")]) from None
    return rules.document_key(kind, kept)


def _phone(phone: str) -> str:
    try:
        return normalise_phone(phone)
    except IdentityFault as fault:
        raise invalid([Wrong(fault.reason, "phone")]) from None


def _ring_at(work: Work, row: ResidentRow, phone: str | None) -> None:
    row.phone = phone = None if phone is None else _phone(phone)
    row.phone_index = None if phone is None else work.house.keyring.index("phone", phone)


def _tag(work: Work, row: ResidentRow, tag: str, held: Held | None) -> None:
    first = None if held is None else held.valid_from or day_of(work.now)
    last = None if held is None else held.valid_until
    if first and last and first > last:
        raise invalid([Wrong("days_out_of_order", tag)])
    setattr(row, f"{tag}_from", first)
    setattr(row, f"{tag}_until", last)
