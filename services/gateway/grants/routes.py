"""Routes of grants (G1)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query

from services.gateway.grants import use_cases
from services.gateway.grants.schemas import Grant, GrantReason, NewGrant
from services.gateway.grants.use_cases import GrantDecided, GrantExists, GrantOwn, SecondPersonNeeded
from services.gateway.parties.use_cases import PartyNoPoint, PartyUnknown
from shared.audit.kinds import Kind
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.database.unit_of_work import RegionOutside
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

router = Router(prefix="/gateway/v1/grants", tags=["sign-in"])

READERS = Role.COMMAND | Role.SUPERVISOR | Role.AUDITOR
EXAMPLE_ID = "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"
GrantId = Annotated[UUID, Path(description="Id of a grant.", examples=[EXAMPLE_ID])]


@router.post(
    "",
    audit=Kind.GRANT,
    role=Role.COMMAND,
    raises=[NotFound, RegionOutside, GrantExists, GrantOwn, PartyNoPoint, PartyUnknown],
    status=201,
    location="/gateway/v1/grants/{id}",
)
async def give_grant(new: NewGrant, uow: Uow) -> Grant:
    """Grant a role to an account, for a region and a period.

    You cannot grant a region outside your own. A grant of `command` is `proposed` until another commander approves it.
    """
    return await use_cases.give_grant(uow, new)


@router.get("", role=READERS)
async def list_grants(
    uow: Uow,
    page: PageAsked,
    account_id: Annotated[UUID | None, Query(description="Only grants of this account.", examples=[EXAMPLE_ID])] = None,
) -> Listed[Grant]:
    """List grants in the caller's region, including those that have ended."""
    return await use_cases.list_grants(uow, account_id, page)


@router.get("/{grant_id}", role=READERS, raises=[NotFound])
async def get_grant(grant_id: GrantId, uow: Uow) -> Grant:
    """Show a grant."""
    return await use_cases.get_grant(uow, grant_id)


@router.post(
    "/{grant_id}/approve", role=Role.COMMAND, audit=Kind.GRANT, raises=[NotFound, GrantDecided, SecondPersonNeeded]
)
async def approve_grant(grant_id: GrantId, uow: Uow) -> Grant:
    """Approve a proposed grant. The person who proposed it and the person who receives it cannot approve it."""
    return await use_cases.decide_grant(uow, grant_id, approved=True)


@router.post(
    "/{grant_id}/refuse", role=Role.COMMAND, audit=Kind.GRANT, raises=[NotFound, GrantDecided, SecondPersonNeeded]
)
async def refuse_grant(grant_id: GrantId, reason: GrantReason, uow: Uow) -> Grant:
    """Refuse a proposed grant."""
    return await use_cases.decide_grant(uow, grant_id, approved=False, why=reason.why)


@router.post("/{grant_id}/end", role=Role.COMMAND, audit=Kind.GRANT, raises=[NotFound, GrantDecided])
async def end_grant(grant_id: GrantId, reason: GrantReason, uow: Uow) -> Grant:
    """End a grant immediately. Tokens of this grant stop working within a second."""
    return await use_cases.end_grant(uow, grant_id, reason)
