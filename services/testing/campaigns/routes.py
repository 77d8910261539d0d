"""Routes of campaigns (T3, article 11)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query

from services.testing.campaigns import use_cases
from services.testing.campaigns.schemas import Missing, NewCampaign, Progress
from services.testing.problems import CampaignMoveForbidden, CampaignTooLarge
from shared.contracts.testing import Campaign, CampaignState
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.database.unit_of_work import RegionOutside
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

router = Router(prefix="/testing/v1/campaigns", tags=["campaigns"])

CampaignId = Annotated[
    UUID, Path(description="Id of a round of sampling.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"])
]

Under = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9]{2,16}$",
        description="Only this region and the regions under it. Default: the caller's whole area.",
        examples=["350582005001"],
    ),
]


@router.post(
    "",
    role=Role.COMMAND,
    raises=[CampaignTooLarge, RegionOutside],
    status=201,
    location="/testing/v1/campaigns/{id}",
)
async def plan_campaign(new: NewCampaign, uow: Uow) -> Campaign:
    """Plan a round of sampling and count the people expected.

    The people expected are those who live in the region now. People who move later stay expected in today's grid.
    Source: article 11.
    """
    return await use_cases.plan_campaign(uow, new)


@router.get("", role=Role.PEOPLE | Role.MACHINE)
async def list_campaigns(
    uow: Uow,
    page: PageAsked,
    state: Annotated[CampaignState | None, Query(description="Only those in this state.")] = None,
) -> Listed[Campaign]:
    """List the rounds of sampling. They are public and name no person."""
    return await use_cases.list_campaigns(uow, state, page)


@router.get("/{campaign_id}", role=Role.PEOPLE | Role.MACHINE, raises=[NotFound])
async def get_campaign(campaign_id: CampaignId, uow: Uow) -> Campaign:
    """Show one round of sampling."""
    return await use_cases.get_campaign(uow, campaign_id)


@router.post("/{campaign_id}/open", role=Role.COMMAND, raises=[NotFound, CampaignMoveForbidden])
async def open_campaign(campaign_id: CampaignId, uow: Uow) -> Campaign:
    """Open a planned round. Sampling starts."""
    return await use_cases.move_campaign(uow, campaign_id, "open")


@router.post("/{campaign_id}/close", role=Role.COMMAND, raises=[NotFound, CampaignMoveForbidden])
async def close_campaign(campaign_id: CampaignId, uow: Uow) -> Campaign:
    """Close a round. Records made offline before it closed are still accepted, and retests continue."""
    return await use_cases.move_campaign(uow, campaign_id, "close")


@router.post("/{campaign_id}/cancel", role=Role.COMMAND, raises=[NotFound, CampaignMoveForbidden])
async def cancel_campaign(campaign_id: CampaignId, uow: Uow) -> Campaign:
    """Cancel a round that is not closed. Filled tubes still get their results."""
    return await use_cases.move_campaign(uow, campaign_id, "cancel")


@router.get("/{campaign_id}/progress", role=Role.STAFF, raises=[NotFound])
async def get_progress(campaign_id: CampaignId, uow: Uow, region: Under = None) -> Progress:
    """Show the progress of a round by grid: people expected, swabbed and missing, and tubes by state."""
    return await use_cases.get_progress(uow, campaign_id, region)


@router.get("/{campaign_id}/missing", role=Role.CASEWORKERS, raises=[NotFound])
async def list_missing(campaign_id: CampaignId, uow: Uow, page: PageAsked, region: Under = None) -> Listed[Missing]:
    """List people expected but not swabbed yet, for the grid workers to visit.

    People who have died or moved away meanwhile are not listed, but they still count in the figures of the round.
    """
    return await use_cases.list_missing(uow, campaign_id, region, page)
