"""Routes of codes (G2). No route sets a colour."""

from typing import Annotated
from uuid import UUID

from fastapi import Header, Path, Query

from services.gateway.codes import use_cases
from services.gateway.codes.schemas import CodeCounts, CodeShown
from shared.core.actors import Role
from shared.core.regions import range_of
from shared.http.router import Router, Uow
from shared.problems import NotFound, language_of

router = Router(prefix="/gateway/v1/codes", tags=["codes"])

Spoken = Annotated[str | None, Header(alias="Accept-Language", description="zh-CN or en.", max_length=200)]
ResidentId = Annotated[UUID, Path(description="Id of a resident.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"])]


@router.get("/counts", role=Role.COMMAND | Role.COMMUNITY_OFFICER | Role.SUPERVISOR)
async def count_codes(
    uow: Uow,
    region: Annotated[str, Query(pattern=r"^[0-9]{2,16}$", description="Region code.", examples=["350582005"])],
) -> CodeCounts:
    """Count the people of each colour in a region."""
    low, high = range_of(region)
    return await use_cases.count_codes(uow, low, high)


@router.get("/{resident_id}", role=Role.CASEWORKERS | Role.RESIDENT, raises=[NotFound])
async def get_code(resident_id: ResidentId, uow: Uow, spoken: Spoken = None) -> CodeShown:
    """Show the code of a person in your region, with its reasons.

    Residents see their own code and those of their dependants. Every view is recorded in the audit.
    """
    return await use_cases.get_code(uow, resident_id, language_of(spoken))
