"""Routes of erasure requests (G9)."""

from typing import Annotated
from uuid import UUID

from fastapi import Header, Path

from services.registry.erasures import use_cases
from services.registry.erasures.use_cases import Erasure
from shared.core.actors import Role
from shared.http.router import Router, Uow
from shared.problems import NotFound, language_of

router = Router(prefix="/registry/v1/residents", tags=["retention"])

Spoken = Annotated[str | None, Header(alias="Accept-Language", description="zh-CN or en.", max_length=200)]
ResidentId = Annotated[UUID, Path(description="The person.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"])]


@router.post("/{resident_id}/erasure", role=Role.RESIDENT | Role.COMMAND | Role.COMMUNITY_OFFICER, raises=[NotFound])
async def ask_for_erasure(resident_id: ResidentId, uow: Uow, spoken: Spoken = None) -> Erasure:
    """Request the erasure of a person's data. The response says what is deleted when, and what stays and why.

    Residents request it for themselves and their dependants, staff on behalf of a person. A repeated request shows the
    current state. Source: Personal Information Protection Law, article 47.
    """
    return await use_cases.ask_for_erasure(uow, resident_id, language_of(spoken))
