"""Use case of population counts (R3, 底数清)."""

from datetime import date, timedelta
from typing import Any

from sqlalchemy import Select, select, text

from services.registry.population.schemas import ChildTally, Population, Tally
from services.registry.regions.tables import RegionRow
from services.registry.residents.identity import CHILD_YEARS, ELDER_YEARS
from shared.core.clock import day_of, start_of
from shared.core.regions import LEVELS, covers, range_of
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Fault, InvalidInput, LocalizedText, NotFound

# Each person is counted once: by the current facts, or for a past day by the facts at its end. PostgreSQL adds years as
# the Civil Code does: for a person born on 29 February the birthday is the 28th in a common year.
COUNT_PEOPLE = text("""
    WITH counted AS (
        SELECT region, birth_date, pregnant_from, pregnant_until, dependent_from, dependent_until
        FROM residents
        WHERE state = 'active' AND since < :before AND region >= :low AND region < :high
        UNION ALL
        SELECT region, birth_date, pregnant_from, pregnant_until, dependent_from, dependent_until
        FROM resident_history
        WHERE state = 'active' AND since < :before AND until >= :before AND region >= :low AND region < :high
    )
    SELECT
        CASE WHEN length(region) >= :child_length THEN left(region, :child_length) END AS child,
        count(*) AS people,
        count(*) FILTER (WHERE birth_date + :child_years * interval '1 year' > :day) AS child_tag,
        count(*) FILTER (WHERE birth_date + :elder_years * interval '1 year' <= :day) AS elder,
        count(*) FILTER (WHERE pregnant_from <= :day AND coalesce(pregnant_until, :day) >= :day) AS pregnant,
        count(*) FILTER (WHERE dependent_from <= :day AND coalesce(dependent_until, :day) >= :day) AS dependent
    FROM counted
    GROUP BY 1
""")

ZERO = Tally(people=0, child=0, elder=0, pregnant=0, dependent=0)

IN_FUTURE = LocalizedText(zh="不能晚于今天", en="The day must not be in the future")


async def count_population(uow: UnitOfWork, code: str, as_of: date | None) -> Population:
    """Count the people of a region and its parts, now or at the end of a past day."""
    today = day_of(uow.now)
    day = as_of or today
    if day > today:
        raise InvalidInput(errors=[Fault("date_in_future", IN_FUTURE, parameter="as_of", location="query")])
    # A region that is only partly within the caller's scope is refused, because its counts would not add up.
    if not covers(uow.actor.range, code) or await uow.session.scalar(_region(code)) is None:
        raise NotFound()
    named = select(RegionRow.region, RegionRow.name).where(RegionRow.parent == code).order_by(RegionRow.region)
    names = {row.region: row.name for row in await uow.session.execute(named)}
    tallies = await _tallies(uow, code, day)
    unassigned = tallies.pop(None, ZERO)
    children = [
        ChildTally(region=region, name=names.get(region), **tallies.get(region, ZERO).model_dump())
        for region in sorted(names.keys() | {region for region in tallies if region is not None})
    ]
    return Population(
        region=code, day=day, total=_sum([unassigned, *children]), unassigned=unassigned, children=children
    )


async def _tallies(uow: UnitOfWork, code: str, day: date) -> dict[str | None, Tally]:
    low, high = range_of(code)
    child_length = min((length for length in LEVELS if length > len(code)), default=max(LEVELS) + 1)
    rows = await uow.rows(
        COUNT_PEOPLE,
        before=start_of(day + timedelta(days=1)),
        low=low,
        high=high,
        child_length=child_length,
        child_years=CHILD_YEARS + 1,
        elder_years=ELDER_YEARS,
        day=day,
    )
    return {
        row["child"]: Tally(
            people=row["people"],
            child=row["child_tag"],
            elder=row["elder"],
            pregnant=row["pregnant"],
            dependent=row["dependent"],
        )
        for row in rows
    }


def _region(code: str) -> Select[Any]:
    return select(RegionRow.region).where(RegionRow.region == code)


def _sum(tallies: list[Tally]) -> Tally:
    return Tally(**{name: sum(getattr(tally, name) for tally in tallies) for name in Tally.model_fields})
