"""Routes of retests (T6)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query

from services.testing.answers import LanguageAsked
from services.testing.retests import use_cases
from services.testing.retests.rules import RetestState
from services.testing.retests.schemas import OwnRetest
from shared.contracts.testing import Retest
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

router = Router(prefix="/testing/v1", tags=["retests"])

RetestId = Annotated[UUID, Path(description="Id of a retest.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"])]


@router.get("/retests", role=Role.CASEWORKERS)
async def list_retests(
    uow: Uow,
    page: PageAsked,
    state: Annotated[RetestState | None, Query(description="Only those in this state.")] = None,
    overdue: Annotated[bool, Query(description="Only open retests past their due time.")] = False,
    pool_id: Annotated[UUID | None, Query(description="Only those required by this tube.")] = None,
) -> Listed[Retest]:
    """List people who need a single-tube retest, with the pool that requires it."""
    return await use_cases.list_retests(uow, state, overdue, pool_id, page)


@router.get("/retests/{retest_id}", role=Role.CASEWORKERS, raises=[NotFound])
async def get_retest(retest_id: RetestId, uow: Uow) -> Retest:
    """Show one retest."""
    return await use_cases.get_retest(uow, retest_id)


@router.get("/my-retests", role=Role.RESIDENT)
async def list_my_retests(uow: Uow, page: PageAsked, language: LanguageAsked) -> Listed[OwnRetest]:
    """List the retests of the caller and the caller's dependants, newest first, with the next step.

    `outcome` is the result of the person's own single swab, never that of the pool.
    """
    return await use_cases.list_my_retests(uow, page, language)
