"""The data keys of a service: one for each month, and another one after each rotation.

They are stored in the service's schema, wrapped by the master key. Every process reads them every two seconds. A new
key encrypts only after all processes had time to read it, so no process meets a ciphertext with an unknown key.
"""

import os
from collections.abc import Sequence

import structlog
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from shared.crypto.encryption import Keyring, key_after, next_month
from shared.crypto.master_keys import KeyWrapper, MasterKeyError, Wrapped
from shared.database.unit_of_work import UnitOfWork

logger = structlog.get_logger()

KEY_BYTES = 32

SELECT_KEYS = text("""
    SELECT id, month, master, wrapped, seals_from <= clock_timestamp() AS seals FROM data_keys ORDER BY id
""")
INSERT_KEY = text("""
    INSERT INTO data_keys (id, month, master, wrapped) VALUES (:id, :month, :master, :wrapped)
    ON CONFLICT (id) DO NOTHING
""")


def bound_to(service: str, key_id: int) -> bytes:
    """Return the associated data of a wrapped data key, which binds it to its service and its id."""
    return f"{service}|{key_id}".encode()


async def wrapped_new(key_wrapper: KeyWrapper, service: str, key_id: int) -> Wrapped:
    """Create a data key and wrap it."""
    return await key_wrapper.wrap(os.urandom(KEY_BYTES), bound_to(service, key_id))


def missing(rows: Sequence[RowMapping], months: Sequence[int]) -> dict[int, int]:
    """Return the ids of the data keys to create, by month: for each month without a key that is not destroyed."""
    ids = {}
    for month in months:
        of_month = [row for row in rows if row["month"] == month]
        if not any(row["wrapped"] for row in of_month):
            ids[month] = key_after(of_month[-1]["id"]) if of_month else month
    return ids


async def make(uow: UnitOfWork, made: Sequence[tuple[int, int, Wrapped]]) -> None:
    """Store new data keys (id, month, wrapped), unless another process was first."""
    for key_id, month, wrapped in made:
        await uow.run(INSERT_KEY, id=key_id, month=month, master=wrapped.master, wrapped=wrapped.key)


async def take(ring: Keyring, key_wrapper: KeyWrapper, rows: Sequence[RowMapping], this_month: int) -> None:
    """Update a keyring from the stored keys. A key that cannot be unwrapped now is retried at the next read."""
    ring.drop([row["id"] for row in rows if row["wrapped"] is None])
    newest: dict[int, int] = {}
    for row in rows:
        key_id = row["id"]
        if row["wrapped"] is None:
            continue
        if not ring.has(key_id):
            try:
                wrapped = Wrapped(row["master"], bytes(row["wrapped"]))
                ring.take(key_id, await key_wrapper.unwrap(wrapped, bound_to(ring.service, key_id)))
            except MasterKeyError as error:
                logger.error("data_key.locked", key=key_id, master=row["master"], why=str(error))
                continue
        if row["seals"] or row["month"] not in newest:
            newest[row["month"]] = key_id
    if this_month not in newest:
        raise MasterKeyError("the data key of this month cannot be opened")
    ring.newest = newest
    ring.current = newest[this_month]


def months_needed(this_month: int) -> tuple[int, int]:
    """Return this month and the next, because the key of a month exists before the month begins."""
    return this_month, next_month(this_month)
