"""Use cases of campaigns: plan, open, close and cancel rounds, and show their progress."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.engine import RowMapping

from services.testing.campaigns import rules
from services.testing.campaigns.rules import CampaignMove
from services.testing.campaigns.schemas import Figures, Missing, NewCampaign, Progress, RegionFigures
from services.testing.campaigns.tables import CampaignRow
from services.testing.limits import MOST_EXPECTED, limits
from services.testing.problems import STATES, CampaignMoveForbidden, CampaignTooLarge
from services.testing.scope import within
from shared.contracts.testing import Campaign, CampaignState
from shared.core.regions import range_of
from shared.database.paging import Listed, Page, Position, listed
from shared.database.unit_of_work import UnitOfWork, scalar

COUNT_PEOPLE = text("SELECT count(*) FROM people WHERE active AND region >= :low AND region < :high")

# The snapshot of the people expected. People who move afterwards stay expected in today's grid.
INSERT_EXPECTED_PEOPLE = text("""
    INSERT INTO campaign_people (campaign_id, resident_id, region)
    SELECT :campaign_id, id, region FROM people
    WHERE active AND region >= :low AND region < :high
    ORDER BY region, id
""")
ANALYZE_EXPECTED_PEOPLE = text("ANALYZE campaign_people")

# A person counts as swabbed once: by the counted sample of the round, or without one by samples kept with an exception
# in a tube that was neither discarded nor invalid. Indexes serve both, and exceptions are few.
SELECT_PROGRESS = text("""
    WITH
    people AS (
        SELECT region, count(*) AS expected FROM campaign_people
        WHERE campaign_id = :campaign_id AND region >= :low AND region < :high
        GROUP BY region
    ),
    swabbed AS (
        SELECT home, region, count(*) AS people FROM samples
        WHERE campaign_id = :campaign_id AND counted
        GROUP BY home, region
        UNION ALL
        SELECT home, region, count(DISTINCT resident_id) AS people FROM (
            SELECT DISTINCT ON (resident_id) samples.home, samples.region, samples.resident_id
            FROM samples JOIN tubes ON tubes.id = samples.tube_id
            WHERE samples.campaign_id = :campaign_id AND exception IS NOT NULL AND undone_at IS NULL
              AND tubes.state <> 'discarded' AND tubes.outcome IS DISTINCT FROM 'invalid'
              AND NOT EXISTS (
                  SELECT FROM samples AS other
                  WHERE other.campaign_id = :campaign_id AND other.resident_id = samples.resident_id AND other.counted
              )
            ORDER BY resident_id, samples.id
        ) AS exceptions
        GROUP BY home, region
    ),
    places AS (
        SELECT home AS region, sum(people) AS sampled, 0 AS others FROM swabbed WHERE home IS NOT NULL GROUP BY home
        UNION ALL
        SELECT region, 0, sum(people) FROM swabbed WHERE home IS NULL GROUP BY region
    ),
    filled AS (
        SELECT region,
            count(*) FILTER (WHERE state = 'open') AS open,
            count(*) FILTER (WHERE state = 'sealed') AS sealed,
            count(*) FILTER (WHERE state = 'in_transit') AS in_transit,
            count(*) FILTER (WHERE state = 'received') AS received,
            count(*) FILTER (WHERE state = 'resulted') AS resulted,
            count(*) FILTER (WHERE state = 'discarded') AS discarded,
            count(*) FILTER (WHERE missing > 0 AND state <> 'discarded') AS incomplete,
            count(*) FILTER (WHERE outcome = 'positive') AS positive,
            count(*) FILTER (WHERE outcome = 'inconclusive') AS inconclusive,
            count(*) FILTER (
                WHERE late OR (state IN ('open', 'sealed', 'in_transit') AND first_sampled_at < :overdue)
            ) AS late
        FROM tubes WHERE campaign_id = :campaign_id AND region >= :low AND region < :high
        GROUP BY region
    ),
    regions AS (
        SELECT region FROM people
        UNION SELECT region FROM places WHERE region >= :low AND region < :high
        UNION SELECT region FROM filled
    )
    SELECT region,
        coalesce(expected, 0) AS expected, coalesce(sampled, 0)::bigint AS sampled,
        (coalesce(expected, 0) - coalesce(sampled, 0))::bigint AS missing, coalesce(others, 0)::bigint AS others,
        coalesce(open, 0) AS open, coalesce(sealed, 0) AS sealed, coalesce(in_transit, 0) AS in_transit,
        coalesce(received, 0) AS received, coalesce(resulted, 0) AS resulted, coalesce(discarded, 0) AS discarded,
        coalesce(incomplete, 0) AS incomplete, coalesce(positive, 0) AS positive,
        coalesce(inconclusive, 0) AS inconclusive, coalesce(late, 0) AS late
    FROM regions
    LEFT JOIN people USING (region)
    LEFT JOIN (SELECT region, sum(sampled) AS sampled, sum(others) AS others FROM places GROUP BY region) AS places
        USING (region)
    LEFT JOIN filled USING (region)
    ORDER BY region
""")

# Not swabbed: no counted sample of the round, and none with an exception in a tube that was neither discarded nor
# invalid. People who have died or moved away stay expected, so that the figures do not change, but are not visited.
SELECT_MISSING = text("""
    SELECT seq, resident_id, region FROM campaign_people AS expected
    WHERE campaign_id = :campaign_id AND region >= :low AND region < :high AND (region, seq) > (:region, :seq)
      AND NOT EXISTS (SELECT FROM people WHERE people.id = expected.resident_id AND NOT active)
      AND NOT EXISTS (
          SELECT FROM samples
          WHERE samples.campaign_id = :campaign_id AND samples.resident_id = expected.resident_id AND counted
      )
      AND NOT EXISTS (
          SELECT FROM samples JOIN tubes ON tubes.id = samples.tube_id
          WHERE samples.campaign_id = :campaign_id AND samples.resident_id = expected.resident_id
            AND exception IS NOT NULL AND undone_at IS NULL
            AND tubes.state <> 'discarded' AND tubes.outcome IS DISTINCT FROM 'invalid'
      )
    ORDER BY region, seq LIMIT :limit
""")


async def plan_campaign(uow: UnitOfWork, new: NewCampaign) -> Campaign:
    """Plan a round and take the snapshot of the people expected."""
    uow.require_within(new.region)
    low, high = range_of(new.region)
    people = await scalar(uow, COUNT_PEOPLE.bindparams(low=low, high=high))
    if people > MOST_EXPECTED:
        raise CampaignTooLarge(people=people, most=MOST_EXPECTED, at="/region")
    row = uow.add(CampaignRow(**new.model_dump(), state="planned", expected=people))
    # This flushes the campaign first, and the row-level policy rejects a region outside the caller's scope.
    row.expected = await uow.run(INSERT_EXPECTED_PEOPLE, campaign_id=row.id, low=low, high=high)
    async with uow.unscoped():
        await uow.run(ANALYZE_EXPECTED_PEOPLE)
    return await uow.publish(row, change="planned")


async def move_campaign(uow: UnitOfWork, campaign_id: UUID, by: CampaignMove) -> Campaign:
    """Open, close or cancel a round."""
    row = await uow.lock(CampaignRow, campaign_id)
    state: CampaignState = row.public().state
    moved = rules.move(state, by)
    if moved is None:
        raise CampaignMoveForbidden(state=STATES[state])
    row.state = moved
    if moved == "open":
        row.opened_at = uow.now
    else:
        row.ended_at = uow.now
    return await uow.publish(row, change=moved)


async def get_campaign(uow: UnitOfWork, campaign_id: UUID) -> Campaign:
    """Return one round."""
    return (await uow.get(CampaignRow, campaign_id)).public()


async def list_campaigns(uow: UnitOfWork, state: CampaignState | None, page: Page) -> Listed[Campaign]:
    """Return one page of rounds."""
    statement = select(CampaignRow)
    if state is not None:
        statement = statement.where(CampaignRow.state == state)
    return await uow.page(statement, page, CampaignRow.public)


async def get_progress(uow: UnitOfWork, campaign_id: UUID, region: str | None) -> Progress:
    """Return the progress of a round within the caller's scope."""
    await uow.get(CampaignRow, campaign_id)
    low, high = within(uow.actor, region)
    async with uow.unscoped():
        rows = await uow.rows(
            SELECT_PROGRESS, campaign_id=campaign_id, low=low, high=high, overdue=uow.now - limits().reception
        )
    regions = [RegionFigures(**row) for row in rows]
    return Progress(campaign_id=campaign_id, at=uow.now, total=_total(regions), regions=regions)


def _total(regions: Sequence[RegionFigures]) -> Figures:
    return Figures(**{name: sum(getattr(one, name) for one in regions) for name in Figures.model_fields})


async def list_missing(uow: UnitOfWork, campaign_id: UUID, region: str | None, page: Page) -> Listed[Missing]:
    """Return one page of the people expected and not swabbed yet."""
    await uow.get(CampaignRow, campaign_id)
    low, high = within(uow.actor, region)
    async with uow.unscoped():
        rows = await uow.rows(
            SELECT_MISSING, campaign_id=campaign_id, low=low, high=high, **page.after._asdict(), limit=page.limit + 1
        )
    missing = listed(rows, page, _to_public_missing, lambda row: Position(row["region"], row["seq"]))
    uow.record_access(one.resident_id for one in missing.items)
    return missing


def _to_public_missing(row: RowMapping) -> Missing:
    return Missing(resident_id=row["resident_id"], region=row["region"])
