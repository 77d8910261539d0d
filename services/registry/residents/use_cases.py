"""Use cases of residents: register, find, change, move, close and reopen them."""

from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, or_, select, text

from services.registry.proxies.cascade import end_with
from services.registry.regions.tables import RegionRow
from services.registry.regions.use_cases import RegionUnknown
from services.registry.residents import bulk_upsert, rules
from services.registry.residents.identity import DocumentType, IdentityFault, check_document, normalise_phone
from services.registry.residents.messages import invalid
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
from shared.core.clock import day_of
from shared.core.regions import covers, range_of
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Problem

MOST_FOUND = 50
"""Most people returned for one phone. A family of a few people may share a phone."""

# If the person has moved away or was entered by mistake, open claims need no decision.
ACCEPT_CLAIMS = text("""
    UPDATE transfers SET state = 'accepted', version = version + 1, updated_at = now()
    WHERE resident_id = :id AND kind = 'claim' AND state = ANY(CAST(:states AS text[]))
""")


async def register_resident(uow: UnitOfWork, new: NewResident) -> Registration:
    """Store the request. The worker settles it.

    Neither the response nor its duration depends on whether the person lives elsewhere.
    """
    await _need_region(uow, new.region)
    person = _examined(uow, new)
    row = (await uow.session.scalars(select(ResidentRow).where(_has(uow, person.document)))).one_or_none()
    if row is not None and row.closed_reason not in rules.LEFT:
        raise ResidentExists(resident_id=row.id, at="/document_number")
    request = request_of(uow, person)
    await uow.session.flush()
    uow.context.notifier.wake(uow.context.settings.service)
    return request.public()


def _has(uow: UnitOfWork, document: str) -> ColumnElement[bool]:
    """Return the condition that a row has the document. During a rotation of the index key it checks both indexes."""
    slots = uow.context.keyring.slots("document", document)
    columns = (ResidentRow.document_index, ResidentRow.document_index_b)
    return or_(*(column == index for column, index in zip(columns, slots, strict=True) if index is not None))


def request_of(uow: UnitOfWork, person: Person) -> RegistrationRow:
    """Store the caller's registration request, encrypted."""
    low, high = uow.actor.range
    return uow.add(
        RegistrationRow(
            region=person.region,
            document_index=uow.context.keyring.index("document", person.document),
            person=msgspec.json.encode(person).decode(),
            actor=uow.actor.subject,
            scope_low=low,
            scope_high=high,
        )
    )


def person_of(request: RegistrationRow) -> Person:
    """Return the person of a request that is not settled yet."""
    return msgspec.json.decode(request.person or "", type=Person)


async def get_registration(uow: UnitOfWork, registration_id: UUID) -> Registration:
    """Return one registration request."""
    return (await uow.get(RegistrationRow, registration_id)).public()


async def list_registrations(uow: UnitOfWork, page: Page) -> Listed[Registration]:
    """Return one page of registration requests."""
    return await uow.page(select(RegistrationRow), page, RegistrationRow.public)


async def get_resident(uow: UnitOfWork, resident_id: UUID) -> ResidentShown:
    """Return one person, masked."""
    row = await uow.get(ResidentRow, resident_id)
    return _shown(uow, row)


async def list_residents(
    uow: UnitOfWork, region: str | None, household_id: UUID | None, page: Page
) -> Listed[ResidentShown]:
    """Return one page of people, masked."""
    statement = select(ResidentRow)
    if region is not None:
        low, high = range_of(region)
        statement = statement.where(ResidentRow.region >= low, ResidentRow.region < high)
    if household_id is not None:
        statement = statement.where(ResidentRow.household_id == household_id)
    return await uow.page(statement, page, lambda row: _shown(uow, row))


async def find_residents(uow: UnitOfWork, query: Search) -> Found:
    """Find people by exact document number or phone."""
    statement = select(ResidentRow).order_by(ResidentRow.seq).limit(MOST_FOUND)
    if query.phone is not None:
        indexes = uow.context.keyring.indexes("phone", _phone(query.phone))
        statement = statement.where(ResidentRow.phone_index.in_(indexes))
    else:
        key = _document(uow, query.document_type, query.document_number or "")
        statement = statement.where(_has(uow, key))
    return Found(items=[_shown(uow, row) for row in await uow.session.scalars(statement)])


async def recognise_resident(uow: UnitOfWork, query: Recognise) -> Recognised:
    """Find the active resident with both values on record. The result does not reveal which of them was wrong."""
    try:
        ring = uow.context.keyring
        phone = ring.index("phone", _phone(query.phone))
        document = ring.index("document", _document(uow, query.document_type, query.document_number))
    except Problem:
        return Recognised(resident_id=None)
    statement = select(ResidentRow.id).where(
        ResidentRow.document_index == document, ResidentRow.phone_index == phone, ResidentRow.state == "active"
    )
    resident_id = (await uow.session.scalars(statement)).one_or_none()
    if resident_id is not None:
        uow.record_access([resident_id])
    return Recognised(resident_id=resident_id)


async def change_resident(
    uow: UnitOfWork, resident_id: UUID, change: ResidentChange, if_match: str | None
) -> ResidentShown:
    """Change the given fields of a record."""
    row, before = await _open(uow, resident_id, if_match, required=True)
    fields = change.model_fields_set
    if change.name is not None:
        row.name = spell_name(change.name)
    if "phone" in fields:
        _set_phone(uow, row, change.phone)
    if "address" in fields:
        row.address = change.address and spell_address(change.address)
    if "household" in fields:
        row.household_id = rules.household_of(row.region, change.household)
    for tag in fields & {"pregnant", "dependent"}:
        _tag(uow, row, tag, getattr(change, tag))
    return await _edited(uow, row, before, "changed")


async def move_resident(uow: UnitOfWork, resident_id: UUID, move: Move, if_match: str | None) -> Moved:
    """Move a person at once within the caller's scope, otherwise offer the person to the new region."""
    row, before = await _open(uow, resident_id, if_match)
    if not await _sees_region(uow, move.region):
        return await _offer(uow, row, move)
    row.region = move.region
    row.address = move.address and spell_address(move.address)
    row.household_id = rules.household_of(move.region, move.household)
    shown = await _edited(uow, row, before, "moved")
    await bulk_upsert.cascade(uow, [row.id])
    return Moved(outcome="moved", version=shown.version)


async def close_resident(uow: UnitOfWork, resident_id: UUID, close: Close, if_match: str | None) -> ResidentShown:
    """Close a record. This ends the person's proxies."""
    row, before = await _open(uow, resident_id, if_match)
    row.state, row.closed_reason = "closed", close.reason
    shown = await _edited(uow, row, before, "closed")
    await end_with(uow, row.id)
    if close.reason in rules.LEFT and await uow.run(ACCEPT_CLAIMS, id=row.id, states=rules.states_before("accept")):
        uow.context.notifier.wake(uow.context.settings.service)
    return shown


async def reopen_resident(uow: UnitOfWork, resident_id: UUID, if_match: str | None) -> ResidentShown:
    """Reopen a closed record."""
    row = await uow.lock(ResidentRow, resident_id)
    uow.require_version(row, if_match)
    if row.state == "active":
        raise ResidentActive()
    before = row.counted
    row.state, row.closed_reason = "active", None
    return await _edited(uow, row, before, "reopened")


async def _open(
    uow: UnitOfWork, resident_id: UUID, if_match: str | None, *, required: bool = False
) -> tuple[ResidentRow, Counted]:
    """Lock an open record. Returns it with its population facts before the change."""
    row = await uow.lock(ResidentRow, resident_id)
    uow.require_version(row, if_match, required=required)
    if row.state == "closed":
        raise ResidentClosed()
    return row, row.counted


async def _edited(uow: UnitOfWork, row: ResidentRow, before: Counted, change: str) -> ResidentShown:
    """Store changed population facts in the history, publish the person, and return the masked form.

    The record is marked as changed by hand, because an import must not overwrite it from an older file.
    """
    row.known_at, row.by_hand = uow.now, True
    if row.counted != before:
        uow.session.add(ResidentHistoryRow(resident_id=row.id, until=uow.now, since=row.since, **before._asdict()))
        row.since = uow.now
    await uow.publish(row, change=change)
    return _shown(uow, row)


def _shown(uow: UnitOfWork, row: ResidentRow) -> ResidentShown:
    uow.record_access([row.id])
    return row.shown()


async def _offer(uow: UnitOfWork, row: ResidentRow, move: Move) -> Moved:
    uow.record_access([row.id])
    offer = uow.add(
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
    await uow.session.flush()
    return Moved(outcome="offered", version=row.version, transfer_id=offer.id)


async def _need_region(uow: UnitOfWork, code: str) -> None:
    if not await _sees_region(uow, code):
        raise RegionUnknown(code=code, at="/region")


async def _sees_region(uow: UnitOfWork, code: str) -> bool:
    region = await uow.session.scalar(select(RegionRow.region).where(RegionRow.region == code))
    return region is not None and covers(uow.actor.range, code)


def _examined(uow: UnitOfWork, new: NewResident) -> Person:
    given = rules.PersonInput(**(new.model_dump() | {"document_type": str(new.document_type)}))
    person = rules.examine(given, today=day_of(uow.now), demonstration=uow.context.settings.demonstration_ids)
    if isinstance(person, list):
        raise invalid(person)
    return person


def _document(uow: UnitOfWork, kind: int, number: str) -> str:
    demonstration = uow.context.settings.demonstration_ids
    try:
        normalised, _ = check_document(DocumentType(kind), number, today=day_of(uow.now), demonstration=demonstration)
    except IdentityFault as fault:
        raise invalid([Wrong(fault.reason, "document_number")]) from None
    return rules.document_key(kind, normalised)


def _phone(phone: str) -> str:
    try:
        return normalise_phone(phone)
    except IdentityFault as fault:
        raise invalid([Wrong(fault.reason, "phone")]) from None


def _set_phone(uow: UnitOfWork, row: ResidentRow, phone: str | None) -> None:
    row.phone = phone = None if phone is None else _phone(phone)
    row.phone_index = None if phone is None else uow.context.keyring.index("phone", phone)


def _tag(uow: UnitOfWork, row: ResidentRow, tag: str, held: Held | None) -> None:
    first = None if held is None else held.valid_from or day_of(uow.now)
    last = None if held is None else held.valid_until
    if first and last and first > last:
        raise invalid([Wrong("days_out_of_order", tag)])
    setattr(row, f"{tag}_from", first)
    setattr(row, f"{tag}_until", last)
