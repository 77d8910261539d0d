"""Routes of legal holds (G9)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path

from services.registry.holds import use_cases
from services.registry.holds.schemas import Hold, NewHold
from services.registry.holds.use_cases import HoldEnded
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

router = Router(prefix="/registry/v1/legal-holds", tags=["retention"])

KEEPERS = Role.COMMAND | Role.AUDITOR
HoldId = Annotated[UUID, Path(description="The hold.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2dc1"])]


@router.post("", role=KEEPERS, status=201, location="/registry/v1/legal-holds/{id}", raises=[NotFound, HoldEnded])
async def hold_data(new: NewHold, uow: Uow) -> Hold:
    """Create a legal hold: all data of a person are kept until a day, on the order of a court or authority.

    Source: Personal Information Protection Law, article 47, last paragraph.
    """
    return await use_cases.hold_data(uow, new)


@router.get("", role=KEEPERS)
async def list_holds(uow: Uow, page: PageAsked) -> Listed[Hold]:
    """List the legal holds in the caller's region, including those that have ended."""
    return await use_cases.list_holds(uow, page)


@router.get("/{hold_id}", role=KEEPERS, raises=[NotFound])
async def get_hold(hold_id: HoldId, uow: Uow) -> Hold:
    """Show one legal hold."""
    return await use_cases.get_hold(uow, hold_id)


@router.post("/{hold_id}/release", role=KEEPERS, raises=[NotFound, HoldEnded])
async def release_hold(hold_id: HoldId, uow: Uow) -> Hold:
    """Release a legal hold. The normal retention periods apply again."""
    return await use_cases.release_hold(uow, hold_id)
