"""Encrypts, compares and writes many people at once.

Registration requests, transfers and imports write people only through this module. A person is identified by the blind
index of the document. All transactions insert in the order of the documents, which does not depend on the index keys,
and then lock in the order of the indexes. So two files cannot deadlock.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.engine import RowMapping

from services.registry.proxies.cascade import move_with
from services.registry.residents.rules import (
    COMMUNITY_DIGITS,
    Counted,
    Person,
    Validity,
    resident,
    retag,
    states_before,
)
from services.registry.residents.spelling import compared_name
from shared.contracts.registry import Resident
from shared.core.clock import day_of
from shared.core.ids import new_ids
from shared.crypto.encryption import CannotOpenError, Keyring, Slots
from shared.database.bulk import literal
from shared.database.unit_of_work import UnitOfWork
from shared.feed.log import Written

# Insert new residents. Existing ones are skipped by ON CONFLICT, whether or not the caller can see them. Returns the
# inserted ids. The columns are array literals with bytes in base64.
INSERT_RESIDENTS = text("""
    INSERT INTO residents (
        id, region, document_type, document_index, document_index_b, document_number_sealed, name_sealed, phone_sealed,
        phone_index, address_sealed, birth_date, sex, household_id, pregnant_from, dependent_from, since, known_at,
        by_hand
    )
    SELECT id, region, document_type, decode(document_index, 'base64'), decode(document_index_b, 'base64'),
        decode(number, 'base64'), decode(name, 'base64'), decode(phone, 'base64'), decode(phone_index, 'base64'),
        decode(address, 'base64'), birth_date, sex, household_id, pregnant_from, dependent_from, :now,
        :known_at, :by_hand
    FROM unnest(
        CAST(CAST(:id AS text) AS uuid[]), CAST(CAST(:region AS text) AS text[]),
        CAST(CAST(:document_type AS text) AS smallint[]), CAST(CAST(:document_index AS text) AS text[]),
        CAST(CAST(:document_index_b AS text) AS text[]), CAST(CAST(:number AS text) AS text[]),
        CAST(CAST(:name AS text) AS text[]), CAST(CAST(:phone AS text) AS text[]),
        CAST(CAST(:phone_index AS text) AS text[]), CAST(CAST(:address AS text) AS text[]),
        CAST(CAST(:birth_date AS text) AS date[]), CAST(CAST(:sex AS text) AS text[]),
        CAST(CAST(:household_id AS text) AS uuid[]), CAST(CAST(:pregnant_from AS text) AS date[]),
        CAST(CAST(:dependent_from AS text) AS date[])
    ) AS given (
        id, region, document_type, document_index, document_index_b, number, name, phone, phone_index, address,
        birth_date, sex, household_id, pregnant_from, dependent_from
    )
    ON CONFLICT DO NOTHING
    RETURNING id
""")

# During a rotation of the index key a row can have either index or both.
SELECT_KNOWN_RESIDENTS = """
    SELECT id, version, document_index, document_index_b, region, state, closed_reason, name_sealed, phone_index,
        address_sealed, birth_date, sex, household_id, pregnant_from, pregnant_until, dependent_from, dependent_until,
        known_at, by_hand
    FROM residents
    WHERE {indexed}
    ORDER BY document_index, document_index_b
    FOR UPDATE
"""
COLUMNS = ("document_index", "document_index_b")

INSERT_HISTORY = text("""
    INSERT INTO resident_history (
        resident_id, until, since, region, state, birth_date, household_id, pregnant_from, pregnant_until,
        dependent_from, dependent_until
    )
    SELECT id, :now, since, region, state, birth_date, household_id, pregnant_from, pregnant_until, dependent_from,
        dependent_until
    FROM residents WHERE id = ANY(CAST(:ids AS uuid[]))
    ON CONFLICT (resident_id, until) DO NOTHING
""")

# Null keeps an encrypted value, except that an address is removed if the person moves to another community.
UPDATE_RESIDENTS = text("""
    UPDATE residents SET
        version = residents.version + 1,
        updated_at = now(),
        region = given.region,
        state = 'active',
        closed_reason = NULL,
        name_sealed = coalesce(given.name, name_sealed),
        phone_sealed = coalesce(given.phone, phone_sealed),
        phone_index = coalesce(given.phone_index, residents.phone_index),
        address_sealed = CASE WHEN given.left_home THEN given.address ELSE coalesce(given.address, address_sealed) END,
        birth_date = given.birth_date,
        sex = given.sex,
        household_id = given.household_id,
        pregnant_from = given.pregnant_from,
        pregnant_until = given.pregnant_until,
        dependent_from = given.dependent_from,
        dependent_until = given.dependent_until,
        since = CASE WHEN given.recounted THEN :now ELSE since END,
        known_at = :known_at,
        by_hand = :by_hand
    FROM unnest(
        CAST(:id AS uuid[]), CAST(:region AS text[]), CAST(:name AS bytea[]), CAST(:phone AS bytea[]),
        CAST(:phone_index AS bytea[]), CAST(:address AS bytea[]), CAST(:left_home AS boolean[]),
        CAST(:birth_date AS date[]),
        CAST(:sex AS text[]), CAST(:household_id AS uuid[]), CAST(:pregnant_from AS date[]),
        CAST(:pregnant_until AS date[]), CAST(:dependent_from AS date[]), CAST(:dependent_until AS date[]),
        CAST(:recounted AS boolean[])
    ) AS given (
        id, region, name, phone, phone_index, address, left_home, birth_date, sex, household_id,
        pregnant_from, pregnant_until, dependent_from, dependent_until, recounted
    )
    WHERE residents.id = given.id
""")

CONFIRM_RESIDENTS = text("""
    UPDATE residents SET known_at = :known_at WHERE id = ANY(CAST(:ids AS uuid[])) AND known_at < :known_at
""")

# The person's current region decides a claim, so an open claim moves with the person.
MOVE_CLAIMS = text("""
    UPDATE transfers SET region = residents.region, version = transfers.version + 1, updated_at = now()
    FROM residents
    WHERE residents.id = transfers.resident_id AND transfers.kind = 'claim'
      AND transfers.state = ANY(CAST(:states AS text[]))
      AND transfers.region <> residents.region AND residents.id = ANY(CAST(:ids AS uuid[]))
""")


Columns = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """People ready to be written, in the order of insertion."""

    people: dict[bytes, Person]
    slots: list[Slots]
    """Their blind indexes."""
    columns: dict[str, str]
    """Their rows, in the form of the parameters of `INSERT_RESIDENTS`. Used only for new people."""
    faces: list[Written]
    """Their public states, if they are new. Serialized here, because the transaction holds locks and must be short."""
    keys: dict[bytes, bytes]
    """The key of each person in `people`, by each of the person's blind indexes."""

    def others_than(self, added: Collection[Written]) -> dict[bytes, Slots]:
        """Return the blind indexes of the people who were not added, by their keys."""
        new = {one.id for one in added}
        others = (each for face, each in zip(self.faces, self.slots, strict=True) if face.id not in new)
        return {each.key: each for each in others}

    def key_of(self, row: Any) -> bytes:
        """Return the key of the person of a row of `SELECT_KNOWN_RESIDENTS`."""
        return next(self.keys[index] for name in COLUMNS if (index := row[name]) in self.keys)


def prepare(ring: Keyring, people: Sequence[Person], today: date) -> Prepared:
    """Encrypt and index people. This needs only CPU time, so it can run in a thread."""
    by_document = {person.document: person for person in people}
    slots = {document: ring.slots("document", document) for document in by_document}
    documents, ids = sorted(by_document), new_ids(len(by_document))
    ordered, indexes = [by_document[document] for document in documents], [slots[document] for document in documents]
    rows = _new_rows(ring, ids, indexes, ordered, today)
    faces = (resident(id_, 1, _counted(person, today), today) for id_, person in zip(ids, ordered, strict=True))
    return Prepared(
        people={slots[document].key: person for document, person in by_document.items()},
        slots=indexes,
        columns={name: literal(column) for name, column in rows.items()},
        faces=[Written.of(face) for face in faces],
        keys={index: each.key for each in slots.values() for index in each if index is not None},
    )


def _counted(person: Person, today: date) -> Counted:
    return Counted(
        person.region,
        "active",
        person.birth_date,
        person.household_id,
        today if person.pregnant else None,
        None,
        today if person.dependent else None,
        None,
    )


def _new_rows(ring: Keyring, ids: list[UUID], slots: Sequence[Slots], people: Sequence[Person], today: date) -> Columns:
    def encrypted(name: str) -> list[bytes | None]:
        return ring.encrypt_all(f"residents.{name}", ids, [getattr(person, name) for person in people])

    return {
        "id": ids,
        "region": [person.region for person in people],
        "document_type": [person.document_type for person in people],
        "document_index": [each.first for each in slots],
        "document_index_b": [each.second for each in slots],
        "number": encrypted("document_number"),
        "name": encrypted("name"),
        "phone": encrypted("phone"),
        "phone_index": [ring.index("phone", person.phone) if person.phone else None for person in people],
        "address": encrypted("address"),
        "birth_date": [person.birth_date for person in people],
        "sex": [person.sex for person in people],
        "household_id": [person.household_id for person in people],
        "pregnant_from": [today if person.pregnant else None for person in people],
        "dependent_from": [today if person.dependent else None for person in people],
    }


class Knowledge(NamedTuple):
    """The age and origin of written data, stored with each person: an import must not overwrite newer data."""

    at: datetime
    by_hand: bool


async def add(uow: UnitOfWork, prepared: Prepared, knowledge: Knowledge | None = None) -> list[Written]:
    """Insert the people who are not on record, and return their public states. Default: entered by hand now."""
    if not prepared.people:
        return []
    known_at, by_hand = knowledge or Knowledge(uow.now, True)
    rows = await uow.rows(INSERT_RESIDENTS, now=uow.now, known_at=known_at, by_hand=by_hand, **prepared.columns)
    added = {row["id"] for row in rows}
    return [face for face in prepared.faces if face.id in added]


async def known(uow: UnitOfWork, documents: Collection[Slots]) -> Sequence[RowMapping]:
    """Lock and return the rows of these documents within the caller's scope."""
    columns = (
        {
            name: sorted(index for index in indexes if index is not None)
            for name, indexes in zip(COLUMNS, zip(*documents, strict=True), strict=True)
        }
        if documents
        else {}
    )
    query = {name: indexes for name, indexes in columns.items() if indexes}
    return await uow.rows(_known_by(tuple(query)), **query) if query else []


@lru_cache(maxsize=4)
def _known_by(columns: tuple[str, ...]) -> TextClause:
    indexed = " OR ".join(f"{name} = ANY(CAST(:{name} AS bytea[]))" for name in columns)
    return text(SELECT_KNOWN_RESIDENTS.format(indexed=indexed))


class Change(NamedTuple):
    """The changes of a known person, in the order of the columns of `UPDATE_RESIDENTS`."""

    id: UUID
    region: str
    name: bytes | None
    phone: bytes | None
    phone_index: bytes | None
    address: bytes | None
    left_home: bool
    birth_date: date
    sex: str
    household_id: UUID | None
    pregnant_from: date | None
    pregnant_until: date | None
    dependent_from: date | None
    dependent_until: date | None
    recounted: bool


def compare(ring: Keyring, row: RowMapping, person: Person, today: date) -> Change | None:
    """Return the changes that new data make to a record, or None. A value that is not given changes nothing."""
    id_ = row["id"]
    left_home = row["region"][:COMMUNITY_DIGITS] != person.region[:COMMUNITY_DIGITS]
    phone_index = ring.index("phone", person.phone) if person.phone else None
    phone_changed = person.phone is not None and row["phone_index"] not in ring.indexes("phone", person.phone)
    renamed = person.name != _opened(ring, "residents.name", row, "name_sealed")
    address_changed = bool(person.address) and person.address != _opened(
        ring, "residents.address", row, "address_sealed"
    )
    pregnant = retag(Validity(row["pregnant_from"], row["pregnant_until"]), person.pregnant, today)
    dependent = retag(Validity(row["dependent_from"], row["dependent_until"]), person.dependent, today)
    household = person.household_id if left_home or person.household_id else row["household_id"]
    counted = Counted(person.region, "active", person.birth_date, household, *pregnant, *dependent)
    recounted = counted != counted_of(row)
    if not (renamed or phone_changed or address_changed or recounted or left_home or person.sex != row["sex"]):
        return None
    return Change(
        id_,
        person.region,
        ring.encrypt("residents.name", id_, person.name) if renamed else None,
        ring.encrypt("residents.phone", id_, person.phone) if phone_changed and person.phone else None,
        phone_index if phone_changed else None,
        ring.encrypt("residents.address", id_, person.address)
        if person.address and (address_changed or left_home)
        else None,
        left_home,
        person.birth_date,
        person.sex,
        household,
        *pregnant,
        *dependent,
        recounted,
    )


def overwritten(row: RowMapping, change: Change) -> list[str]:
    """Return the columns in which a change replaces a known value. `renames` decides about the name.

    A change that fills in an unknown phone, address or household overwrites nothing.
    """
    replaced = {
        "region": change.region != row["region"] or row["state"] != "active",
        "phone": change.phone is not None and row["phone_index"] is not None,
        "address": change.address is not None and row["address_sealed"] is not None,
        "household": row["household_id"] not in (None, change.household_id),
        "pregnant": (change.pregnant_from, change.pregnant_until) != (row["pregnant_from"], row["pregnant_until"]),
        "dependent": (change.dependent_from, change.dependent_until) != (row["dependent_from"], row["dependent_until"]),
        "birth_date": change.birth_date != row["birth_date"],
        "sex": change.sex != row["sex"],
    }
    return [column for column, is_replaced in replaced.items() if is_replaced]


def renames(ring: Keyring, row: RowMapping, change: Change, person: Person) -> bool:
    """Return whether a change gives the person a different name, not only another spelling of it."""
    if change.name is None:
        return False
    name = _opened(ring, "residents.name", row, "name_sealed")
    return name is not None and compared_name(name) != compared_name(person.name)


def _opened(ring: Keyring, place: str, row: RowMapping, column: str) -> str | None:
    """Decrypt a value. Returns None if there is none, or if it can no longer be decrypted and may be replaced."""
    ciphertext = row[column]
    try:
        return None if ciphertext is None else ring.decrypt(place, row["id"], bytes(ciphertext))
    except CannotOpenError:
        return None


def counted_of(row: Any) -> Counted:
    """Return the population facts of a row of `SELECT_KNOWN_RESIDENTS`."""
    return Counted(*(row[name] for name in Counted._fields))


async def change(
    uow: UnitOfWork, changes: Sequence[tuple[RowMapping, Change]], knowledge: Knowledge | None = None
) -> list[Written]:
    """Write the changes and the history of the population facts. Returns the public states."""
    if not changes:
        return []
    recounted = [one.id for _, one in changes if one.recounted]
    if recounted:
        await uow.run(INSERT_HISTORY, ids=recounted, now=uow.now)
    known_at, by_hand = knowledge or Knowledge(uow.now, True)
    columns = _columns([one for _, one in changes])
    await uow.run(UPDATE_RESIDENTS, now=uow.now, known_at=known_at, by_hand=by_hand, **columns)
    await cascade(uow, recounted)
    return [Written.of(_face(row, one, uow.now)) for row, one in changes]


async def confirm(uow: UnitOfWork, ids: Sequence[UUID], at: datetime) -> None:
    """Store that the data of people were still valid at a time."""
    if ids:
        await uow.run(CONFIRM_RESIDENTS, ids=sorted(ids), known_at=at)


def _columns(rows: Sequence[Change]) -> Columns:
    """Turn rows into one array for each field."""
    return dict(zip(rows[0]._fields, map(list, zip(*rows, strict=True)), strict=True))


async def cascade(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Move the open claims and the proxies of people to their current regions."""
    if ids:
        await uow.run(MOVE_CLAIMS, ids=list(ids), states=states_before("accept"))
        await move_with(uow, ids)


def _face(row: RowMapping, one: Change, now: datetime) -> Resident:
    counted = Counted(
        one.region,
        "active",
        one.birth_date,
        one.household_id,
        one.pregnant_from,
        one.pregnant_until,
        one.dependent_from,
        one.dependent_until,
    )
    return resident(one.id, row["version"] + 1, counted, day_of(now))


def publish(uow: UnitOfWork, people: Sequence[Written], change: str) -> None:
    """Publish people on the feed, and record them in the audit."""
    for one in people:
        uow.publish_serialized(Resident, one, change=change)
    uow.record_access(one.id for one in people)
