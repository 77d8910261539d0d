"""Codes of many people as background data, written with SQL by the owner, for paths that need only the codes."""

from collections.abc import Iterator, Sequence
from uuid import UUID

import asyncpg

REGION = "3505820050010101"
PREFIX = "01777777-7777-7777-8777-"

ADD_CODES = f"""
    INSERT INTO gateway.codes (resident_id, region, colour, policy, last_negative)
    SELECT ('{PREFIX}' || lpad(to_hex(number), 12, '0'))::uuid, '{REGION}', 1, 1, now()
    FROM generate_series($1::bigint, $2::bigint) AS number
"""  # noqa: S608


async def add_codes(database: asyncpg.Connection, first: int, last: int) -> None:
    """Add green codes of recently tested people, then VACUUM and ANALYZE, as in an older installation."""
    await database.execute(ADD_CODES, first, last)
    await database.execute("VACUUM ANALYZE gateway.codes")
    await database.execute("CHECKPOINT")


def person(number: int) -> UUID:
    """Return the id of a person; numbers start with 1."""
    return UUID(f"{PREFIX}{number:012x}")


def spread(people: int, count: int) -> Sequence[UUID]:
    """Return `count` people, evenly distributed over the whole table."""
    return [person(1 + place * people // count) for place in range(count)]


def forever(items: Sequence[bytes]) -> Iterator[bytes]:
    """The same items again and again."""
    while True:
        yield from items
