"""The data keys of a service: one for each month, another whenever it is rotated, gone when it is destroyed.

They lie in the service's schema, wrapped by the master key. Every process looks every two seconds, and a new key seals
only when all have had the time to see it; so nobody meets a ciphertext whose key it cannot know.
"""

import os
from collections.abc import Sequence

import structlog
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from shared.masters import MasterKeyError, Masters, Wrapped
from shared.sealing import Keyring, key_after, next_month
from shared.work import Work

logger = structlog.get_logger()

KEY_BYTES = 32

KEYS = text("""
    SELECT id, month, master, wrapped, seals_from <= clock_timestamp() AS seals FROM data_keys ORDER BY id
""")
ADD = text("""
    INSERT INTO data_keys (id, month, master, wrapped) VALUES (:id, :month, :master, :wrapped)
    ON CONFLICT (id) DO NOTHING
""")


def bound_to(service: str, key_id: int) -> bytes:
    """What a wrapped data key is bound to: it opens as no other service's and no other month's."""
    return f"{service}|{key_id}".encode()


async def wrapped_new(masters: Masters, service: str, key_id: int) -> Wrapped:
    """A fresh data key, wrapped for storing."""
    return await masters.wrap(os.urandom(KEY_BYTES), bound_to(service, key_id))


def missing(rows: Sequence[RowMapping], months: Sequence[int]) -> dict[int, int]:
    """The data keys that are to be made, by month: for each month that has none, or none that is not destroyed."""
    found = {}
    for month in months:
        of_month = [row for row in rows if row["month"] == month]
        if not any(row["wrapped"] for row in of_month):
            found[month] = key_after(of_month[-1]["id"]) if of_month else month
    return found


async def make(work: Work, made: Sequence[tuple[int, int, Wrapped]]) -> None:
    """Keep new data keys (id, month, wrapped), unless another process was first."""
    for key_id, month, wrapped in made:
        await work.run(ADD, id=key_id, month=month, master=wrapped.master, wrapped=wrapped.key)


async def take(ring: Keyring, masters: Masters, rows: Sequence[RowMapping], this_month: int) -> None:
    """Bring a ring to what the schema holds. A key that cannot be unwrapped now is tried again at the next look."""
    ring.drop([row["id"] for row in rows if row["wrapped"] is None])
    newest: dict[int, int] = {}
    for row in rows:
        key_id = row["id"]
        if row["wrapped"] is None:
            continue
        if not ring.has(key_id):
            try:
                wrapped = Wrapped(row["master"], bytes(row["wrapped"]))
                ring.take(key_id, await masters.unwrap(wrapped, bound_to(ring.service, key_id)))
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
    """This month, and the next, whose key is there before it begins."""
    return this_month, next_month(this_month)
