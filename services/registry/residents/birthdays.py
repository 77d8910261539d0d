"""Publishes residents again on the day they cross an age limit (R3).

Other services learn only who is a child or an elder now. A start or end date would reveal the birth date.
"""

from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import text

from services.registry.residents import rules
from services.registry.residents.bulk_upsert import counted_of
from shared.core.clock import day_of
from shared.database.unit_of_work import UnitOfWork
from shared.runtime.context import ServiceContext

ROWS = 1_000

INSERT_BIRTHDAY = text("INSERT INTO birthdays (day) VALUES (:day) ON CONFLICT DO NOTHING")
SELECT_LAST_BIRTHDAY = text("SELECT max(day) AS day FROM birthdays")
# Locks the rows in the same order as all other code that writes people.
UPDATE_BIRTHDAYS = text("""
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


async def follow_birthdays(context: ServiceContext) -> None:
    """Publish the residents whose birthday starts or ends an age tag, for each day since the last run."""
    async with context.system_unit_of_work("birthdays") as uow:
        today = day_of(uow.now)
        (row,) = await uow.rows(SELECT_LAST_BIRTHDAY)
    day: date = row["day"] or today - timedelta(days=1)
    while day < today:
        day += timedelta(days=1)
        await _follow(context, day)


async def _follow(context: ServiceContext, day: date) -> None:
    after = UUID(int=0)
    while True:
        async with context.system_unit_of_work("birthdays") as uow:
            published = await _publish(uow, day, after)
            if len(published) < ROWS:
                await uow.run(INSERT_BIRTHDAY, day=day)
                return
        after = max(published)


async def _publish(uow: UnitOfWork, day: date, after: UUID) -> list[UUID]:
    births = rules.born_to_change_on(day)
    rows = await uow.rows(UPDATE_BIRTHDAYS, births=births, after=after, limit=ROWS)
    today = day_of(uow.now)
    faces = [rules.resident(row["id"], row["version"], counted_of(row), today) for row in rows]
    uow.publish_all(faces, change="birthday")
    uow.record_access(face.id for face in faces)
    return [face.id for face in faces]
