"""Rolls: ranges of tube numbers, issued to regions."""

from uuid import UUID

from sqlalchemy import text

from services.testing.campaigns.tables import CampaignRow
from services.testing.problems import CampaignUnknown, CapacityBeyondCampaign, RollOutsideCampaign
from services.testing.tubes.schemas import NewRoll, Roll
from services.testing.tubes.tables import RollRow
from shared.core.regions import lies_under
from shared.database.unit_of_work import UnitOfWork, scalar

# One row serialises all issuers, because number ranges must never overlap. Rolls are few, so waiting is cheap.
TAKE_SERIALS = text("""
    INSERT INTO tube_serials (following) VALUES (1 + CAST(:count AS bigint))
    ON CONFLICT ("only") DO UPDATE SET following = tube_serials.following + CAST(:count AS bigint)
    RETURNING following
""")


async def issue_roll(uow: UnitOfWork, new: NewRoll) -> Roll:
    """Issue the next free range of tube numbers to a region of the round."""
    campaign = await uow.get(CampaignRow, new.campaign_id, CampaignUnknown)
    if not lies_under(new.region, campaign.region):
        raise RollOutsideCampaign(at="/region")
    if new.capacity > campaign.pool_size:
        raise CapacityBeyondCampaign(pool_size=campaign.pool_size, at="/capacity")
    uow.require_within(new.region)
    following = await scalar(uow, TAKE_SERIALS.bindparams(count=new.count))
    first = following - new.count
    row = uow.add(
        RollRow(campaign_id=new.campaign_id, region=new.region, capacity=new.capacity, first=first, last=following - 1)
    )
    await uow.session.flush()
    return row.public()


async def get_roll(uow: UnitOfWork, roll_id: UUID) -> Roll:
    """Return one roll with its numbers."""
    return (await uow.get(RollRow, roll_id)).public()
