"""Birthdays: who becomes an elder, or is a child no longer, is told of anew on that day (R3).

Other services are told who is a child or an elder now, never from when or until when: that would tell the birth date.
"""

from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import text

from services.registry.residents import rules
from services.registry.residents.writing import counted_of
from shared.clock import day_of
from shared.house import House
from shared.work import Work

AT_ONCE = 1_000

DONE = text("INSERT INTO birthdays (day) VALUES (:day) ON CONFLICT DO NOTHING")
LAST = text("SELECT max(day) AS day FROM birthdays")
# Locked in the order in which everything that writes people locks them.
CELEBRATE = text("""
    WITH born AS (
        SELECT id FROM residents
        WHERE state = 'active' AND birth_date = ANY(CAST(:births AS date[])) AND id > :after
        ORDER BY id LIMIT :limit
    ), locked AS (
        SELECT id FROM residents WHERE id IN (SELECT id FROM born) ORDER BY document_index, document_index_b FOR UPDATE
    )
    UPDATE residents SET version = version + 1 WHERE id IN (SELECT id FROM locked)
    RETURNING id, version, region, state, birth_date, household_id, pregnant_from, pregnant_until, dependent_from,
        dependent_until
""")


async def follow_birthdays(house: House) -> None:
    """Tell of those whose age has begun or ended a tag, for each day since this was last done."""
    async with house.system_work("birthdays") as work:
        today = day_of(work.now)
        (row,) = await work.rows(LAST)
    day: date = row["day"] or today - timedelta(days=1)
    while day < today:
        day += timedelta(days=1)
        await _follow(house, day)


async def _follow(house: House, day: date) -> None:
    after = UUID(int=0)
    while True:
        async with house.system_work("birthdays") as work:
            told = await _tell(work, day, after)
            if len(told) < AT_ONCE:
                await work.run(DONE, day=day)
                return
        after = max(told)


async def _tell(work: Work, day: date, after: UUID) -> list[UUID]:
    births = rules.born_to_change_on(day)
    rows = await work.rows(CELEBRATE, births=births, after=after, limit=AT_ONCE)
    today = day_of(work.now)
    faces = [rules.resident(row["id"], row["version"], counted_of(row), today) for row in rows]
    work.publish_all(faces, change="birthday")
    work.saw(face.id for face in faces)
    return [face.id for face in faces]
