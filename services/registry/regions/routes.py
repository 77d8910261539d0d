"""Routes of regions (R1, article 13)."""

from typing import Annotated

from fastapi import Path, Query

from services.registry.regions import use_cases
from services.registry.regions.schemas import NewRegion
from services.registry.regions.use_cases import RegionTaken, RegionUnknown, RegionWithdrawn
from shared.contracts.registry import Region
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

router = Router(prefix="/registry/v1/regions", tags=["regions"])

Code = Annotated[
    str,
    Path(pattern=r"^[0-9]{2,16}$", description="Region code, 2 to 16 digits.", examples=["350582005001"]),
]


@router.post(
    "",
    role=Role.COMMAND | Role.COMMUNITY_OFFICER,
    raises=[RegionTaken, RegionUnknown, RegionWithdrawn],
    status=201,
    location="/registry/v1/regions/{region}",
)
async def add_region(new: NewRegion, uow: Uow) -> Region:
    """Add a patch or a grid under a community. `command` can also add a community or a township.

    The region above must be within the caller's region. The operator imports whole lists with
    `fangxian regions import`. Source: article 13.
    """
    return await use_cases.add_region(uow, new)


@router.get("/{code}", role=Role.PEOPLE | Role.MACHINE, raises=[NotFound])
async def get_region(code: Code, uow: Uow) -> Region:
    """Show one region, including a withdrawn one. `valid_until` is its last day.

    All callers see the provinces, cities and counties of the whole country, but other regions only within their own.
    """
    return await use_cases.get_region(uow, code)


@router.get("", role=Role.PEOPLE | Role.MACHINE)
async def list_regions(
    uow: Uow,
    page: PageAsked,
    parent: Annotated[
        str | None, Query(pattern=r"^[0-9]{2,14}$", description="Only regions directly below this one.")
    ] = None,
) -> Listed[Region]:
    """List the current regions within the caller's region."""
    return await use_cases.list_regions(uow, parent, page)
